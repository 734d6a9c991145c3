"""Networks that went wrong once, as random networks found them: each is equal now."""

import numpy as np
import pytest
import tensorflow as tf

from tests.deployed import Deployed
from tests.harness import TOLERANCE, Converted, function_trace
from tests.makers import loaded
from tf2caffe.failure import Failure
from tf2caffe.proof import parity

SMALL = np.linspace(-1e-3, 1e-3, 24, dtype=np.float32).reshape(2, 12)


def identity(x):
    """Nothing that Caffe needs a layer for."""
    return tf.strided_slice(x, [0, 0, 0], [1, 4, 3])


def normalised(x):
    numbers = [np.linspace(start, 2, x.shape[-1], dtype=np.float32) for start in (-1, 0.5, 1, 3)]
    numbers = [tf.constant(array) for array in numbers]
    return tf.nn.batch_normalization(x, *numbers, 1e-3)


def centred(x):
    """LayerNormalization as Keras computes it."""
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    inverse = tf.math.rsqrt(variance + 1e-3)
    return x * inverse + -mean * inverse


def shuffled(x):
    """The six channels of an image of 3x5 pixels, in another order."""
    split = tf.transpose(tf.reshape(x, [1, 3, 5, 2, 3]), [0, 1, 2, 4, 3])
    return tf.reshape(split, [1, 3, 5, 6])


def matrix(*shape):
    return tf.constant(np.random.default_rng(0).normal(size=shape).astype(np.float32))


# What went wrong -> (function, the shapes of its inputs).
NETWORKS = {
    # OpenCV runs no network with an input that no layer reads
    "input that is not read": (lambda x, y: tf.nn.relu(y), [(1, 4, 3), (1, 5)]),
    "output that is the input": (lambda x, y: (identity(x), tf.abs(y)), [(1, 4, 3), (1, 3)]),
    "input under two names": (lambda x, y: (tf.abs(identity(x)), tf.abs(y)), [(1, 4, 3), (1, 3)]),
    # refused, because no op reads it
    "output that is the input alone": (lambda x, y: (x + 0.0, tf.abs(y)), [(1, 3), (1, 3)]),
    # refused, because there Caffe's channels are not TensorFlow's
    "transposed sequence normalised": (
        lambda x: normalised(tf.transpose(x, [0, 2, 1])),
        [(1, 4, 4)],
    ),
    "input that the caller alone reads": (
        lambda x, y: (tf.argmax(x, -1), tf.abs(y)),
        [(1, 5), (1, 3)],
    ),
    # BatchNorm took Caffe's channels for TensorFlow's, also where the two are others
    "channels shuffled and normalised": (lambda x: normalised(shuffled(x)), [(1, 3, 5, 6)]),
    # the mean of the second is 0 but for rounding, in which both sides differed by all of it
    "normalised twice": (lambda x: centred(centred(x)), [(1, 9, 48)]),
    "the same number many times": (lambda x: centred(tf.concat([x] * 7, -1)), [(1, 5, 1)]),
    # the kernel was permuted as if the image were flat
    "dense layer over a transposed image": (
        lambda x: tf.tensordot(tf.transpose(x, [0, 2, 1, 3]), matrix(3, 4), 1),
        [(1, 2, 5, 3)],
    ),
    "dense layer over shuffled channels": (
        lambda x: tf.tensordot(shuffled(x), matrix(6, 4), 1),
        [(1, 3, 5, 6)],
    ),
    # no row of the kernel was left
    "window that meets nothing but padding": (
        lambda x: (
            tf.nn.conv2d(x, matrix(1, 1, 3, 2), 2, [[0, 0], [1, 0], [0, 0], [0, 0]])
            + tf.constant([1.0, 2.0])
        ),
        [(1, 1, 3, 3)],
    ),
    # OpenCV gave whatever lay in memory: a depthwise 3x3 kernel, most of it zeros, on one pixel
    "depthwise kernel of uneven dilation on one pixel": (
        lambda x: tf.nn.depthwise_conv2d(x, matrix(2, 2, 2, 1), [1] * 4, "SAME", dilations=[1, 2]),
        [(1, 1, 1, 2)],
    ),
    # and where it is padded by less than its dilation
    "dilated depthwise kernel with little padding": (
        lambda x: tf.nn.depthwise_conv2d(
            tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]),
            matrix(3, 3, 4, 1),
            [1] * 4,
            "VALID",
            dilations=[2, 2],
        ),
        [(1, 9, 7, 4)],
    ),
    "padded row of pixels under a depthwise kernel": (
        lambda x: tf.nn.depthwise_conv2d(
            tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), matrix(3, 3, 4, 1), [1] * 4, "VALID"
        ),
        [(1, 1, 7, 4)],
    ),
    # height and width were taken from Caffe's axes, which had changed places
    "resized while it lies transposed": (
        lambda x: tf.compat.v1.image.resize_nearest_neighbor(
            tf.expand_dims(x, 3), (2, 8), align_corners=True
        ),
        [(1, 3, 6)],
    ),
    "enlarged while it lies transposed": (
        lambda x: tf.image.resize(tf.transpose(x, [0, 2, 1, 3]), (6, 10), "nearest"),
        [(1, 5, 3, 2)],
    ),
}


