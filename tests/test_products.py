"""Products of two tensors: matrices, equations, attention, in both runtimes and both forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.harness import TOLERANCE, Converted, assert_equal, graph_trace, randomise
from tests.test_deploy import Deployed


def fixed(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def matmul(**turned):
    return lambda x, y: tf.matmul(x, y, **turned)


def einsum(equation):
    def one(x):
        return tf.einsum(equation, x)

    def two(x, y):
        return tf.einsum(equation, x, y)

    return two if "," in equation else one


def by_einsum(equation, *shape):
    return lambda x: tf.einsum(equation, x, fixed(*shape))


def from_left(equation, *shape):
    return lambda x: tf.einsum(equation, fixed(*shape), x)


# Product -> (function, the shape of each tensor).
COMPUTED = {
    "sequences": (matmul(), (1, 5, 7), (1, 7, 4)),
    "heads": (matmul(), (1, 3, 5, 7), (1, 3, 7, 4)),
    "first_turned": (matmul(transpose_a=True), (1, 3, 7, 5), (1, 3, 7, 4)),
    "second_turned": (matmul(transpose_b=True), (1, 3, 5, 7), (1, 3, 4, 7)),
    "both_turned": (matmul(transpose_a=True, transpose_b=True), (1, 3, 7, 5), (1, 3, 4, 7)),
    "five_axes": (matmul(), (1, 2, 3, 5, 7), (1, 2, 3, 7, 4)),
    "six_axes": (matmul(transpose_b=True), (1, 2, 3, 2, 5, 3), (1, 2, 3, 2, 4, 3)),
    "heads_of_one": (matmul(), (1, 1, 5, 7), (1, 3, 7, 4)),
    "heads_of_one_second": (matmul(), (1, 3, 5, 7), (1, 1, 7, 4)),
    "each_broadcast": (matmul(), (1, 2, 1, 5, 3), (1, 1, 3, 3, 4)),
    "ranks": (matmul(), (1, 3, 5, 7), (1, 7, 4)),
    "one_row": (matmul(), (1, 3, 1, 7), (1, 3, 7, 4)),
    "one_column": (matmul(), (1, 3, 5, 7), (1, 3, 7, 1)),
    "one_common": (matmul(), (1, 3, 5, 1), (1, 3, 1, 4)),
    "single_numbers": (matmul(), (1, 1, 1), (1, 1, 1)),
    "batch_summed": (matmul(), (1, 1), (1, 4)),
    "vectors_as_rows": (matmul(transpose_b=True), (1, 6), (1, 6)),
    "vectors_as_columns": (matmul(transpose_a=True), (1, 6), (1, 5)),
    "keys": (einsum("bqhd,bkhd->bhqk"), (1, 6, 3, 5), (1, 7, 3, 5)),
    "values": (einsum("bhqk,bkhd->bqhd"), (1, 3, 6, 7), (1, 7, 3, 5)),
    "order_of_result": (einsum("bhik,bjhk->bijh"), (1, 2, 3, 5), (1, 4, 2, 5)),
    "orders_conflict": (einsum("bijk,bkji->bji"), (1, 3, 4, 5), (1, 5, 4, 3)),
    "all_common": (einsum("bijk,bkji->b"), (1, 3, 4, 5), (1, 5, 4, 3)),
    "result_conflicts": (einsum("bij,bjk->bki"), (1, 3, 4), (1, 4, 5)),
    "result_reversed": (einsum("bij,bij->bji"), (1, 3, 4), (1, 3, 4)),
    "several_common": (einsum("bhij,bhjk->bik"), (1, 2, 3, 4), (1, 2, 4, 5)),
    "linear_attention": (einsum("bnhd,bnhe->bhde"), (1, 7, 2, 3), (1, 7, 2, 5)),
    "outer": (einsum("bi,bj->bij"), (1, 3), (1, 4)),
    "outer_of_images": (einsum("bhwc,bhwd->bcd"), (1, 3, 5, 4), (1, 3, 5, 2)),
    "outer_four": (einsum("bij,bkl->bikjl"), (1, 2, 3), (1, 4, 5)),
    "dot": (einsum("bi,bi->b"), (1, 5), (1, 5)),
    "dot_rows": (einsum("bij,bij->bi"), (1, 3, 5), (1, 3, 5)),
    "elementwise": (einsum("bij,bij->bij"), (1, 3, 5), (1, 3, 5)),
    "by_a_vector": (einsum("bhwc,bc->bhw"), (1, 3, 5, 4), (1, 4)),
    "from_a_vector": (einsum("bc,bhwc->bhwc"), (1, 4), (1, 3, 5, 4)),
    "summed_alone": (einsum("bij,bk->bk"), (1, 3, 5), (1, 4)),
    "dots": (einsum("...ij,...jk->...ik"), (1, 6, 3, 5), (1, 6, 5, 2)),
    "dots_of_ranks": (einsum("b...ij,bjk->b...ik"), (1, 2, 6, 3, 5), (1, 5, 2)),
    "dots_last": (einsum("bi...,bj...->bij..."), (1, 3, 4, 2), (1, 5, 4, 2)),
    "alone_turned": (einsum("bij->bji"), (1, 3, 5)),
    "alone_as_it_is": (einsum("bij->bij"), (1, 3, 5)),
    "alone_summed": (einsum("bijk->bkj"), (1, 3, 5, 2)),
    "alone_all_summed": (einsum("bij->"), (1, 3, 5)),
    "alone_dots": (einsum("...ij->...ji"), (1, 2, 3, 5)),
    "diagonal": (einsum("bii->bi"), (1, 5, 5)),
    "diagonal_of_three": (einsum("bijii->bji"), (1, 3, 2, 3, 3)),
    "trace": (einsum("bii->b"), (1, 5, 5)),
    "diagonals_multiplied": (einsum("bii,bjij->bij"), (1, 5, 5), (1, 3, 5, 3)),
    "no_arrow": (einsum("bij,bjk"), (1, 3, 5), (1, 5, 2)),
    "images_as_sequences": (
        lambda x, y: tf.matmul(
            tf.reshape(x, (1, 15, 4)), tf.reshape(y, (1, 15, 6)), transpose_a=True
        ),
        (1, 3, 5, 4), (1, 3, 5, 6),
    ),
    "of_convolutions": (
        lambda x, y: tf.einsum("bhwc,bhwd->bcd", tf.nn.relu(x), tf.nn.relu(y)) * 0.5,
        (1, 3, 5, 4), (1, 3, 5, 6),
    ),
    "batch_of_windows": (
        lambda x, y: tf.matmul(tf.reshape(x, (3, 5, 4)), tf.reshape(y, (3, 4, 2))),
        (1, 3, 5, 4), (1, 3, 4, 2),
    ),
    "one_of_windows": (
        lambda x, y: tf.matmul(tf.reshape(x, (3, 5, 4)), y), (1, 3, 5, 4), (1, 4, 2),
    ),
}  # fmt: skip

# Product with constants -> (function of one tensor, its shape).
CONSTANT = {
    "matrix_right": (lambda x: tf.matmul(x, fixed(4, 6)), (1, 5, 4)),
    "matrix_right_5d": (lambda x: tf.matmul(x, fixed(4, 6)), (1, 2, 3, 5, 4)),
    "matrix_right_of_batch_1": (lambda x: tf.matmul(x, fixed(1, 4, 6)), (1, 5, 4)),
    "diagonal_of_weights": (
        lambda x: tf.einsum("bij,jj->bij", x, fixed(4, 4)), (1, 5, 4)
    ),
    "diagonal_with_weights": (
        lambda x: tf.einsum("bii,ik->bk", x, fixed(5, 4)), (1, 5, 5)
    ),
    "matrix_left": (lambda x: tf.matmul(fixed(6, 5), x), (1, 5, 4)),
    "matrix_left_turned": (lambda x: tf.matmul(fixed(5, 6), x, transpose_a=True), (1, 5, 4)),
    "matrix_left_both": (
        lambda x: tf.matmul(fixed(5, 6), x, transpose_a=True, transpose_b=True), (1, 4, 5),
    ),
    "matrix_left_of_heads": (lambda x: tf.matmul(fixed(6, 5), x), (1, 3, 5, 4)),
    "matrix_right_turned": (
        lambda x: tf.matmul(x, fixed(5, 6), transpose_a=True), (1, 3, 5, 4),
    ),
    "matrix_of_vectors": (lambda x: tf.matmul(fixed(6, 5), x, transpose_b=True), (1, 5)),
    "matrix_each_head": (lambda x: tf.matmul(x, fixed(1, 3, 4, 6)), (1, 3, 5, 4)),
    "matrix_each_head_left": (lambda x: tf.matmul(fixed(3, 6, 5), x), (1, 3, 5, 4)),
    "matrix_for_many": (lambda x: tf.matmul(x, fixed(3, 4, 6)), (1, 5, 4)),
    "tensordot": (lambda x: tf.tensordot(x, fixed(4, 3, 2), [[3], [0]]), (1, 3, 5, 4)),
    "tensordot_two": (lambda x: tf.tensordot(x, fixed(5, 4, 2), [[2, 3], [0, 1]]), (1, 3, 5, 4)),
    "mixed_tokens": (from_left("nk,bkc->bnc", 6, 5), (1, 5, 4)),
    "mixed_tokens_right": (by_einsum("bkc,nk->bnc", 6, 5), (1, 5, 4)),
    "mixed_tokens_turned": (by_einsum("bkc,kn->bnc", 5, 6), (1, 5, 4)),
    "mixed_rows": (by_einsum("bhwc,hk->bkwc", 3, 6), (1, 3, 5, 4)),
    "mixed_order": (by_einsum("bhwc,hk->bwkc", 3, 6), (1, 3, 5, 4)),
    "dense": (by_einsum("bij,jk->bik", 4, 6), (1, 5, 4)),
    "dense_turned": (by_einsum("bij,kj->bik", 6, 4), (1, 5, 4)),
    "dense_dots": (by_einsum("...j,jk->...k", 4, 6), (1, 3, 5, 4)),
    "into_heads": (by_einsum("btd,dhk->bthk", 4, 3, 2), (1, 5, 4)),
    "into_heads_first": (by_einsum("btd,dhk->bhtk", 4, 3, 2), (1, 5, 4)),
    "out_of_heads": (by_einsum("bthk,hkd->btd", 3, 2, 4), (1, 5, 3, 2)),
    "each_head": (by_einsum("bhtd,hde->bhte", 3, 4, 2), (1, 3, 5, 4)),
    "each_channel": (by_einsum("bhwc,cn->bhwn", 4, 2), (1, 3, 5, 4)),
    "vector": (by_einsum("btd,d->bt", 4), (1, 5, 4)),
    "weighted": (by_einsum("btd,d->btd", 4), (1, 5, 4)),
    "outer": (by_einsum("bi,j->bij", 3), (1, 4)),
    "positions": (by_einsum("bhwc,wkc->bhwk", 5, 6, 4), (1, 3, 5, 4)),
    "batch_of_windows": (
        lambda x: tf.matmul(fixed(6, 5), tf.reshape(x, (3, 5, 4))), (1, 3, 5, 4),
    ),
    "windows_each": (
        lambda x: tf.einsum("wij,wjk->wik", fixed(3, 6, 5), tf.reshape(x, (3, 5, 4))),
        (1, 3, 5, 4),
    ),
}  # fmt: skip


def attention(x, **settings):
    return layers.MultiHeadAttention(2, 3, **settings)(x, x)


def transformer(x):
    x = layers.Reshape((16, 6))(layers.Conv2D(6, 2, 2)(x))
    x = x + attention(layers.LayerNormalization()(x))
    x = x + layers.Dense(6)(layers.Dense(12, "gelu")(layers.LayerNormalization()(x)))
    return layers.Dense(5)(layers.GlobalAveragePooling1D()(x))


def global_context(x):
    """GCNet: a mean over the image weighted by the image."""
    weight = layers.Softmax(1)(layers.Reshape((64, 1))(layers.Conv2D(1, 1)(x)))
    context = keras.ops.einsum("bnc,bnk->bkc", layers.Reshape((64, 4))(x), weight)
    return x + layers.Dense(4)(layers.Reshape((1, 1, 4))(context))


# Network -> its output for tensors of these shapes.
NETWORKS = {
    "attention": (attention, (7, 5)),
    "attention_value": (lambda x: attention(x, value_dim=4, output_shape=7), (7, 5)),
    "attention_no_bias": (lambda x: attention(x, use_bias=False), (7, 5)),
    "attention_axes": (lambda x: attention(x, attention_axes=(2,)), (3, 4, 5)),
    "attention_of_images": (lambda x: attention(x, attention_axes=(1, 2)), (3, 4, 5)),
    "attention_causal": (
        lambda x: layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True), (7, 5),
    ),
    "cross_attention": (lambda x, y: layers.MultiHeadAttention(2, 3)(x, y), (7, 5), (4, 6)),
    "attention_scores": (
        lambda x: layers.MultiHeadAttention(2, 3)(x, x, return_attention_scores=True)[1], (7, 5),
    ),
    "grouped_query": (lambda x: layers.GroupQueryAttention(3, 4, 2)(x, x), (7, 5)),
    "dot_attention": (lambda x, y: layers.Attention()([x, y]), (7, 5), (4, 5)),
    "scaled_attention": (lambda x, y: layers.Attention(use_scale=True)([x, y]), (7, 5), (4, 5)),
    "additive_attention": (lambda x, y: layers.AdditiveAttention()([x, y]), (7, 5), (4, 5)),
    "dot_layer": (lambda x, y: layers.Dot(2)([x, y]), (7, 5), (4, 5)),
    "dot_normalised": (lambda x, y: layers.Dot(1, normalize=True)([x, y]), (5,), (5,)),
    "transformer": (transformer, (8, 8, 3)),
    "global_context": (global_context, (8, 8, 4)),
    "dense_of_two_axes": (
        lambda x: layers.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de")(x), (7, 5),
    ),
    "dense_of_tokens": (
        lambda x: layers.EinsumDense("abc,bd->adc", (4, 5), bias_axes="d")(x), (7, 5),
    ),
    "dense_each_token": (
        lambda x: layers.EinsumDense("abc,bcd->abd", (7, 3), bias_axes="bd")(x), (7, 5),
    ),
}  # fmt: skip


def model(name):
    network, *shapes = NETWORKS[name]
    inputs = [keras.Input(shape) for shape in shapes]
    return randomise(keras.Model(inputs, network(*inputs)))


@pytest.mark.parametrize("name", COMPUTED)
def test_computed(name, runtime, tmp_path):
    assert_equal(graph_trace(*COMPUTED[name]), tmp_path, runtime)


@pytest.mark.parametrize("name", CONSTANT)
def test_constant(name, runtime, tmp_path):
    assert_equal(graph_trace(*CONSTANT[name]), tmp_path, runtime)


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name, runtime, tmp_path):
    assert_equal(model(name), tmp_path, runtime)


@pytest.mark.parametrize("name", ["attention", "cross_attention", "transformer", "global_context"])
def test_network_deployed(name, runtime, tmp_path):
    for row in Deployed(model(name), tmp_path).rows(runtime):
        assert row.error <= TOLERANCE, row


@pytest.mark.parametrize("name", ["orders_conflict", "several_common", "dots", "batch_of_windows"])
def test_computed_deployed(name, runtime, tmp_path):
    for row in Deployed(graph_trace(*COMPUTED[name]), tmp_path).rows(runtime):
        assert row.error <= TOLERANCE, row


def test_kernels_are_small(tmp_path):
    """What spreads and sums has as many weights as an axis has elements."""
    net = Converted(graph_trace(*COMPUTED["keys"]), tmp_path).net
    assert max(blob.size for layer in net.layers for blob in layer.blobs) <= 42
