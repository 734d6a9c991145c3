"""A model's configuration as Keras 1 or 2 wrote it, spelt as Keras 3 reads it.

Only what says the same in both is translated. Keys that do nothing when a network is used are left
out: initialisers, regularisers, constraints. Any other key or class raises `Untranslated`, and then
`tf_keras`, which is Keras 2, has to read the file.
"""

import re

from tf2caffe.frontend import keras1

# Modules of the classes that belong to Keras itself.
OWN = re.compile(r"(tf_keras|keras|tensorflow)(\.|$)")
# Keras as a package beside TensorFlow 1, whose bilinear resizing has other centres of pixels.
STANDALONE = re.compile(r"(1|2\.[0-2])\b(?!.*tf)")
IDLE = re.compile(r"_(initializer|regularizer|constraint)$")


class Untranslated(Exception):
    """Why Keras 3 cannot read a configuration of Keras 2, in a few words."""


class HoldsCode(Exception):
    """The layer that holds code, which is not run."""


def translated(record, version, known):
    """The record of a model, {"class_name": ..., "config": ...}, for Keras 3.

    `known(name)` says whether Keras 3 has a layer of that name, or the user has registered it.
    Raises `Untranslated` or `HoldsCode`.
    """
    record = modern(record, version)
    unknown = sorted({name for name in _classes(record) if not known(name)})
    if unknown:
        raise Untranslated(f"Keras 3 has no {', '.join(unknown)}")
    return _layer(record, version)


def modern(record, version):
    """The record as Keras 2 writes it. Raises `Untranslated`."""
    return keras1.modern(record) if version.startswith("1") else record


def custom_classes(record, known):
    """The classes of a model that are neither Keras's nor `known`."""
    return sorted({name for name in _classes(record) if not known(name)})


def refuse_code(record):
    """Raise `HoldsCode` where a layer holds Python code, as a Lambda does."""
    for part in _parts(record):
        if part["class_name"] == "Lambda" and not isinstance(part["config"].get("function"), str):
            raise HoldsCode(part["config"].get("name", "Lambda"))


def _parts(record):
    """The records of all layers of a model, itself included."""
    yield record
    config = record["config"]
    inner = config if isinstance(config, list) else config.get("layers", [])
    if isinstance(config, dict):
        inner = [*inner, *(config[key] for key in WRAPPED if isinstance(config.get(key), dict))]
        inner += config.get("cells", [])
    for part in inner:
        if isinstance(part, dict) and isinstance(part.get("config"), dict | list):
            yield from _parts(part)


def _classes(record):
    """The names of the classes of all layers, as they are looked for."""
    for part in _parts(record):
        name = part.get("registered_name") or part["class_name"]
        yield RENAMED.get(name, RENAMED.get(part["class_name"], name))


def _layer(record, version):
    """One layer's record, or a whole model's."""
    name = record["class_name"]
    if name in MODELS:
        config = (
            _sequential(record, version) if name == "Sequential" else _functional(record, version)
        )
        return {"module": "keras", "class_name": MODELS[name], "config": config}
    config = _config(name, dict(record["config"]), version)
    registered = record.get("registered_name")
    if (
        name == "UpSampling2D"
        and config.get("interpolation") == "bilinear"
        and STANDALONE.match(version)
    ):
        name = "UpSampling2DOfTF1"
    if name in RENAMED:
        name, registered = RENAMED[name], None
    own = name not in OURS and not registered and _is_layer(name)
    made = {"module": "keras.layers" if own else None, "class_name": name, "config": config}
    return made | {"registered_name": None if own else name if name in OURS else registered or name}


def _is_layer(name):
    """Whether a class is Keras 3's own."""
    import keras

    return hasattr(keras.layers, name)


def without_slashes(record):
    """The configuration with _ for each / in the names of layers, which Keras 3 does not take."""
    names = [part["config"].get("name") or "" for part in _parts(record) if _is_named(part)]
    renamed = {name: name.replace("/", "_") for name in names if "/" in name}

    def plain(value):
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        if isinstance(value, list):
            return [plain(one) for one in value]
        return renamed.get(value, value) if isinstance(value, str) else value

    return plain(record) if renamed else record


def _is_named(part):
    return isinstance(part["config"], dict)


