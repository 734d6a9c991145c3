"""Files that Keras 1 or 2 wrote: read by Keras 3 where that can, else by `tf_keras`.

`tf_keras` is Keras 2 as a package of its own. Where it is installed, what Keras 3 read is compared
with what `tf_keras` computes.
"""

import json
import zipfile

import tensorflow as tf

from tf2caffe.failure import Failure, first_line
from tf2caffe.frontend import keras2, original, tf_import
from tf2caffe.frontend.keras_file import LAMBDA, not_of_keras
from tf2caffe.frontend.trace import fixed, function_trace, keras_trace, named_outputs


def old_trace(path, config, version, shape, weights=None):
    """The trace of the model in a file, whose configuration is `config`, a JSON text."""
    tf_import.keras()
    if "__lambda__" in config:
        raise Failure(f"{path}: {LAMBDA}")
    record = json.loads(config)
    try:
        keras2.refuse_code(record)
    except keras2.HoldsCode as layer:
        raise Failure(
            f"{path}: layer {layer} is a Lambda, which holds code, and that is not run; make it a "
            "layer class (--custom FILE.py), or leave a SavedModel of it where it was written"
        ) from None
    except (AttributeError, KeyError, TypeError):
        raise Failure(f"{path}: its model_config is no model of Keras's") from None
    record = keras2.without_slashes(record)
    own = None if keras2.STANDALONE.match(version) else of_tf_keras(path, record, weights)
    try:
        model = translated_model(path, record, version, weights)
        traced = keras_trace(model, shape)
    except keras2.Untranslated as why:
        if own is None:
            raise Failure(refusal(path, record, version, why)) from None
        return tf_keras_trace(own, shape)
    if own is None:
        traced.note = "as Keras 3 reads it"
        if not keras2.STANDALONE.match(version):
            traced.note += f"; {INSTALL} compares it with Keras 2 too"
    else:
        traced.original = of_own(own, traced)
        traced.note = "as tf_keras computes it"
    return traced


def refusal(path, record, version, why):
    """Why a file is not read, in a line, and what to do."""
    known = keras2.modern(record, version)
    unknown = [name for name in keras2.custom_classes(known, is_known) if name not in GONE]
    if unknown:
        return f"{path}: {not_of_keras(unknown)}"
    remedy = f"{INSTALL} does"
    if version.startswith("1"):
        remedy = 'load it in Keras 2 (pip install "keras<2.3") and save it there'
    return f"{path}: Keras {version} wrote it, and Keras 3 does not read it ({why}); {remedy}"


def is_known(name):
    """Whether Keras 3 has a class of that name, the user has registered it, or we have it."""
    import keras

    from tf2caffe.frontend.keras2_layers import OURS

    own = name in OURS or name in keras2.MODELS or hasattr(keras.layers, name)
    return own or keras.saving.get_registered_object(name) is not None


def translated_model(path, record, version, weights=None):
    """The model as Keras 3 makes it, with its weights. Raises `Untranslated`."""
    import keras

    from tf2caffe.frontend.keras2_layers import OURS

    made = keras2.translated(record, version, is_known)
    try:
        model = keras.saving.deserialize_keras_object(made, custom_objects=OURS, safe_mode=True)
        load_weights(weights or path, model, version)
    except keras2.Untranslated:
        raise
    except Exception as error:  # Keras raises whatever a configuration makes it stumble over
        raise keras2.Untranslated(f"{type(error).__name__}: {first_line(error)[:200]}") from None
    return model


def load_weights(path, model, version):
    import h5py

    from tf2caffe.frontend import keras2_weights

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            keras2_weights.load_archive(archive, model)
        return
    with h5py.File(path) as file:
        group = file.get("model_weights", file)
        backend = group.attrs.get("backend", "tensorflow")
        if "tensor" not in str(backend):
            raise keras2.Untranslated(f"its weights are those of {backend}")
        keras2_weights.load_group(group, model, version.startswith("1"))


def of_tf_keras(path, record, weights=None):
    """The model as `tf_keras` loads it; None where that is not installed, or cannot.

    Of a class that is not Keras's, it would import the module that the file names: only what the
    user has registered is taken.
    """
    try:
        import tf_keras
    except ImportError:
        return None
    if not all(map(tf_keras.saving.get_registered_object, keras2.foreign(record))):
        return None
    try:
        if path.suffix == ".json":
            model = tf_keras.models.model_from_json(path.read_text(encoding="utf-8"))
            model.load_weights(weights)
            return model
        return tf_keras.models.load_model(path, compile=False)
    except Exception:  # it raises whatever a file makes it stumble over
        return None


def tf_keras_trace(model, shape):
    """The trace of a model of `tf_keras`."""
    specs = _specs(model, shape)
    answer = _answer(model)
    try:
        function = tf.function(answer, autograph=False).get_concrete_function(*specs.values())
    except Exception as error:  # whatever the model's own code raises
        raise Failure(f"model {model.name} cannot be traced: {first_line(error)}") from None
    inputs = dict(zip(specs, function.inputs, strict=False))
    outputs = named_outputs(function.structured_outputs, model.output_names)
    layers = frozenset(layer.name for layer in model._flatten_layers(include_self=False))
    traced = function_trace(function, inputs, outputs, layers)
    traced.original = original.of_function(
        lambda *given: named_outputs(answer(*given), model.output_names), specs
    )
    traced.note = "as tf_keras computes it"
    return traced


def _specs(model, shape):
    if not model.inputs:
        raise Failure(f"model {model.name} is subclassed; leave a SavedModel of it")
    known = dict(zip(model.input_names, model.inputs, strict=True))
    sizes = fixed({name: tensor.shape for name, tensor in known.items()}, shape)
    return {name: tf.TensorSpec(sizes[name], x.dtype, name) for name, x in known.items()}


def _answer(model):
    structure = model.input

    def answer(*given):
        return model(tf.nest.pack_sequence_as(structure, given), training=False)

    return answer


def of_own(own, traced):
    """The `Original` of a model of `tf_keras`, whose outputs have the names of the trace's."""
    answer, specs = _answer(own), traced.original.specs
    names = own.input_names
    if set(names) != set(specs):
        names = list(specs)

    def run(*given):
        given = dict(zip(specs, given, strict=True))
        outputs = tf.nest.flatten(answer(*(given[name] for name in names)))
        return dict(zip(traced.outputs, outputs, strict=True))

    return original.of_function(run, specs)


_MINOR = ".".join(tf.__version__.split(".")[:2])
INSTALL = f'pip install "tf_keras~={_MINOR}.0"'

# Keras 2's own classes that Keras 3 has not.
GONE = ("CuDNNGRU", "CuDNNLSTM", "LocallyConnected1D", "LocallyConnected2D", "Lambda",
        "ClassMethod", "InstanceMethod", "InstanceProperty", "RandomFourierFeatures",
        "Merge", "Highway", "MaxoutDense", "DenseFeatures")  # fmt: skip
