"""Loops of a known number of rounds, unrolled; every op of every round in both runtimes."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.harness import assert_equal, function_trace, randomise, traced
from tf2caffe.failure import Failure
from tf2caffe.frontend import load, loops

v1 = tf.compat.v1
STEPS = (3, 4)


class Cell(layers.Layer):
    """A cell of our own."""

    state_size = output_size = 3

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")
        self.recurrent = self.add_weight(shape=(3, 3), name="recurrent")

    def call(self, x, states, training=False):
        y = keras.ops.relu(x @ self.kernel) * 0.5 - keras.ops.tanh(states[0] @ self.recurrent)
        return y, [y]


NETWORKS = {
    "lstm": lambda x: layers.LSTM(5)(x),
    "gru": lambda x: layers.GRU(5)(x),
    "simple_rnn": lambda x: layers.SimpleRNN(5)(x),
    "sequences": lambda x: layers.LSTM(5, return_sequences=True)(x),
    "backwards": lambda x: layers.GRU(3, return_sequences=True, go_backwards=True)(x),
    "reset_before": lambda x: layers.GRU(3, reset_after=False)(x),
    "state": lambda x: layers.LSTM(3, return_state=True, return_sequences=True)(x),
    "bidirectional": lambda x: layers.Bidirectional(layers.LSTM(3))(x),
    "both_ways": lambda x: layers.Bidirectional(layers.GRU(2, return_sequences=True))(x),
    "stacked": lambda x: layers.Dense(2)(layers.GRU(3)(layers.LSTM(4, return_sequences=True)(x))),
    "time_distributed": lambda x: layers.GRU(2)(layers.TimeDistributed(layers.Dense(3))(x)),
    "cell": lambda x: layers.RNN(Cell())(x),
    "cells": lambda x: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)])(x),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_recurrent_layers(name, tmp_path, runtime):
    keras.utils.clear_session()
    x = keras.Input(STEPS)
    assert_equal(randomise(keras.Model(x, NETWORKS[name](x))), tmp_path, runtime)


def test_names_tell_the_round(tmp_path, pycaffe):
    x = keras.Input(STEPS)
    model = randomise(keras.Model(x, layers.LSTM(2, name="memory")(x)))
    names = {node.name for node in assert_equal(model, tmp_path, pycaffe).graph.nodes}
    assert {f"memory/round{at}/lstm_cell/MatMul" for at in range(3)} <= names


def odd(x):
    def body(at, y, z):
        return at + 2, tf.nn.relu(y * tf.cast(at, tf.float32) - 1.0) + z, z * 0.5 + y

    return tf.while_loop(lambda at, *_: at < 7, body, [0, x, x * 2])[1:]


def nested(x):
    def outer(at, y):
        def inner(inside, y):
            return inside + 1, tf.tanh(y) * 1.5

        return at + 1, tf.while_loop(lambda inside, _: inside < at, inner, [0, y + 1.0])[1]

    return tf.while_loop(lambda at, _: at < 3, outer, [0, x])[1]


def halved(x):
    """As many rounds as the halves of what is carried."""
    return tf.while_loop(lambda n, _: n > 1, lambda n, y: (n // 2, tf.tanh(y - 0.1)), [9, x])[1]


def pushed(x):
    """A list that grows."""
    items = tf.TensorArray(tf.float32, 0, dynamic_size=True, element_shape=(1, 4))

    def body(at, y, items):
        return at + 1, tf.tanh(y * 2), items.write(at, y + 1)

    return tf.while_loop(lambda at, *_: at < 3, body, [0, x, items])[2].stack()[2] * 2


LOOPS = {"odd": odd, "nested": nested, "halved": halved, "pushed": pushed}


@pytest.mark.parametrize("name", LOOPS)
def test_loops(name, tmp_path, runtime):
    function = tf.autograph.experimental.do_not_convert(LOOPS[name])
    assert_equal(function_trace(function, (1, 4)), tmp_path, runtime)


def data(x):
    return tf.while_loop(lambda y: tf.reduce_sum(y) < 9, lambda y: (y * 2,), [x])[0]


def endless(x):
    return tf.while_loop(lambda at, _: at < 12, lambda at, y: (at + 1, y * 1.01), [0, x])[1]


def item(x):
    items = tf.TensorArray(tf.float32, 2).unstack(tf.stack([x, x * 2]))
    chosen = tf.cast(tf.reduce_sum(x), tf.int32)
    return tf.while_loop(lambda at, _: at < 2, lambda at, y: (at + 1, y + items.read(chosen)),
                         [0, x])[1]  # fmt: skip


REFUSED = {
    data: r"while \(StatelessWhile\): the number of rounds depends on the data",
    endless: r"while \(StatelessWhile\): it has more than 10 rounds",
    item: r"which item of a list it takes depends on the data",
}


@pytest.mark.parametrize("function", REFUSED, ids=lambda function: function.__name__)
def test_other_loops_are_refused(function, monkeypatch):
    monkeypatch.setattr(loops, "ROUNDS", 10)
    with pytest.raises(Failure, match=REFUSED[function]):
        function_trace(tf.autograph.experimental.do_not_convert(function), (1, 4))


def loaded(path, outputs=None):
    return load.load(path, outputs=outputs)


def test_saved_model(tmp_path, runtime):
    x = keras.Input(STEPS)
    model = randomise(keras.Model(x, layers.LSTM(3)(x)))
    model.export(tmp_path / "saved", verbose=False)
    assert_equal(loaded(tmp_path / "saved"), tmp_path, runtime)


class OldCell:
    """What TF1's dynamic_rnn takes for a cell."""

    output_size = state_size = 3

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        return tf.zeros((1, 3))

    zero_state = get_initial_state

    def __call__(self, x, state, scope=None):
        y = tf.tanh(x @ np.linspace(-1, 1, 12, dtype="f").reshape(4, 3) + state * 0.5)
        return y, y