def foreign(record):
    """The names of classes and functions in a configuration that a module not Keras's has."""
    import keras

    found, waiting = set(), [record]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict) and not OWN.match(str(part.get("module") or "keras")):
            function = part.get("class_name") == "function"
            found.add(str(part["config"] if function else part.get("registered_name")))
        parts = part.values() if isinstance(part, dict) else part
        waiting += [one for one in parts if isinstance(one, dict | list)]
    return {name for name in found if not hasattr(keras.activations, name)}


def _config(name, config, version):
    """The settings of one layer."""
    change = CHANGED.get(name)
    config = {key: value for key, value in config.items() if not IDLE.search(key)}
    for key in ("build_config", "activity_regularizer"):
        config.pop(key, None)
    if name != "InputLayer":
        for key in ("batch_input_shape", "input_shape", "input_dtype"):
            config.pop(key, None)
    for key, value in config.items():
        config[key] = _setting(key, value, version)
    if change:
        change(config)
    return config


def _setting(key, value, version):
    if key == "dtype":
        return _dtype(value)
    if key in WRAPPED and isinstance(value, dict):
        return _layer(value, version)
    if key == "cells":
        return [_layer(cell, version) for cell in value]
    if key.endswith("activation"):
        return _activation(value, version)
    return value


def _dtype(value):
    """A policy is a name: mixed_float16."""
    if isinstance(value, dict):
        return value["config"].get("name", "float32")
    return value


def _activation(value, version):
    """An activation's name; hard_sigmoid has a slope of 0.2 in Keras 2, and 1/6 in Keras 3."""
    if isinstance(value, dict) and value.get("class_name") == "function":
        value = value["config"]
    if isinstance(value, dict):
        return _layer(value, version)
    value = ACTIVATIONS.get(value, value)
    if value == "hard_sigmoid":
        return {"module": None, "class_name": "function", "config": "hard_sigmoid_of_keras_2",
                "registered_name": "hard_sigmoid_of_keras_2"}  # fmt: skip
    return value


def _sequential(record, version):
    """The layers of a Sequential, with the InputLayer that its first layer stands for."""
    config = record["config"]
    config = {"layers": config} if isinstance(config, list) else dict(config)
    layers = config["layers"]
    shape = layers[0]["config"].get("batch_input_shape") if layers else None
    made = [_layer(layer, version) for layer in layers]
    if shape and layers[0]["class_name"] != "InputLayer":
        first = {"batch_shape": shape, "name": f"{layers[0]['config'].get('name')}_input"}
        first["dtype"] = _dtype(layers[0]["config"].get("dtype") or "float32")
        if first["dtype"] not in NUMBERS:
            first["dtype"] = "float32"
        made.insert(0, {"module": "keras.layers", "class_name": "InputLayer", "config": first,
                        "registered_name": None})  # fmt: skip
    name = config.get("name") or record.get("name") or "sequential"
    kept = {key: config[key] for key in ("build_input_shape",) if config.get(key) and not shape}
    return {"name": name, "trainable": True, "layers": made, **kept}


def _functional(record, version):
    """The layers of a model and how they are linked."""
    config = record["config"]
    if "layers" not in config or "input_layers" not in config:
        raise Untranslated(f"{record['class_name']} is a subclassed model")
    # the first node of a model in a model is where it was built
    built = {layer["name"]: layer["class_name"] in MODELS for layer in config["layers"]}
    made = []
    for layer in config["layers"]:
        if layer["class_name"] in CALLS:
            layer = _with_call(layer, built)
        nodes = [_node(node, built) for node in layer["inbound_nodes"]]
        trained = any(node["kwargs"].get("training") for node in nodes)
        if trained and layer["class_name"] in IDENTITIES:
            raise Untranslated(f"{layer['name']} is called with training=True")
        made.append(_layer(layer, version) | {"name": layer["name"], "inbound_nodes": nodes})
    models = {layer["name"] for layer in config["layers"] if layer["class_name"] in NETWORKS}
    ends = {key: _ends(config[key], built, models) for key in ("input_layers", "output_layers")}
    return {
        "name": config.get("name", record.get("name")),
        "trainable": True,
        "layers": made,
    } | ends


