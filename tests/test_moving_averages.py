"""BatchNorm in training mode: which variables are its moving averages, and which only look so."""

import re

import numpy as np
import pytest
import tensorflow as tf

from tests.makers import IMAGE, loaded, saved, started, v1
from tests.refusals import refusal
from tf2caffe.frontend import reader

STORED = {"mean": 0.25, "variance": 2.0}  # what the averages are in the checkpoint


def averages():
    return [
        v1.get_variable(name, [3], initializer=v1.constant_initializer(value), trainable=False)
        for name, value in STORED.items()
    ]


def moments(x):
    mean, variance = tf.nn.moments(x, [0, 1, 2])
    return tf.nn.batch_normalization(x, mean, variance, None, None, 0.01), mean, variance


def fused(x):
    y, mean, variance, *_ = v1.nn.fused_batch_norm(x, tf.ones(3), tf.zeros(3), epsilon=0.01)
    return y, mean, variance


def decayed(average, now):
    """average -= (average - now) * 0.1"""
    return average.assign_sub((average - now) * 0.1)


def summed(average, now):
    """average = average * 0.9 + now * 0.1"""
    return average.assign(average * 0.9 + now * 0.1)


def descended(average, now):
    """A step down a slope that the statistic tells: no average."""
    return average.assign_sub(now * 0.1)


def checkpoint(folder, norm, update):
    with tf.Graph().as_default():
        y, *statistics = norm(v1.placeholder(tf.float32, [None, *IMAGE], "x"))
        for average, now in zip(averages(), statistics, strict=True):
            update(average, now)
        tf.nn.relu(y, name="y")
        return saved(started(), folder)


@pytest.mark.parametrize("update", [decayed, summed])
@pytest.mark.parametrize("norm", [moments, fused])
def test_averages(norm, update, tmp_path):
    traced = loaded(checkpoint(tmp_path, norm, update), outputs=["y"])
    graph, _ = reader.read(traced, "net")
    image = np.random.default_rng(0).normal(size=(1, *IMAGE)).astype(np.float32)
    (made,) = traced.function(traced.outputs.values())({"x": image})
    expected = np.maximum((image - 0.25) / np.sqrt(2.01), 0)
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)
    assert traced.original is None and "takes the statistics of the batch" in traced.reason


@pytest.mark.parametrize("norm", [moments, fused])
def test_no_averages(norm, tmp_path):
    """A variable that does not keep what it was."""
    traced = loaded(checkpoint(tmp_path, norm, descended), outputs=["y"])
    problems = refusal(traced, tmp_path / "net")
    told = r"FusedBatchNorm.* statistics of the batch|batch with other axes|moments.* batch"
    assert any(re.search(told, problem) for problem in problems), problems
