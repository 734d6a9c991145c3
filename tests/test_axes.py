"""Tensors of any number of axes: joined, cut, reduced, broadcast, with axes in the batch."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.harness import TOLERANCE, assert_equal, graph_trace, randomise
from tests.test_deploy import Deployed

IMAGE, VOLUME = (1, 5, 6, 8), (1, 2, 3, 5, 4)


def fixed(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def blocks(x):
    """(1, 5, 6, 8) -> (1, 5, 6, 2, 4)."""
    return tf.reshape(x, (*x.shape[:-1], 2, x.shape[-1] // 2))


def windows(x):
    return tf.reshape(x, x.shape[1:])


def joined(axis, array=None, first=False):
    def function(x):
        others = [x * 2] if array is None else [array]
        return tf.concat([*others, x] if first else [x, *others, x], axis)

    return function


def joined_constant(shape, axis):
    """A constant that has two elements along the axis."""
    sizes = list(shape)
    sizes[axis] = 2
    return joined(axis, fixed(*sizes)), shape


def stacked(axis, array=None):
    return lambda x: tf.stack([x, x * 2 if array is None else array, x], axis)


REDUCTIONS = {
    "mean": tf.reduce_mean, "sum": tf.reduce_sum, "max": tf.reduce_max, "min": tf.reduce_min,
}  # fmt: skip
AXES = [axes for count in (1, 2, 3, 4) for axes in itertools.combinations((1, 2, 3, 4), count)]


def reduced(name, axes, kept=False):
    return lambda x: REDUCTIONS[name](x, axes, keepdims=kept)


def shrunk(op, axes, turned=False):
    """A volume and its own mean over some axes."""

    def function(x):
        mean = tf.reduce_mean(x, axes, keepdims=True)
        return op(mean, x) if turned else op(x, mean)

    return function


# What is done to one tensor -> (function, its shape).
FUNCTIONS = {
    **{f"concat_{len(shape)}d_{axis}": (joined(axis), shape)
       for shape in (IMAGE, VOLUME, (1, 5, 4), (1, 7)) for axis in range(-1, len(shape) - 1)},
    **{f"concat_constant_{len(shape)}d_{axis}": joined_constant(shape, axis)
       for shape in (IMAGE, VOLUME, (1, 5, 4), (1, 7)) for axis in range(len(shape))},
    **{f"stack_{len(shape)}d_{axis}": (stacked(axis), shape)
       for shape in (IMAGE, (1, 5, 4), (1, 7)) for axis in range(-1, len(shape))},
    **{f"stack_constant_{axis}": (stacked(axis, fixed(*IMAGE)), IMAGE) for axis in range(5)},
    **{f"mean_{''.join(map(str, axes))}": (reduced("mean", axes), VOLUME) for axes in AXES},
    **{f"{name}_{''.join(map(str, axes))}_{kept}": (reduced(name, axes, kept), VOLUME)
       for name in ("sum", "max", "min") for axes in ((1,), (2, 4), (1, 3), (1, 2, 3), (4,))
       for kept in (False, True)},
    **{f"sub_{''.join(map(str, axes))}": (shrunk(tf.subtract, axes), VOLUME) for axes in AXES},
    **{f"{op.__name__}_{turned}": (shrunk(op, (1, 3), turned), VOLUME)
       for op in (tf.add, tf.subtract, tf.multiply, tf.maximum, tf.minimum,
                  tf.math.squared_difference)
       for turned in (False, True)},
    **{f"add_constant_{'x'.join(map(str, shape))}": (
           lambda x, shape=shape: x + fixed(*shape), VOLUME)
       for shape in ((4,), (5, 1), (5, 4), (3, 1, 1), (3, 1, 4), (2, 1, 1, 1), (2, 3, 5, 4),
                     (1, 2, 3, 5, 4), (1, 1, 3, 1, 4), (1, 1, 1, 1, 1, 4))},
    "concat_five": (lambda x: tf.concat([x, x * 2, fixed(*IMAGE), x + 1, fixed(*IMAGE)], 2), IMAGE),
    "concat_class_token": (
        lambda x: tf.concat([fixed(1, 1, 8), tf.reshape(x, (1, 30, 8))], 1) + fixed(1, 31, 8),
        IMAGE,
    ),
    "concat_windows": (lambda x: tf.concat([windows(x), windows(x) * 2], 1), IMAGE),
    "concat_windows_batch": (lambda x: tf.concat([windows(x), fixed(2, 6, 8)], 0), IMAGE),
    "concat_both": (lambda x: tf.concat([blocks(x), blocks(x * 2)], 3), IMAGE),
    "unstack": (lambda x: tf.add_n(tf.unstack(x, axis=2)[1:4]), IMAGE),
    "unstack_blocks": (lambda x: tf.unstack(blocks(x), axis=3)[1] * 2, IMAGE),
    "unstack_batch": (lambda x: tf.unstack(windows(x))[3] * 2, IMAGE),
    "split_blocks": (lambda x: tf.split(blocks(x), [1, 2, 3], 2)[1] * 2, IMAGE),
    "reduced_windows": (lambda x: tf.reduce_mean(windows(x), 1), IMAGE),
    "reduced_windows_batch": (lambda x: tf.reduce_max(windows(x), 0), IMAGE),
    "reduced_all": (lambda x: tf.reduce_sum(x), VOLUME),
    "mul_both": (
        lambda x: tf.reduce_mean(x, (1, 2), keepdims=True)
        * tf.reduce_mean(x, (3, 4), keepdims=True),
        VOLUME,
    ),
    "outer_sum": (lambda x: x[:, :, None] - x[:, None], (1, 5, 3)),
    "divided": (lambda x: x / (1.5 + tf.reduce_max(tf.abs(x), 3, keepdims=True)), VOLUME),
    "divided_by": (lambda x: tf.reduce_sum(x, 2, keepdims=True) / (1.5 + tf.abs(x)), VOLUME),
    "divided_no_nan": (lambda x: tf.math.divide_no_nan(x, fixed(8)), IMAGE),
    "rank_mix": (lambda x: x * tf.reduce_mean(x, (1, 2)), IMAGE),
    "rank_mix_volume": (lambda x: x - tf.reduce_mean(x, (1, 2)), VOLUME),
    "rank_mix_first": (lambda x: tf.reduce_mean(x, (1, 2, 3)) + x, VOLUME),
    "rank_mix_number": (lambda x: x * tf.reduce_mean(x), IMAGE),
    "softmax_blocks": (lambda x: tf.nn.softmax(blocks(x)), IMAGE),
    "softmax_axis": (lambda x: tf.nn.softmax(x, 2), VOLUME),
    "softmax_first": (lambda x: tf.nn.softmax(x, 1), VOLUME),
    "softmax_windows": (lambda x: tf.nn.softmax(windows(x), 1), IMAGE),
    "softmax_windows_batch": (lambda x: tf.nn.softmax(windows(x), 0), IMAGE),
    "log_softmax": (lambda x: tf.nn.log_softmax(x, 2), VOLUME),
    "softmax_flat": (lambda x: tf.nn.softmax(tf.reshape(x, (1, -1))), IMAGE),
    "softmax_flat_vector": (lambda x: tf.nn.softmax(tf.reshape(x, (-1,))), IMAGE),
    "softmax_two_axes": (lambda x: keras.ops.softmax(x, (1, 2)), IMAGE),
    "logsumexp": (lambda x: tf.reduce_logsumexp(x, (1, 2)), IMAGE),
    "l2_normalized": (lambda x: tf.math.l2_normalize(x, 3), VOLUME),
    "new_axes": (lambda x: tf.reduce_mean(x, (1, 2))[:, None, None, :] * x, IMAGE),
    "new_axes_relu": (lambda x: tf.nn.relu(x[:, None, None, :]) * 2, (1, 7)),
    "default": (
        lambda x: tf.compat.v1.placeholder_with_default(x * 2, x.shape) + 1, IMAGE,
    ),
    "transposed": (lambda x: tf.transpose(x, (0, 3, 1, 4, 2)) * 2, VOLUME),
    "transposed_batch": (lambda x: tf.nn.relu(tf.transpose(x, (2, 0, 3, 1))), IMAGE),
    "masked": (lambda x: tf.where(fixed(6, 1) > 0, x, -1e9), IMAGE),
    "masked_other": (lambda x: tf.where(fixed(5, 6, 8) > 0, x, x * x), IMAGE),
    "patches": (
        lambda x: tf.image.extract_patches(x, [1, 3, 3, 1], [1, 2, 2, 1], [1] * 4, "SAME"), IMAGE,
    ),
    "patches_apart": (
        lambda x: tf.image.extract_patches(x, [1, 2, 3, 1], [1] * 4, [1, 2, 2, 1], "VALID"), IMAGE,
    ),
}  # fmt: skip


# Layer -> its output for a tensor of 5x6 and 8 channels.
LAYERS = {
    "lstm": lambda x: layers.LSTM(5, unroll=True)(layers.Reshape((5, 48))(x)),
    "gru": lambda x: layers.GRU(5, unroll=True, return_sequences=True)(layers.Reshape((5, 48))(x)),
    "time_distributed": lambda x: layers.TimeDistributed(layers.Conv1D(3, 3))(x),
    "time_distributed_dense": lambda x: layers.Dense(3)(
        layers.Flatten()(layers.TimeDistributed(layers.Dense(4))(x))
    ),
    "softmax_flat": lambda x: layers.Softmax()(layers.Flatten()(x)),
}


def layer(name):
    data = keras.Input(IMAGE[1:])
    return randomise(keras.Model(data, LAYERS[name](data)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name, runtime, tmp_path):
    assert_equal(graph_trace(*FUNCTIONS[name]), tmp_path, runtime)


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, runtime, tmp_path):
    assert_equal(layer(name), tmp_path, runtime)


@pytest.mark.parametrize(
    "name", ["concat_constant_4d_1", "stack_4d_1", "sub_13", "rank_mix", "divided", "masked_other"]
)
def test_deployed(name, runtime, tmp_path):
    for row in Deployed(graph_trace(*FUNCTIONS[name]), tmp_path).rows(runtime):
        assert row.error <= TOLERANCE, row