def shifted(numbers):
    return {"x0": np.asarray(numbers, np.float32)}


def proven(trace, folder, runtime, inputs=None):
    """Both forms equal."""
    deployed = Deployed(Converted(trace, folder, inputs=inputs), folder)
    for rows in (deployed.converted.rows(runtime), deployed.rows(runtime)):
        assert rows
        assert parity.first_stray(rows, TOLERANCE) == (None, None)


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name, runtime, tmp_path):
    function, shapes = NETWORKS[name]
    plain = tf.autograph.experimental.do_not_convert(function)
    proven(function_trace(plain, *shapes), tmp_path, runtime)


@pytest.mark.parametrize("name", ["erf", "expm1"])
@pytest.mark.parametrize("scale", [1, 1e3, 2e4])
def test_small_numbers(name, scale, runtime, tmp_path):
    """erf(x) had an error of 1.5e-7, e^x - 1 one of 6e-8, however small x is."""
    trace = function_trace(getattr(tf.math, name), (1, 12))
    proven(trace, tmp_path, runtime, shifted(scale * SMALL))


@pytest.mark.parametrize("target", ["armnn", "vitis"])
def test_small_numbers_where_there_is_no_maximum(target, runtime, tmp_path):
    """A ReLU6 of what is mostly less than 0.001."""
    traced = function_trace(tf.nn.relu6, (1, 4, 5, 3))
    pixels = {"x0": np.random.default_rng(3).normal(size=(2, 4, 5, 3)).astype(np.float32) / 1e3}
    converted = Converted(traced, tmp_path, inputs=pixels, target=target)
    assert parity.first_stray(converted.rows(runtime), TOLERANCE) == (None, None)


def test_small_differences_of_large_numbers(runtime, tmp_path):
    """Normalised, (x - 6)^2 differed by 5e-4 of the variance where x was small."""
    trace = function_trace(lambda x: centred((x - 6.0) ** 2), (1, 12))
    proven(trace, tmp_path, runtime, shifted(SMALL))


def test_small_numbers_beside_padding(runtime, tmp_path):
    """Padding with -2 took 2 from them and added it again."""
    trace = function_trace(
        lambda x: tf.nn.relu(tf.pad(x, [[0, 0], [0, 2], [0, 0]], constant_values=-2.0)), (1, 4, 3)
    )
    proven(trace, tmp_path, runtime, shifted(SMALL.reshape(2, 4, 3)))


def test_input_that_a_frozen_graph_does_not_read(pycaffe, tmp_path):
    """One that is named with --inputs, but that the outputs do not depend on, is left out."""
    with tf.Graph().as_default() as graph:
        tf.compat.v1.placeholder(tf.float32, (1, 4), "unread")
        read = tf.compat.v1.placeholder(tf.float32, (1, 3), "read")
        tf.abs(read, name="answer")
    path = tmp_path / "frozen.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    trace = loaded(path, inputs=["unread", "read"], outputs=["answer"])
    assert list(trace.inputs) == ["read"]
    proven(trace, tmp_path, pycaffe)


def test_argmax_alone(tmp_path):
    """What is left to the caller is not called a damaged file."""
    with pytest.raises(Failure, match="net is ArgMax alone, which is left to the caller"):
        Converted(function_trace(lambda x: tf.argmax(x, -1), (1, 5)), tmp_path)
