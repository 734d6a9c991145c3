"""What the front end rewrites computes the same: each rewrite beside what only looks like it."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.harness import assert_equal
from tests.refusals import function_trace, refusal
from tf2caffe.frontend import reader

IMAGE, SEQUENCE, VECTOR = (1, 8, 8, 4), (1, 5, 6), (1, 12)
HALVES = "Relu Neg Relu Mul AddV2"  # what a PReLU that Caffe has not stays
TINY = np.finfo(np.float32).tiny
v1 = tf.compat.v1


def weights(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def positive(*shape):
    return tf.abs(weights(*shape)) + 0.5


def batch_norm(x, channels, epsilon_first=False, shape=(-1,)):
    """As Keras and tf.nn.batch_normalization write it, of parameters of this shape."""
    vectors = positive(channels), weights(channels), weights(channels, seed=1), positive(channels)
    gamma, beta, mean, variance = (tf.reshape(vector, shape) for vector in vectors)
    shifted = 1e-3 + variance if epsilon_first else variance + 1e-3
    factor = tf.math.rsqrt(shifted) * gamma
    return x * factor + (beta - mean * factor)


def statistics(x):
    """The three outputs of a fused BatchNorm."""
    vectors = positive(4), weights(4), weights(4), positive(4)
    return v1.nn.fused_batch_norm(x, *vectors, is_training=False)


def in_blocks(x, inner, pads=0, crops=((0, 0), (0, 0))):
    x = tf.space_to_batch(x, [2, 2], [[pads, pads], [pads, pads]])
    return tf.batch_to_space(inner(x), [2, 2], crops)


def convolution(size, stride=1, dilation=1):
    return lambda x: tf.nn.conv2d(x, weights(size, size, 4, 3), stride, "VALID", dilations=dilation)


def deconvolution(x):
    return tf.nn.conv2d_transpose(x, weights(1, 1, 3, 4), [4, 4, 4, 3], 1, "VALID")


def dense(x, rows, columns, shape, **settings):
    return tf.reshape(tf.matmul(tf.reshape(x, [-1, 4]), weights(rows, columns), **settings), shape)


def image_dense(x):
    return tf.nn.conv2d(x, weights(3, 3, 4, 8), 1, "SAME")


def prelu(x, below, alpha):
    """As Keras writes it, the part below 0 of another tensor, perhaps."""
    return tf.nn.relu(x) + -alpha * tf.nn.relu(-below)


def guard(x, zero=None, then=-TINY, other=None):
    """What Keras's argmax makes of x, or something like it."""
    negative = tf.bitcast(x, tf.int32) & np.int32(-(2**31)) < 0
    chosen = tf.equal(x if zero is None else zero, 0.0) & negative
    return tf.argmax(tf.where(chosen, then, x if other is None else other), -1)


