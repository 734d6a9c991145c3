"""Convolutions and pooling of three dimensions, by images: Caffe's layers slide over two.

A convolution's images are stacked, with the rows of padding of each between them; what its kernel
meets in depth is made channels before, so its weights are what they are in TensorFlow.

    (1, D, H, W, C) -> Along depth, rows -> (1, D' H', W, kd C) -> Conv2D -> (1, D', H', W', O)
      -> StridedSlice, without the rows between

Pooling is done over height and width first, then over depth.
"""

import numpy as np
import tensorflow as tf

from tf2caffe.caffe.mapping import same_padding
from tf2caffe.frontend import products
from tf2caffe.frontend.products import ONE_PIXEL

LAST, FIRST = [0, 2, 3, 4, 1], [0, 4, 1, 2, 3]  # of NCDHW, and back


def convolution(op, draft, constant):
    """A Conv3D is a Conv2D of stacked images, in which what its kernel meets in depth is channels.

    The ops before `op`, which is the last; none if it is not plain.
    """
    if not _is_plain(op) or "filter" not in op.constants:
        return []
    chain, first = products.Chain(op.inputs[0], draft), op.attrs["data_format"] == "NCDHW"
    chain.transpose(LAST if first else list(range(5)))
    _, depth, height, width, channels = chain.last.shape
    kernel = op.constants["filter"].tensor
    sizes, (*_, count) = kernel.shape[:3], kernel.shape
    settings = [_three(op, name) for name in ("strides", "dilations")]
    axes = list(zip((depth, height, width), sizes, *settings, strict=True))
    (outs, pads), (_, rows, _) = zip(*(_windows(op, *axis) for axis in axes), strict=True), axes
    if kernel.shape[3] != channels:
        return []
    taps = _taps(*axes[0], outs[0], pads[0][0])
    step = settings[0][1]
    tall = _tall(rows, outs[1])
    chain.along(1, taps, constant)
    chain.along(2, np.eye(tall, height, -pads[1][0]), constant)
    chain.reshape((1, outs[0], sizes[0], tall, width, channels))
    chain.transpose([0, 1, 3, 4, 2, 5])
    chain.reshape((1, outs[0] * tall, width, sizes[0] * channels))
    reach = (sizes[1] - 1) * settings[1][1] + 1
    ends = [0, 0, 0, max(reach - step, 0), *pads[2], 0, 0]
    _slide(chain, kernel, op.constants.get("bias"), constant, settings, ends)
    chain.reshape((1, outs[0], tall // step, outs[2], count))
    chain.first(2, outs[1], constant)
    chain.transpose(FIRST if first else list(range(5)))
    return chain.end(op)


def _slide(chain, kernel, bias, constant, settings, ends):
    """The Conv2D, of whose kernel the depth is channels."""
    depth, high, wide, channels, count = kernel.shape
    flat = tf.reshape(tf.transpose(kernel, [1, 2, 0, 3, 4]), (high, wide, depth * channels, count))
    strides, dilations = ([1, *numbers[1:], 1] for numbers in settings)
    pads = [[first, last] for first, last in zip(ends[::2], ends[1::2], strict=True)]
    tensor = tf.nn.conv2d(chain.last.tensor, flat, strides, pads, dilations=dilations)
    attrs = dict(
        ONE_PIXEL, strides=strides, dilations=dilations, padding="EXPLICIT",
        explicit_paddings=ends,
    )  # fmt: skip
    operands = {"filter": constant(flat)} | ({"bias": bias} if bias else {})
    tensor = tensor + bias.tensor if bias else tensor
    chain.add("Conv2D", tensor, operands, attrs)


def _taps(size, length, stride, dilation, out, before):
    """(out * length, size): a 1 for each slice that a window of depth meets, in order."""
    at = (np.arange(out)[:, None] * stride + np.arange(length) * dilation - before).reshape(-1)
    matrix = np.zeros((len(at), size))
    inside = (at >= 0) & (at < size)
    matrix[np.arange(len(at))[inside], at[inside]] = 1
    return matrix


def _tall(rows, out):
    """How many rows an image has with its padding: whole strides, and as many as windows meet."""
    _, length, stride, dilation = rows
    least = (out - 1) * stride + (length - 1) * dilation + 1
    return -(-least // stride) * stride


def pooling(op, draft, constant):
    """Pooling of three dimensions is pooling over height and width, then over depth."""
    if not _is_plain(op):
        return []
    kind, first = op.type.removesuffix("3D"), op.attrs["data_format"] == "NCDHW"
    chain = products.Chain(op.inputs[0], draft)
    chain.transpose(LAST if first else list(range(5)))
    _, depth, height, width, channels = chain.last.shape
    window, strides = _three(op, "ksize"), _three(op, "strides")
    chain.transpose([0, 2, 3, 1, 4])
    chain.reshape((1, height, width, depth * channels))
    _pool(chain, kind, op.attrs["padding"], window[1:], strides[1:])
    _, high, wide, _ = chain.last.shape
    chain.reshape((1, high * wide, depth, channels))
    _pool(chain, kind, op.attrs["padding"], [1, window[0]], [1, strides[0]])
    chain.reshape((1, high, wide, chain.last.shape[2], channels))
    chain.transpose([0, 3, 1, 2, 4])
    chain.transpose(FIRST if first else list(range(5)))
    return chain.end(op)


def _pool(chain, kind, padding, window, strides):
    window, strides = [1, *window, 1], [1, *strides, 1]
    run = tf.nn.max_pool2d if kind == "MaxPool" else tf.nn.avg_pool2d
    attrs = {"ksize": window, "strides": strides, "padding": padding, "data_format": "NHWC"}
    attrs |= {"explicit_paddings": []} if kind == "MaxPool" else {}
    chain.add(kind, run(chain.last.tensor, window, strides, padding), {}, attrs)


def _is_plain(op):
    """Whether it slides over depth, height and width alone, of one volume."""
    named = [op.attrs[name] for name in ("ksize", "strides", "dilations") if name in op.attrs]
    edges = (0, 1) if op.attrs["data_format"] == "NCDHW" else (0, 4)
    one = len(op.inputs) == 1 and op.shape[0] == 1
    return one and all(numbers[at] == 1 for numbers in named for at in edges)


def _three(op, name):
    """A setting of five numbers along depth, height and width."""
    numbers = op.attrs[name]
    return list(numbers[2:]) if op.attrs["data_format"] == "NCDHW" else list(numbers[1:4])


def _windows(op, size, length, stride, dilation):
    """How many windows there are along an axis, and the zeros before and after it."""
    if op.attrs["padding"] == "VALID":
        return (size - (length - 1) * dilation - 1) // stride + 1, (0, 0)
    return -(-size // stride), same_padding(size, length, stride, dilation)
