"""How a weight is laid out for Caffe: TensorFlow's array -> the array that is written.

Each takes the node, the array, its inputs' layouts and its output's.
"""

from tf2caffe.failure import Failure
from tf2caffe.graph.layout import places, plain, usual


def operand(node, array, inputs, output):
    """An elementwise constant: (C,) where it is one number a channel, else (C, H, W)."""
    if node.attrs.get("data_format", "NHWC") != "NHWC":  # BiasAdd along axis 1
        array = array.reshape(-1, *[1] * (len(node.shape) - 2))
    shape = (1,) * (len(node.shape) - array.ndim) + array.shape
    array = array.reshape(shape)
    if shape[0] != 1:
        raise Failure(f"{node.name}: a constant differs along the batch")
    if len(shape) == 2:
        return output.to_caffe(array)[0] if array.size == output.tf_shape[0] else array[0]
    return array.reshape(-1) if array.size == shape[-1] else usual(shape[1:]).to_caffe(array)[0]


def joined(node, array, inputs, output):
    """Part of a join as the whole lies: in the usual order, of many axes in TensorFlow's."""
    shape = (1,) * (len(node.shape) - array.ndim) + array.shape
    layout = usual(shape[1:]) if len(shape) < 5 else plain(shape[1:])
    return layout.to_caffe(array.reshape(shape))[0]


def as_it_is(node, array, inputs, output):
    return array


def vector(node, array, inputs, output):
    """One number a channel, in the order in which a flattened blob has the channels."""
    flat = array.reshape(-1)
    return output.to_caffe(flat[None])[0] if len(output.tf) == 1 else flat


def convolution_kernel(node, array, inputs, output):
    return array.transpose(3, 2, 0, 1)  # HWIO -> OIHW


def depthwise_kernel(node, array, inputs, output):
    h, w, c, m = array.shape
    return array.transpose(2, 3, 0, 1).reshape(c * m, 1, h, w)  # HWCM -> (C M)1HW


def transposed_kernel(node, array, inputs, output):
    return array.transpose(3, 2, 0, 1)  # HWOI -> IOHW


def dense_kernel(node, array, inputs, output):
    kernel = array if node.attrs["transpose_b"] else array.T  # (in, out) -> (out, in)
    kernel = kernel if output.is_usual() else kernel[places(output)]
    if len(inputs[0].tf) > 1 or inputs[0].is_usual():  # an image's pixels are put in order before
        return kernel
    return Reordered(kernel, places(inputs[0]))  # HWC -> CHW


class Reordered:
    """A matrix with its columns in another order, which a slice of rows gets when it is taken.

    These are the largest weights that there are, and a copy of one is never in memory.
    """

    def __init__(self, matrix, columns):
        self.matrix, self.columns, self.shape = matrix, columns, matrix.shape

    def __getitem__(self, rows):
        return self.matrix[rows][:, self.columns]