def old_rnn(x):
    return v1.nn.dynamic_rnn(OldCell(), x, initial_state=x[:, 0, :3])[0]


def old_loop(x):
    def body(at, y):
        return at + 1, tf.tanh(y) * tf.cast(at, tf.float32)

    return v1.while_loop(lambda at, _: at < 4, body, [1, x[:, 0]], name="rnn")[1]


def old_nested(x):
    def body(at, y):
        inner = v1.while_loop(lambda n, _: n < at, lambda n, y: (n + 1, y * 0.5), [0, y])
        return at + 1, tf.tanh(inner[1]) + x[:, 1]

    return v1.while_loop(lambda at, _: at < 3, body, [0, x[:, 0]])[1]


def old_data(x):
    return v1.while_loop(lambda y: tf.reduce_sum(y) < 9.0, lambda y: y * 2.0, [x], name="rnn")


def frozen(function, path: Path):
    """A frozen graph whose loops are those of TF1."""
    enabled = v1.control_flow_v2_enabled()
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph:
            tf.identity(function(v1.placeholder(tf.float32, (None, *STEPS), "x")), "out")
    finally:
        if enabled:
            v1.enable_control_flow_v2()
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return loaded(path, ["out"])


@pytest.mark.parametrize("function", [old_rnn, old_loop, old_nested])
def test_loops_of_tf1(function, tmp_path, runtime):
    assert_equal(frozen(function, tmp_path / "net.pb"), tmp_path, runtime)


def test_loops_of_tf1_on_data_are_refused(tmp_path):
    with pytest.raises(Failure, match=r"rnn \(StatelessWhile\): the number of rounds depends on"):
        frozen(old_data, tmp_path / "net.pb")


def test_masks_are_refused_by_name(tmp_path, pycaffe):
    x = keras.Input(STEPS)
    model = randomise(keras.Model(x, layers.LSTM(3)(layers.Masking()(x))))
    with pytest.raises(Failure, match=r"masking/NotEqual .* a choice that depends on the data"):
        assert_equal(traced(model), tmp_path, pycaffe)


def time_distributed(x):
    x = layers.TimeDistributed(layers.Conv2D(5, 3, activation="relu"))(x)
    x = layers.TimeDistributed(layers.MaxPooling2D(2))(x)
    return layers.LSTM(4)(layers.TimeDistributed(layers.Flatten())(x))


def conv_lstm(x):
    return layers.ConvLSTM2D(3, 3, padding="same")(x)


def depthwise(x):
    return layers.TimeDistributed(layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2))(x)


def average_pool(x):
    return layers.TimeDistributed(layers.AveragePooling2D(3, 2, padding="same"))(x)


@pytest.mark.parametrize("network", [time_distributed, conv_lstm, depthwise, average_pool])
def test_images_in_time(network, runtime, tmp_path):
    x = keras.Input((3, 7, 6, 4))
    assert_equal(randomise(keras.Model(x, network(x))), tmp_path, runtime)
