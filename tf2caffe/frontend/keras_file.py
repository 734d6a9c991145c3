"""Keras models from files: the trained network of step 1, and users' own."""

import contextlib
import json
import re
import textwrap
import zipfile
from pathlib import Path

from tf2caffe import files
from tf2caffe.failure import Failure
from tf2caffe.frontend import tf_import


def load_checkpoint(handoff):
    """The Keras model in `handoff.checkpoint`, which step 1 makes."""
    path, command = handoff.checkpoint, training_command(handoff)
    if not path.exists():
        raise Failure(f"{path}: no checkpoint yet; step 1 makes it: {command}")
    return keras_model(path, f"make it anew: {command}")


def training_command(handoff):
    folder = "" if handoff.root.resolve() == handoff.root.cwd() else f" --dir {handoff.root}"
    return f"python train.py {handoff.name}{folder}"


@tf_import.deep()
@tf_import.uncollected()
def keras_model(path, advice="save the model again"):
    """The model in a `.keras` or `.h5` file; no code that the file may hold is run.

    Raises `Failure`, with `advice`, where Keras cannot load it.
    """
    keras = tf_import.keras()
    try:
        with checked(path, advice):
            refuse_foreign(path, written(path)[1])
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Failure:
        raise
    except Exception as error:  # Keras raises whatever the file makes it stumble over
        why = f"{type(error).__name__}: {textwrap.shorten(str(error), 300)}"
        advice = advised(str(error)) or advice
        raise Failure(f"{path}: not a model that Keras can load ({why}); {advice}") from None


@contextlib.contextmanager
def checked(path, advice="save the model again"):
    """A file that is whole, and memory for what is in it; raises `Failure`, with `advice`."""
    damage = files.damage(path) if path.suffix == ".keras" else None
    if damage:  # Keras itself reads a wrong weight without a word
        raise Failure(f"{path}: {damage}; {advice}")
    with bounded(SPARE + TIMES * files.unpacked(path)):
        yield


@contextlib.contextmanager
def bounded(size):
    """Let this process take so many bytes more, where Linux counts them, and no further ones.

    Keras allocates the layers that a file describes before it looks at the weights in it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        yield
        return
    import resource  # Windows has none

    used = 1024 * int(re.search(r"VmData:\s+(\d+) kB", status.read_text(encoding="utf-8"))[1])
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (soft, used + size) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def written(path):
    """(the version of Keras that wrote a file, the model's configuration); "" where unknown."""
    import h5py

    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as file:
                version = json.loads(file.read("metadata.json"))["keras_version"]
                return str(version), file.read("config.json").decode()
        with h5py.File(path) as file:
            config = file.attrs.get("model_config", "")
            version = file.attrs.get("keras_version", "")
            _refuse_weights(path, file, config)
            config, version = (
                one.decode() if isinstance(one, bytes) else str(one) for one in (config, version)
            )
            return version or ("1" if '"border_mode"' in config else ""), config
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return "", ""  # Keras itself will tell


def _refuse_weights(path, file, config):
    """Raise `Failure` for a file that holds weights alone."""
    if not config and ("layer_names" in file.attrs or "layer_names0" in file.attrs
                       or {"layers", "_layer_checkpoint_dependencies"} & file.keys()):  # fmt: skip
        raise Failure(
            f"{path} holds weights alone, and no architecture: build the model, load_weights, and "
            "model.save it whole; or give its model.to_json() as a .json file, with --weights"
        )


def register(defined, module):
    """Let Keras find the classes and functions of the user's file that it does not know yet."""
    import keras

    known = keras.saving.get_custom_objects()
    for name, one in defined.items():
        own = getattr(one, "__module__", None) == module and callable(one)
        if own and one not in known.values():
            known.setdefault(name, one)


def refuse_foreign(path, config):
    """Raise `Failure` for a configuration with code in it, or with classes nobody registered."""
    if "__lambda__" in config:  # Keras up to 3.11.2 runs it, out of an .h5, in safe mode too
        raise Failure(f"{path}: {LAMBDA}")
    missing = custom_classes(json.loads(config or "{}"))
    if missing:
        raise Failure(f"{path}: {not_of_keras(missing)}")


def custom_classes(config):
    """The classes in a configuration of Keras 3 that are not its own, and nobody's by now."""
    import keras

    found, waiting = [], [config]
    while waiting:
        part = waiting.pop()
        waiting += part.values() if isinstance(part, dict) else part
        waiting = [one for one in waiting if isinstance(one, dict | list)]
        name = part.get("registered_name") if isinstance(part, dict) else None
        own = OWN.match(str(part.get("module"))) if name else True
        registered = keras.saving.get_registered_object
        if not own and registered(name) is None and registered(part["class_name"]) is None:
            found.append(part["class_name"])
    return sorted(set(found))


def not_of_keras(classes):
    """What is to be said of classes that are nobody's."""
    several = len(classes) > 1
    return (
        f"{', '.join(classes)} {'are' if several else 'is'} not of Keras; --custom FILE.py names "
        f"the file that defines {'them' if several else 'it'}"
    )


def architecture(path, text):
    """The version of Keras that wrote a .json. Raises `Failure` unless that is a model."""
    try:
        record = json.loads(text)
        if "modelTopology" in record:
            raise Failure(
                f"{path} is a model of TensorFlow.js; tensorflowjs_converter --input_format "
                "tfjs_layers_model --output_format keras makes an .h5 of it"
            )
        if isinstance(record["config"], dict | list) and record["class_name"]:
            return str(record.get("keras_version") or "3")
    except (ValueError, KeyError, TypeError):
        pass
    raise Failure(f"{path} is no model of Keras's, as model.to_json() leaves it")


def weights_beside(path):
    """The file of weights that is called like a .json. Raises `Failure` where there is none."""
    names = [f"{path.stem}{end}" for end in (".weights.h5", ".h5", ".hdf5", "_weights.h5")]
    found = [path.with_name(name) for name in names if path.with_name(name).exists()]
    if not found:
        raise Failure(f"{path} holds no weights; give their file with --weights FILE")
    return found[0]


@tf_import.deep()
def json_model(path, text, weights):
    """The model of a .json of Keras 3, with its weights."""
    tf_import.tensorflow()
    import keras

    refuse_foreign(path, text)
    try:
        with checked(weights):
            record = json.loads(text)
            model = keras.saving.deserialize_keras_object(record, safe_mode=True)
            model.load_weights(weights)
            return model
    except Exception as error:  # Keras raises whatever the file makes it stumble over
        why = f"{type(error).__name__}: {textwrap.shorten(str(error), 300)}"
        raise Failure(f"{path} with {weights}: not a model that Keras can load ({why})") from None


def advised(error):
    """What a user can do about Keras's error; None if nothing special."""
    import keras

    if "OOM when allocating" in error:
        return "its layers are larger than the weights in it; save the model again"
    if "lambda" in error.lower():
        return LAMBDA
    unknown = re.search(r"(?:Unknown layer|class|function|object):? '?(\w+)", error)
    if unknown and hasattr(keras.ops, unknown[1].lower()):
        return f"{unknown[1]} is an operation, which an .h5 does not hold; save it as .keras"
    if unknown and ("custom" in error or "register" in error):
        return not_of_keras([unknown[1]])
    return None


# Modules of Keras itself.
OWN = re.compile(r"keras(\.|$)")
OLD = ("1", "2")  # versions of Keras whose files Keras 3 does not read as they are
SPARE, TIMES = 4 << 30, 8  # bytes to load a model, and for each of its file's; Keras takes six
LAMBDA = "a Lambda holds code, which is not run; make it a layer class (--custom FILE.py)"
