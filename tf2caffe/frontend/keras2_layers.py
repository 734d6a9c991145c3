"""Keras 2's layers and functions that Keras 3 does not have, as layers of Keras 3."""

import re

import keras
import tensorflow as tf
from google.protobuf import json_format, text_format

from tf2caffe.frontend.keras2 import Untranslated


def hard_sigmoid_of_keras_2(x):
    """min(max(0.2 x + 0.5, 0), 1); Keras 3's is another function, of the slope 1/6."""
    return tf.clip_by_value(x * 0.2 + 0.5, 0.0, 1.0)


class TFOpLambda(keras.layers.Layer):
    """A function of TensorFlow's, by name, as Keras 2 kept one that was called on its tensors."""

    def __init__(self, function, call, **settings):
        super().__init__(**settings)
        self.function, self.argument = named(function), call["argument"]
        self.settings = dict(call["settings"])
        if "dtype" in self.settings:
            self.settings["dtype"] = tf.as_dtype(self.settings["dtype"])

    def call(self, tensors):
        tensors = tensors if isinstance(tensors, (list, tuple)) else [tensors]
        settings = {key: _filled(value, tensors) for key, value in self.settings.items()}
        if isinstance(settings.get("slice_spec"), list):
            settings["slice_spec"] = tuple(settings["slice_spec"])
        return self.function(_filled(self.argument, tensors), **settings)


def _filled(value, tensors):
    """An argument with the tensors in it: {"tensor": 1}; slices as Keras 2 writes them."""
    if isinstance(value, dict):
        if value.keys() == {"tensor"}:
            return tensors[value["tensor"]]
        if value.get("class_name") == "__ellipsis__":
            return Ellipsis
        made = {key: _filled(part, tensors) for key, part in value.items()}
        return slice(made["start"], made["stop"], made["step"]) if "stop" in made else made
    if isinstance(value, (list, tuple)):
        made = [_filled(part, tensors) for part in value]
        return tuple(made) if any(isinstance(part, slice) for part in made) else made
    return value


def named(function):
    """The function of TensorFlow's of that name. Raises `Untranslated` for what is no op."""
    if not FUNCTIONS.fullmatch(function) or REACHES.search(function):
        raise Untranslated(f"it calls {function}")
    found = tf
    for part in function.split("."):
        found = getattr(found, part, None)
    if not callable(found) or isinstance(found, type):
        raise Untranslated(f"TensorFlow has no function {function}")
    return found


class TensorFlowOpLayer(keras.layers.Layer):
    """One op of TensorFlow's, as Keras of TensorFlow 1.13 to 2.3 kept one."""

    def __init__(self, node_def, constants=None, **settings):
        super().__init__(**settings)
        self.node = _node_def(node_def)
        self.constants = {int(at): value for at, value in (constants or {}).items()}

    def call(self, inputs):
        given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        count = len(given) + len(self.constants)
        names = [name for name in self.node.input if not name.startswith("^")][:count]
        tensors = [None if at in self.constants else given.pop(0) for at in range(count)]
        return tf.identity(tf.function(self._imported)(tensors, names))

    def _imported(self, tensors, names):
        """The op's output, with `tensors` in place of what it reads; None is a constant."""
        types = _input_types(self.node, len(names))
        tensors = [
            tf.constant(self.constants[at], types[at]) if tensor is None else tensor
            for at, tensor in enumerate(tensors)
        ]
        graph_def = tf.compat.v1.GraphDef(node=[self.node])
        del graph_def.node[0].input[:]
        for at, tensor in enumerate(tensors):
            own = graph_def.node.add(name=f"given/{at}", op="Placeholder")
            own.attr["dtype"].type = tensor.dtype.as_datatype_enum
            graph_def.node[0].input.append(own.name)
        fed = {f"given/{at}:0": tensor for at, tensor in enumerate(tensors)}
        outputs = [f"{self.node.name}:0"]
        (output,) = tf.graph_util.import_graph_def(graph_def, fed, outputs, name="")
        return output


def _node_def(record):
    """An op's record: protobuf's JSON, or its text."""
    made = tf.compat.v1.NodeDef()
    try:
        if isinstance(record, dict):
            made = json_format.ParseDict(record, made)
        elif record.lstrip().startswith("{"):
            made = json_format.Parse(record, made)
        else:
            made = text_format.Parse(record, made)
    except (json_format.ParseError, text_format.ParseError):
        raise Untranslated("a TensorFlowOpLayer that is damaged") from None
    if REACHES.search(made.op):
        raise Untranslated(f"it calls {made.op}")
    return made


def _input_types(node, count):
    """The dtypes of an op's operands, as its definition has them."""
    from tensorflow.python.framework import op_def_registry

    types = []
    for argument in op_def_registry.get(node.op).input_arg:
        number = node.attr[argument.number_attr].i if argument.number_attr else 1
        kind = node.attr[argument.type_attr].type if argument.type_attr else argument.type
        types += [kind] * number
    return [tf.as_dtype(kind) for kind in types[:count]]


class SyncBatchNormalization(keras.layers.BatchNormalization):
    """In use it is a BatchNormalization."""


class UpSampling2DOfTF1(keras.layers.UpSampling2D):
    """Bilinear, with the corner of a pixel as its centre: what TensorFlow 1's resizing did."""

    def call(self, x):
        height, width = (n * factor for n, factor in zip(x.shape[1:3], self.size, strict=True))
        return tf.compat.v1.image.resize_bilinear(x, (height, width))


# What may be called: ops, in TensorFlow's public modules of mathematics.
FUNCTIONS = re.compile(r"(compat\.v1\.)?((math|nn|image|linalg|signal|__operators__)\.)?\w+")
REACHES = re.compile(
    r"py_func|numpy_function|PyFunc|[Ff]ile|load|save|print|while_loop|cond$|function$|^test|"
    r"executing|enable_|disable_|set_|get_|device|Session|import|export|random"
)

OURS = {
    one.__name__: one
    for one in (
        hard_sigmoid_of_keras_2,
        TFOpLambda,
        TensorFlowOpLayer,
        SyncBatchNormalization,
        UpSampling2DOfTF1,
    )
}