def _ends(ends, built, models):
    """References to the model's inputs or outputs; Keras 3 counts a model's from 1 there."""
    if _is_reference(ends, built):
        name, node, output = ends[:3]
        return [name, node - built[name] + (name in models), output]
    if isinstance(ends, dict):
        return {key: _ends(end, built, models) for key, end in ends.items()}
    if len(ends) == 1:
        return _ends(ends[0], built, models)
    return [_ends(end, built, models) for end in ends]


def _node(node, built):
    """The arguments of one call of a layer, of Keras 2's [[[name, node, output, settings]]]."""
    reading = _Reading(built, lambda reference: _tensor(reference, built))
    argument = reading.argument(node)
    if isinstance(argument, list) and len(argument) == 1:
        (argument,) = argument
    return {"args": [argument], "kwargs": reading.given()}


def _with_call(layer, built):
    """The record of a layer that calls a function of TensorFlow's: how it does is a setting of it.

    {"tensor": 0} stands there for the first tensor; the layer is called on a list of all of them.
    """
    if len(layer["inbound_nodes"]) != 1:
        raise Untranslated(f"{layer['name']} is called several times")
    tensors = []

    def read(reference):
        tensors.append(reference[:3])
        return {"tensor": len(tensors) - 1}

    reading = _Reading(built, read)
    call = {"argument": reading.argument(layer["inbound_nodes"][0]), "settings": reading.given()}
    config = {**layer["config"], "call": call}
    return layer | {"config": config, "inbound_nodes": [tensors]}


class _Reading:
    """The arguments of a call; `made` makes of a reference to a layer's output what it shall be.

    Keyword arguments stand with each tensor; they are gathered in `settings`.
    """

    def __init__(self, built, made):
        self.built, self.made, self.settings = built, made, {}

    def argument(self, node):
        """What the layer is called on: a tensor, a number, lists and dictionaries of them."""
        if isinstance(node, dict):
            return {key: self.argument(part) for key, part in node.items()}
        constant = isinstance(node, list) and node[:1] == ["_CONSTANT_VALUE"]
        if constant or _is_reference(node, self.built):
            self.settings.update(node[3] if len(node) > 3 else {})
            return node[2] if constant else self.made(node)
        if not isinstance(node, list):
            raise Untranslated("a layer is called on what Keras 3 does not know")
        return [self.argument(part) for part in node]

    def given(self):
        """The keyword arguments; a name is no argument of Keras 3's."""
        made = {key: self.value(value) for key, value in self.settings.items()}
        return {key: value for key, value in made.items() if (key, value) != ("name", None)}

    def value(self, value):
        if _is_reference(value, self.built) and len(value) == 3:
            return self.made(value)
        if isinstance(value, dict):
            return {key: self.value(part) for key, part in value.items()}
        if isinstance(value, list):
            return [self.value(part) for part in value]
        return value


def _is_reference(value, built):
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and value[0] in built
        and all(isinstance(part, int) for part in value[1:3])
    )


def _tensor(reference, built):
    """A layer's output as Keras 3 writes it; only where it comes from is read again."""
    name, node, output = reference[:3]
    history = [name, node - built[name], output]
    config = {"shape": [None], "dtype": "float32", "keras_history": history}
    return {"class_name": "__keras_tensor__", "config": config}


def _drop(**neutral):
    """Leaves keys out that Keras 3 does not have, where they have this value: a tuple of them."""

    def change(config):
        for key, values in neutral.items():
            if key in config and config[key] in values:
                del config[key]

    return change


def _norm(config):
    for key in ("fused", "virtual_batch_size", "adjustment", "renorm_clipping", "renorm_momentum"):
        config.pop(key, None)
    _drop(renorm=(False,), mode=(0,))(config)
    axis = config.get("axis", -1)
    if isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]
    if config.pop("renorm", False):
        raise Untranslated("BatchNormalization with renorm")


def _input(config):
    config["batch_shape"] = config.pop("batch_input_shape", config.get("batch_shape"))
    _drop(sparse=(False,), ragged=(False, None), optional=(False,))(config)
    if config.get("ragged") or config.get("sparse"):
        raise Untranslated("a sparse or ragged input")


def _recurrent(config):
    _drop(time_major=(False,))(config)
    config.pop("implementation", None)
    if config.get("time_major"):
        raise Untranslated("time_major")