# A function of one tensor, the tensor's shape -> the ops that are left.
RIGHT = {
    "norm": (lambda x: batch_norm(x, 4), IMAGE, "FusedBatchNormV3"),
    "norm of a sequence": (lambda x: batch_norm(x, 6), SEQUENCE, "FusedBatchNormV3"),
    "norm, epsilon first": (lambda x: batch_norm(x, 4, True), IMAGE, "FusedBatchNormV3"),
    "norm of one channel": (lambda x: batch_norm(x, 1, True), (1, 5, 5, 1), "FusedBatchNormV3"),
    "norm over the width": (
        lambda x: batch_norm(x, 8, shape=(8, 1)), IMAGE, "Mul AddV2",
    ),
    "norm that spreads its input": (lambda x: batch_norm(x, 3), (1, 5, 5, 1), "Mul AddV2"),
    "dilated": (lambda x: in_blocks(x, convolution(3), 2), IMAGE, "Conv2D"),
    "dilated and cropped": (
        lambda x: in_blocks(x, convolution(3), 2, ((0, 2), (0, 3))), IMAGE, "Conv2D",
    ),
    "one number, dilated and cropped": (
        lambda x: in_blocks(x, convolution(1), 2, ((0, 2), (0, 3))), IMAGE, "Conv2D",
    ),
    "dense over pixels": (lambda x: dense(x, 4, 6, [1, 8, 8, 6]), IMAGE, "MatMul"),
    "dense over pixels, transposed": (
        lambda x: dense(x, 6, 4, [1, 8, 8, 6], transpose_b=True), IMAGE, "MatMul",
    ),
    "rows repeated": (lambda x: tf.repeat(x, 2, 1), IMAGE, "ResizeNearestNeighbor"),
    "columns repeated": (lambda x: tf.repeat(x, 3, 2), IMAGE, "ResizeNearestNeighbor"),
    "bias": (lambda x: image_dense(x) + weights(8), IMAGE, "Conv2D"),
    "bias on the left": (lambda x: weights(8) + image_dense(x), IMAGE, "Conv2D"),
    "vector along the width": (
        lambda x: image_dense(x) + weights(8, 1), IMAGE, "Conv2D AddV2",
    ),
    "vector along the height": (
        lambda x: image_dense(x) + weights(8, 1, 1), IMAGE, "Conv2D AddV2",
    ),
    "vector that spreads one channel": (
        lambda x: tf.nn.conv2d(x, weights(3, 3, 4, 1), 1, "SAME") + weights(8), IMAGE,
        "Conv2D AddV2",
    ),
    "bias, and what is before it": (
        lambda x: (image_dense(x), image_dense(x) + weights(8)), IMAGE, "Conv2D Conv2D",
    ),
    "computed bias": (
        lambda x: tf.nn.bias_add(x, tf.squeeze(tf.reduce_mean(x, [1, 2], True))), IMAGE,
        "Mean AddV2",
    ),
    "prelu": (lambda x: prelu(x, x, positive(4)), IMAGE, "PRelu"),
    "prelu of a vector": (lambda x: prelu(x, x, positive(12)), VECTOR, "PRelu"),
    "prelu of one channel": (lambda x: prelu(x, x, positive(1)), (1, 5, 5, 1), "PRelu"),
    "prelu along the width": (lambda x: prelu(x, x, positive(8, 1)), IMAGE, HALVES),
    "prelu of one slope": (lambda x: prelu(x, x, tf.constant(0.3)), IMAGE, HALVES),
    "prelu that spreads its input": (
        lambda x: prelu(x, x, positive(3)), (1, 5, 5, 1), HALVES,
    ),
    "halves of two tensors": (
        lambda x: prelu(x, x + positive(8, 1), positive(4)), IMAGE,
        "AddV2 Relu Neg Relu Mul AddV2",
    ),
    "two slopes": (
        lambda x: prelu(x, x, positive(4)) + prelu(x, x, positive(4)), IMAGE, "PRelu PRelu AddV2",
    ),
    "slope times slope": (
        lambda x: tf.nn.relu(x) - positive(4) * (positive(4) * tf.nn.relu(-x)), IMAGE,
        "Relu Neg Relu Mul Mul Sub",
    ),
    "half of a prelu": (
        lambda x: tf.nn.relu(x) + positive(4) * (x - tf.abs(x)), IMAGE,
        "Relu Abs Sub Mul AddV2",
    ),
    "prelu, and its half": (
        lambda x: (tf.nn.relu(x), prelu(x, x, positive(4))), IMAGE, "Relu PRelu",
    ),
    "less what is above": (
        lambda x: positive(4) * tf.nn.relu(-x) - tf.nn.relu(x), IMAGE, "Neg Relu Mul Relu Sub",
    ),
    "times ones that spread": (lambda x: x * tf.ones((1, 1, 3)), (1, 5, 5, 1), "Mul"),
    "dense einsum": (lambda x: tf.einsum("bij,jk->bik", x, weights(6, 3)), SEQUENCE, "MatMul"),
    "other einsum": (
        lambda x: tf.einsum("bij,ik->bjk", x, weights(5, 3)), SEQUENCE, "Along Transpose",
    ),
    "matrix from the left": (
        lambda x: tf.matmul(weights(1, 1), x) + weights(12), VECTOR, "Mul AddV2",
    ),
    "batch of matrices": (lambda x: tf.matmul(x, weights(1, 6, 3)), SEQUENCE, "MatMul"),
    "matrix before a sequence": (lambda x: tf.matmul(weights(4, 5), x), SEQUENCE, "Along"),
    "dense over rows": (
        lambda x: dense(x, 4, 6, [1, 4, 6], transpose_a=True), (1, 4, 4),
        "Reshape Reshape Along Transpose Reshape Reshape",
    ),
    "channels repeated": (lambda x: tf.repeat(x, 3, 3), IMAGE, "ExpandDims Along Reshape"),
    "tiled": (
        lambda x: tf.reshape(tf.tile(x[:, None], [1, 2, 1, 1, 1]), [1, 16, 8, 4]), IMAGE,
        "Reshape Along Reshape",
    ),
    "computed bias of rows": (
        lambda x: tf.nn.bias_add(x, tf.squeeze(tf.reduce_mean(x, [2, 3], True))), (1, 4, 5, 4),
        "Mean Squeeze Reshape BiasAdd",
    ),
}  # fmt: skip

