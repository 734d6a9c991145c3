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
    damage = files.damage(path) if path.suffix == ".keras" else None
    if damage:  # Keras itself reads a wrong weight without a word
        raise Failure(f"{path}: {damage}; {advice}")
    tf_import.tensorflow()
    import keras

    version, config = written(path)
    if version.startswith("2") and "hard_sigmoid" in config:
        # 0.2 x + 0.5 became x / 6 + 0.5
        raise Failure(f"{path}: hard_sigmoid is another function in Keras 3; {EXPORT}")
    try:
        with bounded(SPARE + TIMES * files.unpacked(path)):
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the file makes it stumble over
        why = f"{type(error).__name__}: {textwrap.shorten(str(error), 300)}"
        advice = advised(str(error), version) or advice
        raise Failure(f"{path}: not a model that Keras can load ({why}); {advice}") from None


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

    used = 1024 * int(re.search(r"VmData:\s+(\d+) kB", status.read_text())[1])
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
                return json.loads(file.read("metadata.json"))["keras_version"], ""
        with h5py.File(path) as file:
            return str(file.attrs["keras_version"]), str(file.attrs["model_config"])
    except (OSError, KeyError, ValueError):
        return "", ""  # Keras itself will tell


def advised(error, version):
    """What a user can do about Keras's error; None if nothing special."""
    if version.startswith("2"):
        return f"Keras {version} wrote it, and not all of that is read by Keras 3; {EXPORT}"
    if "OOM when allocating" in error:
        return "its layers are larger than the weights in it; save the model again"
    if "lambda" in error.lower():
        return "a Lambda holds code, which is not run; make it a layer class (--custom FILE.py)"
    if "custom" in error or "register" in error:
        return "--custom FILE.py names the file that registers its custom layers"
    return None


SPARE, TIMES = 4 << 30, 8  # bytes to load a model, and for each of its file's; Keras takes six
EXPORT = "load it in Keras 2, leave a SavedModel (model.export) and give that folder"
