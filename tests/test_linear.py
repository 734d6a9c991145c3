"""Ops that are linear along axes, each setting, in both runtimes and both forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.harness import TOLERANCE, assert_equal, function_trace, graph_trace, randomise
from tests.test_deploy import Deployed
from tf2caffe.failure import Failure
from tf2caffe.frontend import reader

IMAGE, SEQUENCE, VECTOR, VOLUME = (1, 5, 7, 4), (1, 7, 4), (1, 9), (1, 3, 2, 5, 4)


def windows(x):
    """The rows of an image as a batch of them."""
    return tf.reshape(x, x.shape[1:])


def resized(size, method, **settings):
    return lambda x: tf.image.resize(x, size, method, **settings)


def bicubic(size, **settings):
    return lambda x: tf.compat.v1.image.resize_bicubic(x, size, **settings)


def area(size, **settings):
    return lambda x: tf.compat.v1.image.resize_area(x, size, **settings)


# What is done to one tensor -> (function, its shape).
FUNCTIONS = {
    "thirds": (lambda x: tf.add_n(tf.split(x, 3, -1)), (1, 2, 3, 2, 180)),
    "two_of_three": (lambda x: x[..., 60:], (1, 2, 3, 2, 180)),
    "pad_long_vector": (lambda x: tf.pad(x, [[0, 0], [2, 3]]), (1, 300)),
    "pad_many_axes_first": (
        lambda x: tf.pad(x, [[0, 0], [90, 5], *[[0, 0]] * 3]),
        (1, 90, 2, 1, 3),
    ),
    "pad_lifted_again": (
        lambda x: tf.pad(tf.transpose(windows(x)[None], [0, 2, 1, 3]), [[0, 0], [1, 2], [3, 0],
                         [0, 0]], constant_values=0.5), IMAGE,
    ),
    "pad_sum_of_axis": (
        lambda x: tf.pad(tf.reduce_sum(tf.reshape(x, (2, 1, 5, 7, 2)), 0), [[0, 0], [1, 1], [2, 0],
                         [0, 0]]), IMAGE,
    ),
    "softmax_of_six_axes": (
        lambda x: tf.nn.softmax(tf.reshape(x, (1, 5, 1, 7, 2, 2))), IMAGE,
    ),
    "softmax_of_six_axes_lifted": (
        lambda x: tf.nn.softmax(tf.reshape(x, (5, 1, 7, 1, 2, 2))), IMAGE,
    ),
    "reflect": (lambda x: tf.pad(x, [[0, 0], [1, 2], [3, 0], [0, 0]], "REFLECT"), IMAGE),
    "reflect_channels": (lambda x: tf.pad(x, [[0, 0], [0, 0], [0, 0], [1, 2]], "REFLECT"), IMAGE),
    "symmetric": (lambda x: tf.pad(x, [[0, 0], [1, 2], [3, 0], [0, 0]], "SYMMETRIC"), IMAGE),
    "symmetric_all": (lambda x: tf.pad(x, [[0, 0], [1, 2], [3, 0], [2, 1]], "SYMMETRIC"), IMAGE),
    "reflect_sequence": (lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 0]], "REFLECT"), SEQUENCE),
    "reflect_vector": (lambda x: tf.pad(x, [[0, 0], [4, 5]], "REFLECT"), VECTOR),
    "reflect_windows": (lambda x: tf.pad(windows(x), [[1, 2], [1, 0], [0, 0]], "REFLECT"), IMAGE),
    "symmetric_volume": (
        lambda x: tf.pad(x, [[0, 0], [1, 2], [1, 0], [0, 1], [0, 2]], "SYMMETRIC"), VOLUME,
    ),
    "pad_channels": (lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 0], [1, 3]]), IMAGE),
    "pad_vector": (lambda x: tf.pad(x, [[0, 0], [1, 3]]), VECTOR),
    "pad_sequence_channels": (lambda x: tf.pad(x, [[0, 0], [2, 1], [0, 3]]), SEQUENCE),
    "pad_windows": (lambda x: tf.pad(windows(x), [[1, 0], [1, 2], [0, 1]]), IMAGE),
    "pad_volume": (lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 0], [1, 0], [0, 0]]), VOLUME),
    "pad_number": (
        lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 3], [0, 0]], constant_values=2.5), IMAGE,
    ),
    "pad_number_channels": (
        lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 0], [1, 3]], constant_values=-1.5), IMAGE,
    ),
    "pad_number_volume": (
        lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 0], [1, 0], [0, 0]], constant_values=0.5), VOLUME,
    ),
    "pad_nothing": (lambda x: tf.pad(x, [[0, 0]] * 4) * 2, IMAGE),
    "tile": (lambda x: tf.tile(x, [1, 2, 3, 2]), IMAGE),
    "tile_channels": (lambda x: tf.tile(x, [1, 1, 1, 3]), IMAGE),
    "tile_one": (lambda x: tf.tile(x, [1, 1, 1, 1]) * 2, IMAGE),
    "tile_vector": (lambda x: tf.tile(x, [1, 3]), VECTOR),
    "tile_pixel": (
        lambda x: tf.tile(tf.reduce_mean(x, (1, 2), keepdims=True), [1, 3, 4, 1]), IMAGE,
    ),
    "tile_volume": (lambda x: tf.tile(x, [1, 2, 1, 3, 1]), VOLUME),
    "tile_windows": (lambda x: tf.tile(windows(x), [2, 1, 3]), IMAGE),
    "tile_batch": (lambda x: tf.tile(x, [3, 1, 1, 1]), IMAGE),
    "repeat": (lambda x: tf.repeat(x, 3, 1), IMAGE),
    "repeat_channels": (lambda x: tf.repeat(x, 2, -1), IMAGE),
    "roll": (lambda x: tf.roll(x, 2, 1), IMAGE),
    "roll_back": (lambda x: tf.roll(x, [-1, -2], [1, 2]), IMAGE),
    "roll_twice": (lambda x: tf.roll(x, [1, 1, -9], [1, 1, -1]), IMAGE),
    "roll_around": (lambda x: tf.roll(x, 5, 1) * 2, IMAGE),
    "roll_sequence": (lambda x: tf.roll(x, 3, 1), SEQUENCE),
    "roll_vector": (lambda x: tf.roll(x, -2, 1), VECTOR),
    "roll_windows": (lambda x: tf.roll(windows(x), [1, 2], [0, 1]), IMAGE),
    "reverse": (lambda x: tf.reverse(x, [1]), IMAGE),
    "reverse_all": (lambda x: tf.reverse(x, [1, 2, -1]), IMAGE),
    "reverse_vector": (lambda x: tf.reverse(x, [1]), VECTOR),
    "reverse_windows": (lambda x: tf.reverse(windows(x), [0, 2]), IMAGE),
    "reverse_nothing": (lambda x: tf.reverse(x, tf.zeros([0], tf.int32)) * 2, IMAGE),
    "backwards": (lambda x: x[:, ::-1, :, 1:3], IMAGE),
    "backwards_steps": (lambda x: x[:, 4:0:-2, ::-3, ::-1], IMAGE),
    "backwards_vector": (lambda x: x[:, ::-1], VECTOR),
    "backwards_sequence": (lambda x: x[:, ::-1, ::-1], SEQUENCE),
    "cut_windows": (lambda x: windows(x)[1:3, ::2, 1:], IMAGE),
    "cut_window": (lambda x: windows(x)[2], IMAGE),
    "cut_volume": (lambda x: x[:, 1:, 0, 1:4, :3], VOLUME),
    "cut_volume_steps": (lambda x: x[:, ::2, ::-1, 4:0:-2, 2], VOLUME),
    "cut_new_axes": (lambda x: x[:, None, 1:3, :, None, 2:], IMAGE),
    "gather_2d_channels": (lambda x: tf.gather(x, [[3, 0], [0, 2]], axis=-1), IMAGE),
    "gather_volume": (lambda x: tf.gather(x, [4, 0, 2, 2], axis=3), VOLUME),
    "gather_windows": (lambda x: tf.gather(windows(x), [[4, 0], [1, 1]]), IMAGE),
    "gather_vector": (lambda x: tf.gather(x, [8, 0, 0, 3], axis=1), VECTOR),
    "gather_batch": (lambda x: tf.gather(x, [0, 0]), IMAGE),
    "area_smaller": (area((3, 4)), IMAGE),
    "area_larger": (area((9, 8)), IMAGE),
    "area_corners": (area((3, 4), align_corners=True), IMAGE),
    "bicubic_smaller": (bicubic((3, 4)), IMAGE),
    "bicubic_larger": (bicubic((9, 13)), IMAGE),
    "bicubic_corners": (bicubic((9, 4), align_corners=True), IMAGE),
    "bicubic_centres": (bicubic((9, 4), half_pixel_centers=True), IMAGE),
    "lookup_constant": (
        lambda x: tf.gather(np.linspace(-1, 1, 12, dtype="f").reshape(4, 3), [1, 3, 3])[None] * x,
        (1, 3, 3),
    ),
    **{
        f"{method}_{size[0]}_{smooth}": (resized(size, method, antialias=smooth), IMAGE)
        for method in ("bilinear", "bicubic", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")
        for size, smooth in (((3, 4), True), ((8, 11), True), ((3, 9), False))
    },
    **{
        f"gather_{axis}_{np.ndim(indices)}d": (
            lambda x, axis=axis, indices=indices: tf.gather(x, indices, axis=axis), IMAGE,
        )
        for axis in (1, 2, 3, -1, -3)
        for indices in (2, [3, 0, 0], [[1, 3, 0], [2, 2, 1]])
    },
    **{
        f"cumsum_{axis}_{exclusive}_{reverse}": (
            lambda x, axis=axis, turned=(exclusive, reverse): tf.cumsum(x, axis, *turned), IMAGE,
        )
        for axis in (1, -1)
        for exclusive in (False, True)
        for reverse in (False, True)
    },
    "cumsum_vector": (lambda x: tf.cumsum(x, 1), VECTOR),
    "cumsum_windows": (lambda x: tf.cumsum(windows(x), 0), IMAGE),
    "broadcast_image": (
        lambda x: tf.broadcast_to(tf.reduce_mean(x, (1, 2), keepdims=True), [1, 3, 4, 4]), IMAGE,
    ),
    "broadcast_channels": (
        lambda x: tf.broadcast_to(tf.reduce_mean(x, -1, keepdims=True), [1, 5, 7, 3]), IMAGE,
    ),
    "broadcast_rank": (lambda x: tf.broadcast_to(tf.reduce_max(x, (1, 2)), [1, 3, 2, 4]), IMAGE),
    "broadcast_batch": (lambda x: tf.broadcast_to(x, [3, 5, 7, 4]), IMAGE),
    "broadcast_number": (lambda x: tf.broadcast_to(tf.reduce_sum(x), [2, 3]), IMAGE),
}  # fmt: skip


def swin(x):
    """Windows of 2x4 pixels, moved by half; attention in each, with a bias for each position."""
    heads, size, (_, high, wide, channels) = 2, (2, 4), x.shape
    tall, long, area = high // size[0], wide // size[1], size[0] * size[1]
    index = np.abs(np.arange(area)[:, None] - np.arange(area))
    table = np.random.default_rng(0).normal(size=(area, heads)).astype(np.float32)
    y = tf.roll(x, [-1, -2], [1, 2])
    y = tf.transpose(tf.reshape(y, (1, tall, size[0], long, size[1], channels)), (0, 1, 3, 2, 4, 5))
    y = tf.reshape(y, (-1, area, channels))
    weights = np.random.default_rng(1).normal(size=(channels, 3 * channels)).astype(np.float32)
    y = tf.reshape(tf.matmul(y, weights), (-1, area, 3, heads, channels // heads))
    query, key, value = tf.unstack(tf.transpose(y, (2, 0, 3, 1, 4)))
    scores = tf.matmul(query * 0.5, key, transpose_b=True)
    bias = tf.transpose(tf.gather(tf.constant(table), index.reshape(-1)))
    scores += tf.reshape(bias, (1, heads, area, area))
    y = tf.transpose(tf.matmul(tf.nn.softmax(scores), value), (0, 2, 1, 3))
    y = tf.reshape(y, (1, tall, long, *size, channels))
    y = tf.reshape(tf.transpose(y, (0, 1, 3, 2, 4, 5)), (1, high, wide, channels))
    return tf.roll(y, [1, 2], [1, 2]) + x


def group_norm(groups, **settings):
    return lambda x: layers.GroupNormalization(groups, **settings)(x)


# Layer -> its output for an image of 5x7 pixels and 6 channels.
LAYERS = {
    "group_norm_2": group_norm(2),
    "group_norm_3": group_norm(3, epsilon=1e-5),
    "group_norm_6": group_norm(6),
    "group_norm_1": group_norm(1),
    "instance_norm": group_norm(-1, center=False, scale=False),
    "group_norm_sequence": lambda x: group_norm(2)(layers.Reshape((35, 6))(x)),
    "group_norm_vector": lambda x: group_norm(2)(layers.GlobalAveragePooling2D()(x)),
    "up_bicubic": lambda x: layers.UpSampling2D((2, 3), interpolation="bicubic")(x),
    "up_lanczos": lambda x: layers.UpSampling2D(2, interpolation="lanczos3")(x),
    "resizing_area": lambda x: layers.Resizing(3, 4, "area")(x),
    "repeat_vector": lambda x: layers.RepeatVector(3)(layers.GlobalAveragePooling2D()(x)),
}  # fmt: skip


def layer(name):
    data = keras.Input((5, 7, 6))
    return randomise(keras.Model(data, LAYERS[name](data)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name, runtime, tmp_path):
    assert_equal(graph_trace(*FUNCTIONS[name]), tmp_path, runtime)


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name, runtime, tmp_path):
    assert_equal(layer(name), tmp_path, runtime)


def test_shifted_windows(runtime, tmp_path):
    assert_equal(graph_trace(swin, (1, 6, 8, 4)), tmp_path, runtime)


def deployed(model, folder, runtime):
    for row in Deployed(model, folder).rows(runtime):
        assert row.error <= TOLERANCE, row


@pytest.mark.parametrize("name", ["reflect", "gather_-1_2d", "cumsum_1_True_False", "roll_windows"])
def test_function_deployed(name, runtime, tmp_path):
    deployed(graph_trace(*FUNCTIONS[name]), tmp_path, runtime)


@pytest.mark.parametrize("name", ["group_norm_3", "up_bicubic"])
def test_layer_deployed(name, runtime, tmp_path):
    deployed(layer(name), tmp_path, runtime)


def test_shifted_windows_deployed(runtime, tmp_path):
    deployed(graph_trace(swin, (1, 6, 8, 4)), tmp_path, runtime)


def test_what_moves_nothing(opencv, tmp_path):
    """It is a Reshape, whose blob is that of what it reads, and its probes too."""
    converted = assert_equal(
        graph_trace(lambda x: tf.roll(x, 0, 1) + 0.5, (1, 3)), tmp_path, opencv
    )
    assert [node.op for node in converted.graph.nodes] == ["Reshape", "AddV2"]


def test_axis_too_long():
    """Its matrix is never made: memory would run out before a bound told of the cost."""
    traced = function_trace(lambda x: tf.reverse(x, [1]), (1, 12_000))
    with pytest.raises(Failure, match=r"ReverseV2\): for an axis of 12,000 numbers it is a matrix"):
        reader.read(traced, "net")