# A function of one tensor, the tensor's shape -> the line that refuses it.
REFUSED = {
    "norm's other outputs": (lambda x: statistics(x)[0] + statistics(x)[1], IMAGE,
                             r"FusedBatchNormV3.*: only its first output"),
    "norm of a computed gamma": (
        lambda x: v1.nn.fused_batch_norm(x, x[0, 0, 0], *(positive(4),) * 3, is_training=False)[0],
        IMAGE, r"\(FusedBatchNormV3\): it computes its gamma",
    ),
    "computed kernel": (lambda x: tf.nn.conv2d(x, x[0, :3, :3, :, None], 1, "VALID"), IMAGE,
                        r"\(Conv2D\): it computes its filter"),
    "in blocks, by strides": (lambda x: in_blocks(x, convolution(1, 2)), IMAGE,
                              r"\(BatchToSpaceND\)"),
    "in blocks, dilated again": (lambda x: in_blocks(x, convolution(2, 1, 2)), (1, 12, 12, 4),
                                 r"\(BatchToSpaceND\)"),
    "in blocks, transposed": (lambda x: in_blocks(x, deconvolution), IMAGE, r"\(BatchToSpaceND\)"),
    "in blocks, cropped before": (lambda x: in_blocks(x, convolution(3), 2, ((1, 1), (0, 2))),
                                  IMAGE, r"\(BatchToSpaceND\)"),
    "slice where the data say": (lambda x: tf.slice(x, [0, tf.cast(x[0, 0], tf.int32)], [1, 2]),
                                 VECTOR, r"\(Slice\): it computes its begin"),
    "element that the data say": (lambda x: x[:, tf.cast(x[0, 0], tf.int32)], VECTOR,
                                  r"\(StridedSlice\): it computes its begin and end"),
    "guard of another tensor": (lambda x: guard(x, zero=x * 2), VECTOR, r"\(SelectV2\): a choice"),
    "guard that gives another": (lambda x: guard(x, other=x * 2), VECTOR, r"\(SelectV2\): a choi"),
    "guard by another number": (lambda x: guard(x, then=-1.0), VECTOR, r"\(SelectV2\): a choice"),
    "guard by half": (
        lambda x: tf.argmax(tf.where(tf.bitcast(x, tf.int32) < 0, -TINY, x), -1), VECTOR,
        r"\(SelectV2\): a choice",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right(name, runtime, tmp_path):
    function, shape, left = RIGHT[name]
    converted = assert_equal(function_trace(function, shape), tmp_path, runtime)
    assert " ".join(node.op for node in converted.graph.nodes) == left


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    function, shape, line = REFUSED[name]
    problems = refusal(function_trace(function, shape), tmp_path)
    assert any(re.search(line, problem) for problem in problems), problems


@pytest.mark.parametrize("axis", [-1, None])
def test_argmax_of_keras(axis):
    """Its guard falls away, also where it lies before a Reshape."""
    traced = function_trace(lambda x: keras.ops.argmax(x * 2, axis), VECTOR)
    graph, _ = reader.read(traced, "net")
    assert [node.op for node in graph.nodes if node.op != "Reshape"] == ["Mul", "ArgMax"]


def test_argmax_written_like_keras():
    graph, _ = reader.read(function_trace(lambda x: guard(x * 2), VECTOR), "net")
    assert [node.op for node in graph.nodes] == ["Mul", "ArgMax"]