def _gated(config):
    _recurrent(config)
    config.setdefault("reset_after", False)  # what Keras 2 does where the key is not there


def _threshold(config):
    config["threshold"] = float(_number(config.pop("theta")))


def _leaky(config):
    if "alpha" in config:
        config["negative_slope"] = float(_number(config.pop("alpha")))


def _relu(config):
    for key in ("max_value", "negative_slope", "threshold"):
        if config.get(key) is not None:
            config[key] = float(_number(config[key]))


def _number(value):
    """A number that Keras 2 may have written as an array: {"type": "ndarray", "value": ...}."""
    return value["value"] if isinstance(value, dict) else value


def _attention(config):
    for key in ("query_shape", "key_shape", "value_shape"):
        config.pop(key, None)
    _drop(softmax_robust_masking=(False,), attention_axes=(None,))(config)


def _flatten_axes(config):
    axis = config.get("axis")
    if isinstance(axis, dict):
        config["axis"] = axis.get("items", axis.get("value"))


def _nothing(config):
    """While the network is used, it does nothing."""
    for key in config.keys() - {"name", "dtype"}:
        del config[key]


def _lambda(config):
    raise Untranslated("Lambda calls a function of the program that wrote it")


OURS = (
    "UpSampling2DOfTF1",
    "SyncBatchNormalization",
    "TFOpLambda",
    "TensorFlowOpLayer",
)  # see `keras2_layers`
CALLS = ("TFOpLambda", "SlicingOpLambda")
WRAPPED = ("layer", "backward_layer", "cell", "rnn_layer")
NUMBERS = ("float16", "bfloat16", "float32", "float64", "int32", "int64", "uint8", "bool")

# What is a model, and what Keras 3 calls its class.
MODELS = {"Functional": "Model", "Model": "Model", "Sequential": "Sequential"}
NETWORKS = ("Functional", "Model")

# What only does something in training.
IDENTITIES = (
    "ActivityRegularization", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    "RandomBrightness", "RandomContrast", "RandomFlip", "RandomHeight",
    "RandomRotation", "RandomTranslation", "RandomWidth", "RandomZoom",
    "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
)  # fmt: skip

# Keras 2's class -> ours or Keras 3's.
RENAMED = dict.fromkeys(IDENTITIES, "Identity") | {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "LSTMV2": "LSTM",
    "GRUV2": "GRU",
    "SlicingOpLambda": "TFOpLambda",
    "ThresholdedReLU": "ReLU",
}  # fmt: skip

ACTIVATIONS = {"softmax_v2": "softmax", "log_softmax_v2": "log_softmax"}

_UNGROUPED = _drop(groups=(1,))

# Keras 2's class -> what changes its settings.
CHANGED = dict.fromkeys(IDENTITIES, _nothing) | {
    "BatchNormalization": _norm,
    "BatchNormalizationV1": _norm,
    "BatchNormalizationV2": _norm,
    "Bidirectional": _recurrent,
    "Conv2DTranspose": _UNGROUPED,
    "Conv1DTranspose": _UNGROUPED,
    "Conv3DTranspose": _UNGROUPED,
    "ConvLSTM1D": _recurrent,
    "ConvLSTM2D": _recurrent,
    "ConvLSTM3D": _recurrent,
    "DepthwiseConv1D": _UNGROUPED,
    "DepthwiseConv2D": _UNGROUPED,
    "GRU": _gated,
    "GRUCell": _gated,
    "GRUV2": _gated,
    "InputLayer": _input,
    "LSTM": _recurrent,
    "LSTMCell": _recurrent,
    "LSTMV2": _recurrent,
    "Lambda": _lambda,
    "LayerNormalization": _flatten_axes,
    "LeakyReLU": _leaky,
    "MultiHeadAttention": _attention,
    "RNN": _recurrent,
    "ReLU": _relu,
    "SeparableConv1D": _UNGROUPED,
    "SeparableConv2D": _UNGROUPED,
    "SimpleRNN": _recurrent,
    "SimpleRNNCell": _recurrent,
    "Softmax": _flatten_axes,
    "SyncBatchNormalization": _norm,
    "ThresholdedReLU": _threshold,
}
