"""Every attribute of TensorFlow's ops that changes numbers is honoured, or refused by its name."""

import re

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from tests.harness import TOLERANCE, Converted, function_trace, random_input, rebuilt
from tf2caffe.failure import Failure
from tf2caffe.frontend import reader, settings
from tf2caffe.frontend.weights import save
from tf2caffe.paths import Handoff

IMAGE, MAPS = (1, 9, 11, 6), (1, 4, 9, 11)

# Attributes that say what the operands say too, how fast to compute, or what only training reads.
IDLE = {
    "N", "num", "num_split", "squeeze_dims", "use_cudnn_on_gpu", "exponential_avg_factor",
    "grad_a", "grad_b", "grad_x", "grad_y",
    "include_batch_in_index",  # of the places, not of the values, which alone are converted
}  # fmt: skip


@pytest.mark.parametrize(
    "op", [op for op in sorted(settings.KNOWN) if op_def_registry.get(op) is not None]
)
def test_every_attribute_is_read(op):
    """Types are no settings: all but float32 is refused elsewhere."""
    definition = op_def_registry.get(op)
    read = settings.KNOWN[op].attributes
    there = {attr.name for attr in definition.attr if attr.type != "type"}
    assert there - {*read} <= IDLE
    assert {*read} <= there


def weights(*shape):
    return random_input(shape, seed=len(shape))


def norm(x, **settings):
    scale, offset, mean = (weights(x.shape[1]) for _ in range(3))
    return tf.compat.v1.nn.fused_batch_norm(
        x, scale, offset, mean, mean**2 + 1, is_training=False, **settings
    )[0]


@pytest.mark.parametrize("op", [tf.nn.depth_to_space, tf.nn.space_to_depth])
def test_channels_in_fours_refused(op, tmp_path):
    with pytest.raises(Failure, match="data_format is not NHWC; .* channels_last"):
        converted(
            lambda x: op(x, 2, data_format="NCHW_VECT_C"), (1, 4, 8, 8, 4), tmp_path, run=False
        )


# What is taken -> the function of an image of 9 x 11 pixels and 6 channels.
HONOURED = {
    "bias along axis 1": lambda x: tf.nn.bias_add(x, weights(9), data_format="NCHW"),
    "bias along axis 1, as many channels": lambda x: tf.nn.bias_add(
        tf.nn.relu(x[:, :6]), weights(6), data_format="NCHW"),
    "bias along axis 1 after a dense layer": lambda x: tf.nn.bias_add(
        tf.tensordot(x, weights(6, 9), 1), weights(9), data_format="NCHW"),
    "explicit convolution": lambda x: tf.nn.conv2d(
        x, weights(3, 2, 6, 4), 2, [[0, 0], [2, 1], [0, 3], [0, 0]]),
    "explicit depthwise": lambda x: tf.nn.depthwise_conv2d(
        x, weights(3, 3, 6, 1), [1, 1, 1, 1], [[0, 0], [0, 2], [1, 0], [0, 0]]),
    **{
        f"explicit max pool {kernel} {stride} {pads}": (
            lambda x, kernel=kernel, stride=stride, pads=pads: tf.nn.max_pool2d(
                x - 50.0, kernel, stride, [[0, 0], *pads, [0, 0]])
        )
        for kernel, stride, pads in [
            (3, 2, [[1, 1], [1, 1]]), (3, 2, [[0, 2], [2, 0]]), (3, 1, [[2, 0], [0, 1]]),
            ((4, 3), (3, 2), [[0, 3], [1, 2]]), (5, 1, [[3, 1], [0, 4]]),
            (2, 3, [[1, 0], [1, 1]]), (1, 2, [[0, 0], [0, 0]]),
        ]
    },
    "-inf before a max pool": lambda x: tf.nn.max_pool2d(
        padded(x - 50.0, -np.inf), 3, 2, "VALID"),
    "-inf before two max pools": lambda x: [
        tf.nn.max_pool2d(padded(x, -np.inf), 3, stride, "VALID") for stride in (1, 2)],
    "the least number before a max pool": lambda x: tf.nn.max_pool2d(
        padded(x, np.finfo(np.float32).min), 3, 2, "VALID"),
    "no lower bound": lambda x: tf.clip_by_value(x, -np.inf, 0.5),
    "no upper bound": lambda x: tf.minimum(np.inf, tf.maximum(x, -0.5)),
    "a mask of -1e9": lambda x: tf.nn.softmax(x + mask(-1e9)),
    "a mask of the least number": lambda x: tf.nn.softmax(x + mask(np.finfo(np.float32).min)),
}  # fmt: skip


def padded(x, number):
    return tf.pad(x, [[0, 0], [1, 1], [0, 2], [0, 0]], constant_values=number)


def mask(number):
    return np.float32([0, 0, number, 0, number, 0])


def converted(function, shape, folder, run=True):
    made = function_trace(function, shape)
    if run:
        return Converted(made, folder)
    graph, _ = reader.read(made, "net")
    handoff = Handoff(folder, "net")
    save(graph, handoff.weights)
    return rebuilt(handoff)


@pytest.mark.parametrize("name", HONOURED)
def test_honoured(name, runtime, tmp_path):
    rows = converted(HONOURED[name], IMAGE, tmp_path).rows(runtime)
    assert [row.name for row in rows if not max(row.error, row.own) <= TOLERANCE] == []


# What is not finite: the function, and what is said of it.
INFINITE = {
    "pad": (lambda x: padded(x, -np.inf), r"\(PadV2\): it pads with -inf, .* before a max pool"),
    "wide pad": (
        lambda x: tf.nn.max_pool2d(padded(x, -np.inf), 2, 1, "VALID"), "windows larger than"),
    "read twice": (
        lambda x: [tf.nn.max_pool2d(padded(x, -np.inf), 3, 1, "VALID"), padded(x, -np.inf)],
        "it pads with -inf"),
    "number": (lambda x: x + np.inf, r"\(AddV2\): it computes with inf, .*finite"),
    "maximum": (lambda x: tf.maximum(x, np.inf), r"\(Maximum\): it computes with inf"),
    "mask": (lambda x: tf.nn.softmax(x + mask(-np.inf)), "holds infinity, .* such as -1e9"),
    "bounds": (lambda x: tf.maximum(x, mask(-np.inf)), "holds infinity"),
    "no number": (lambda x: x * np.float32([1, 2, np.nan, 4, 5, 6]), "holds NaN; train"),
}  # fmt: skip


@pytest.mark.parametrize("name", INFINITE)
def test_infinite_refused(name, tmp_path):
    function, line = INFINITE[name]
    with pytest.raises(Failure) as raised:
        converted(function, IMAGE, tmp_path, run=False)
    assert re.search(line, str(raised.value)), raised.value
