"""--fold-preprocessing: what is done to an image's pixels becomes a part of the traced model.

It is made of TensorFlow's ops in front of the model, so each of them is converted, folded and
proven as the model's own are. A shift that comes before zeros of padding stays a layer of its own,
because it would reach them.

    pixels -> Mul (1 / std) -> Sub (mean / std) -> Conv2D (blue first) -> the model

The factor comes first, as in one Scale of Caffe's, so that both round alike: pixels - mean may be
near 0, and then x / std - mean / std has fewer digits than (x - mean) / std.
"""

from dataclasses import replace

import numpy as np
import tensorflow as tf

from tf2caffe.failure import Failure

SCOPE = "preprocessing"


class Prepared:
    """The model as it was loaded, behind the preprocessing."""

    def __init__(self, original, preprocessing):
        self.original, self.preprocessing = original, preprocessing

    def taken(self, inputs):
        return inputs

    def allowed(self, output):
        return self.original.allowed(output)

    def remarks(self, inputs, expected):
        return self.original.remarks(self._made(inputs), expected)

    def __call__(self, inputs):
        return self.original(self._made(inputs))

    def _made(self, inputs):
        made = {name: self.preprocessing.apply(array) for name, array in inputs.items()}
        return self.original.taken(made)


def folded(trace, preprocessing):
    """The trace of a model of one image, behind the preprocessing. Raises `Failure` for others."""
    name, tensor = _image(trace, preprocessing)
    added = _nodes(tensor, preprocessing, _free(trace))
    graph_def = tf.compat.v1.GraphDef()
    graph_def.CopyFrom(trace.graph_def)
    own, last = tensor.op.name, added[-1].name
    for node in graph_def.node:
        read = [last if one.removesuffix(":0") == own else one for one in node.input]
        del node.input[:]
        node.input.extend(read)
    graph_def.node.extend(added)
    layers = {node.name.partition("/")[0] for node in added}
    layers = trace.layers | layers if trace.layers else trace.layers
    original = trace.original and Prepared(trace.original, preprocessing)
    made = replace(trace, graph_def=graph_def, graph=None, layers=layers, original=original)
    made.widened = trace.widened
    return made


def _image(trace, preprocessing):
    """The model's one input (its name, its tensor)."""
    tensors = {name: trace.graph.get_tensor_by_name(of) for name, of in trace.inputs.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(tensors) != 1 or len(next(iter(shapes.values()))) != 4:
        raise Failure(f"--fold-preprocessing: the network takes {shapes}, not one image")
    ((name, tensor),) = tensors.items()
    if tensor.shape[1] in (1, 3) and tensor.shape[3] not in (1, 3):
        told = f"input {name} has its channels first, {tuple(tensor.shape)}"
        raise Failure(f"--fold-preprocessing takes images with channels last; {told}")
    preprocessing.check(name, tensor.shape[3])
    if tensor.dtype != tf.float32:
        told = f"input {name} is {tensor.dtype.name}, and prepared pixels are float32"
        raise Failure(f"--fold-preprocessing: {told}")
    return name, tensor


def _free(trace):
    """The beginning of names that the model has not."""
    taken, start = [node.name for node in trace.graph_def.node], SCOPE
    while any(name.startswith(start) for name in taken):
        start += "_"
    return start


def _nodes(tensor, preprocessing, start):
    """The nodes of the preprocessing, in order, each constant before its reader."""
    with tf.Graph().as_default() as graph:
        made = first = tf.compat.v1.placeholder(tensor.dtype, tensor.shape, tensor.op.name)
        for step, numbers in _steps(preprocessing):
            with tf.name_scope(f"{start}_{step}"):
                made = OPS[step](made, numbers, tensor.shape[3])
        nodes = graph.as_graph_def().node
        return [node for node in nodes if node.name != first.op.name]


def _steps(preprocessing):
    """What is done, in order: (name, numbers in red, green, blue)."""
    mean, scale = preprocessing.mean, preprocessing.scale
    factor = 1 / np.float64(preprocessing.std or 1 / (scale or 1.0))
    if preprocessing.std is not None or scale is not None:
        yield "scale", factor.astype(np.float32)
    if mean is not None:
        yield "mean", np.float32(np.float64(mean) * factor)
    if preprocessing.bgr:
        yield "bgr", None


def _by(op):
    """A step with a number for each channel."""
    return lambda x, numbers, channels: op(x=x, y=tf.constant(np.broadcast_to(numbers, channels)))


def _reversed(x, numbers, channels):
    """The channels the other way round, as a convolution: Caffe has it, and nothing is rounded."""
    kernel = tf.constant(np.eye(channels, dtype=np.float32)[None, None, ::-1])
    return tf.raw_ops.Conv2D(input=x, filter=kernel, strides=[1, 1, 1, 1], padding="VALID")


OPS = {
    "mean": _by(tf.raw_ops.Sub),
    "scale": _by(tf.raw_ops.Mul),
    "bgr": _reversed,
}
