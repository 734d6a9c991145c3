"""A graph that computes in float16, bfloat16 or float64, as the same in float32, Caffe's numbers.

Each float16 and bfloat16 is a float32; of float64, the weights must be, to the last digit.
"""

import numpy as np
import tensorflow as tf

from tf2caffe.failure import Failure

OTHERS = {
    dtype.as_datatype_enum: dtype.name for dtype in (tf.float16, tf.bfloat16, tf.float64)
}  # fmt: skip
FLOAT32 = tf.float32.as_datatype_enum


class Widened:
    """A variable's value as float32, read when it is asked for."""

    dtype = tf.float32

    def __init__(self, name, value):
        self.name, self.value, self.shape = name, value, tf.TensorShape(value.shape)

    def reshaped(self, shape):
        return Widened(self.name, self.value.reshaped(shape))

    def numpy(self):
        kept = self.value
        kept = np.asarray(kept.numpy() if hasattr(kept, "numpy") else kept)
        return exact(self.name, kept)


def exact(name, array):
    """An array as float32. Raises `Failure` where that loses digits."""
    with np.errstate(over="ignore"):
        made = array.astype(np.float32)
    if not np.array_equal(made.astype(array.dtype), array, equal_nan=True):
        raise Failure(
            f"{name} is {array.dtype}, with more digits than Caffe's float32 has; save the model "
            "with its weights rounded to float32"
        )
    return made


def widen(graph_def, inputs, variables):
    """Let a graph whose inputs reach other floats compute in float32; return their names, if any.

    `variables`, {placeholder: (name, value)}, are replaced by such of float32.
    """
    kinds = {attr.type for node in graph_def.node for attr in node.attr.values()}
    if not kinds & OTHERS.keys():
        return []
    found = _reached(graph_def, {tensor.removesuffix(":0") for tensor in inputs.values()})
    if not found:
        return []
    for node in graph_def.node:
        for key, attr in node.attr.items():
            if attr.type in OTHERS:
                attr.type = FLOAT32
            for at, kind in enumerate(attr.list.type):
                attr.list.type[at] = FLOAT32 if kind in OTHERS else kind
            if key == "value" and attr.tensor.dtype in OTHERS:
                array = tf.make_ndarray(attr.tensor)
                attr.tensor.CopyFrom(tf.make_tensor_proto(array.astype(np.float32)))
    for placeholder, (name, value) in variables.items():
        if tf.as_dtype(value.dtype).as_datatype_enum in OTHERS:
            variables[placeholder] = name, Widened(name, value)
    return sorted(found)


def _reached(graph_def, inputs):
    """The names of the other floats in which what depends on the inputs is computed."""
    readers, reached, waiting = {}, set(), list(inputs)
    for node in graph_def.node:
        for name in node.input:
            readers.setdefault(name.lstrip("^").split(":")[0], []).append(node.name)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += readers.get(name, ())
    nodes = [node for node in graph_def.node if node.name in reached]
    kinds = {attr.type for node in nodes for attr in node.attr.values()}
    return {OTHERS[kind] for kind in kinds & OTHERS.keys()}
