"""Choices between numbers by what the data are: those whose sides meet anywhere, others on bvlc."""

import re

import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from tests.deployed import Deployed
from tests.harness import TOLERANCE, Converted, assert_equal, graph_trace
from tf2caffe import convert
from tf2caffe.failure import Failure

IMAGE, VECTOR = (1, 5, 7, 4), (1, 12)


def larger(x, y):
    return tf.where(x > y, x, y)


# Name -> a function whose sides meet at the number, so that plain layers compute it.
MEETING = {
    "relu_slope_and_most": lambda x: layers.ReLU(2.0, 0.1)(x),
    "elu": lambda x: layers.ELU(0.3)(x),
    "elu_negative": lambda x: layers.ELU(-0.3)(x),
    "selu_of_its_own": lambda x: 1.05 * tf.where(x > 0.0, x, 1.67 * (tf.exp(x) - 1.0)),
    "leaky": lambda x: tf.where(x > 0.0, x, 0.2 * x),
    "leaky_steep": lambda x: tf.where(x >= 0.0, x, x * 1.7),
    "at_least": lambda x: tf.where(x >= 0.5, x, 0.5),
    "at_most": lambda x: tf.where(x > 0.5, tf.fill(IMAGE, 0.5), x),
    "expm1_below": lambda x: tf.where(x < 0.0, tf.exp(x) - 1.0, x),
    "abs": lambda x: tf.where(x < 0.0, -x, x),
    "hard_tanh": ops.hard_tanh,
    "relu1": lambda x: tf.minimum(tf.nn.relu(x), 1.0),
    "soft_shrink": lambda x: ops.soft_shrink(x, 0.4),
    "tanh_shrink": ops.tanh_shrink,
    "threshold": lambda x: ops.threshold(x, 0.5, 0.5),
    "sparse_plus": ops.sparse_plus,
    "sparse_sigmoid": ops.sparse_sigmoid,
    "celu": lambda x: ops.celu(x, 0.7),
    "crelu": tf.nn.crelu,
    "larger_of_two": lambda x: larger(x, x * x),
    "pooled_with_places": lambda x: tf.nn.max_pool_with_argmax(x, 3, 2, "SAME")[0],
}

# Name -> one whose sides do not meet.
JUMPING = {
    "relu_all": lambda x: layers.ReLU(2.0, 0.1, 0.5)(x),
    "relu_threshold": lambda x: layers.ReLU(threshold=0.5)(x),
    "relu_most_and_threshold": lambda x: layers.ReLU(6.0, threshold=0.1)(x),
    "thresholded": lambda x: x * tf.cast(x > 0.7, tf.float32),
    "hard_shrink": lambda x: ops.hard_shrink(x, 0.4),
    "threshold": lambda x: ops.threshold(x, 0.5, 0.1),
    "sign": tf.sign,
    "equal": lambda x: tf.where(tf.equal(tf.nn.relu(x), 0.0), 1.0, x * 2.0),
    "not_equal": lambda x: tf.cast(tf.not_equal(tf.nn.relu(x), 0.0), tf.float32),
    "less_or_equal": lambda x: tf.cast(tf.nn.relu(x) <= 0.0, tf.float32),
    "of_two": lambda x: tf.where(x <= 0.3 * x * x, x * 2.0, -x),
    "between": lambda x: tf.where(tf.logical_and(x > -1.0, x < 1.0), x, 0.0),
    "outside": lambda x: tf.where(tf.logical_or(x < -1.0, tf.logical_not(x <= 1.0)), x, 3.0),
    "by_channel": lambda x: tf.where(x > tf.constant([0.1, 0.2, 0.3, 0.4]), x, 0.0),
    "by_one_channel": lambda x: tf.where(x[..., :1] > 0.0, x, tf.exp(x)),
    "safe_log": lambda x: tf.where(x > 1.0, tf.sqrt(x), -1.0),
}


@pytest.mark.parametrize("name", MEETING)
def test_meeting(name, runtime, tmp_path):
    assert_equal(graph_trace(MEETING[name], IMAGE), tmp_path, runtime)


@pytest.mark.parametrize("name", ["elu_negative", "soft_shrink", "leaky"])
def test_meeting_deployed(name, runtime, tmp_path):
    for row in Deployed(graph_trace(MEETING[name], IMAGE), tmp_path).rows(runtime):
        assert row.error <= TOLERANCE, row


@pytest.mark.parametrize("name", JUMPING)
def test_jumping(name, pycaffe, tmp_path):
    converted = Converted(graph_trace(JUMPING[name], IMAGE), tmp_path, target="bvlc")
    assert any(layer.type == "Threshold" for layer in converted.net.layers)
    for row in converted.rows(pycaffe):
        assert max(row.error, row.own, row.probed or 0) <= TOLERANCE, row


@pytest.mark.parametrize("target", ["portable", "rknn", "nnie"])
def test_jumping_elsewhere(target, tmp_path):
    """One line, with the reason and what to do; nothing is left of the network."""
    with pytest.raises(Failure) as raised:
        convert(graph_trace(JUMPING["relu_threshold"], IMAGE), folder=tmp_path, target=target)
    lines = [line for line in str(raised.value).split("\n") if "(Threshold)" in line]
    assert len(lines) == 1 and re.search("jumps where the data cross .* --target bvlc", lines[0])
    assert not (tmp_path / "nets").exists() or not any((tmp_path / "nets").iterdir())


def test_vector(runtime, tmp_path):
    assert_equal(graph_trace(MEETING["soft_shrink"], VECTOR), tmp_path, runtime)


def test_where_it_stood(tmp_path):
    """The indices of MaxPoolWithArgmax are refused."""
    with pytest.raises(Failure, match="only its first output"):
        convert(
            graph_trace(lambda x: tf.nn.max_pool_with_argmax(x, 2, 2, "VALID"), IMAGE),
            folder=tmp_path,
        )


def test_number_of_places(tmp_path, pycaffe):
    """Exactly on the number both frameworks choose alike."""
    function = graph_trace(lambda x: tf.where(x > 0.5, 1.0, 0.0) + 0.0 * x, (1, 3))
    inputs = {"x0": np.float32([[0.25, 0.5, np.nextafter(np.float32(0.5), np.float32(1))]])}
    converted = Converted(function, tmp_path, target="bvlc", inputs=inputs)
    assert all(row.error <= TOLERANCE for row in converted.rows(pycaffe))
