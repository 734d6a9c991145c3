"""Dropout in training graphs: every spelling is recognised, and nothing that only looks like it."""

import re

import numpy as np
import pytest
import tensorflow as tf

from tests.makers import loaded, v1
from tests.refusals import refusal
from tf2caffe.frontend import reader

IMAGE = np.random.default_rng(0).normal(size=(1, 12)).astype(np.float32)
GAMMA = np.linspace(0.1, 3, 12, dtype=np.float32)


def uniform(*shape):
    return tf.random.uniform(shape or (1, 12))


def fed(value=0.7):
    return v1.placeholder_with_default(value, [], "keep_prob")


def floor(keep, *shape):
    return tf.floor(keep + uniform(*shape))


def cast(mask):
    return tf.cast(mask, tf.float32)


def with_keep(write):
    """A spelling of a chance that is fed."""
    return lambda x: write(x, fed())


def shared(x):
    """DropConnect: the mask is one number an image."""
    return x / 0.8 * floor(0.8, 1, 1)


def double_negated(x):
    """keep_prob -> rate -> keep -> scale, as v1.nn.dropout does."""
    rate = 1 - fed()
    return x * (1 / (1 - rate)) * cast(uniform() >= rate)


# Spellings of a dropout of x.
RIGHT = {
    "divided, floor": lambda x: x / 0.7 * floor(0.7),
    "divided, floor, mask first": lambda x: floor(0.7) * (x / 0.7),
    "divided, floor, drawn first": lambda x: x / 0.7 * tf.floor(uniform() + 0.7),
    "multiplied, not less": lambda x: x * (1 / 0.7) * cast(uniform() >= 0.3),
    "multiplied on the left": lambda x: (1 / 0.7) * x * cast(uniform() >= 0.3),
    "multiplied, greater": lambda x: x * (1 / 0.7) * cast(uniform() > 0.3),
    "multiplied, less": lambda x: x * (1 / 0.7) * cast(uniform() < 0.7),
    "multiplied, less, turned": lambda x: x * (1 / 0.7) * cast(tf.constant(0.3) < uniform()),
    "multiplied, not less, turned": (
        lambda x: x * (1 / 0.7) * cast(tf.constant(0.7) >= uniform())
    ),
    "chosen": lambda x: tf.where(uniform() >= 0.3, x * (1 / 0.7), tf.zeros(())),
    "chosen from zeros": lambda x: tf.where(uniform() >= 0.3, x / 0.7, tf.zeros_like(x)),
    "chosen, turned": lambda x: tf.where(uniform() < 0.3, tf.zeros(()), x / 0.7),
    "of today": lambda x: tf.nn.dropout(x, 0.3),
    "of today, fed": lambda x: v1.nn.dropout(x, fed()),
    "stateless": lambda x: tf.nn.experimental.stateless_dropout(x, 0.3, [1, 2]),
    "shared": shared,
    "fed": with_keep(lambda x, keep: x / keep * floor(keep)),
    "fed rate": with_keep(lambda x, keep: x / (1 - keep) * cast(uniform() >= keep)),
    "fed, its inverse": with_keep(lambda x, keep: x * (1 / keep) * floor(keep)),
    "fed, negated twice": double_negated,
    "always kept": lambda x: x * floor(1.0),
    "twice": lambda x: tf.nn.dropout(tf.nn.dropout(x, 0.3), 0.2),
}  # fmt: skip

# Not dropout, although it looks like it: another scale, another mask, or another choice.
WRONG = {
    "scaled by a vector": lambda x: x * GAMMA * floor(0.7),
    "divided by a vector": lambda x: x / GAMMA * floor(0.7),
    "scaled by another number": lambda x: x * 0.7 * floor(0.7),
    "not scaled": lambda x: tf.nn.relu(x) * floor(0.7),
    "of another chance": lambda x: x / 0.7 * floor(0.3),
    "of another chance, fed": lambda x: x / fed() * floor(v1.placeholder(tf.float32, [], "other")),
    "of another chance, compared": lambda x: x / fed() * cast(uniform() >= fed()),
    "multiplied by what is fed": with_keep(lambda x, keep: x * keep * floor(keep)),
    "less for not less": lambda x: x / 0.7 * cast(uniform() < 0.3),
    "turned": lambda x: x / 0.7 * cast(tf.constant(0.3) >= uniform()),
    "normal": lambda x: x / 0.7 * cast(tf.random.normal((1, 12)) >= 0.3),
    "wider": lambda x: x / 0.7 * tf.floor(0.7 + tf.random.uniform((1, 12), 0, 2.0)),
    "from below": lambda x: x / 0.7 * tf.floor(0.7 + tf.random.uniform((1, 12), -1.0, 1.0)),
    "chosen from ones": lambda x: tf.where(uniform() >= 0.3, x / 0.7, tf.ones(())),
    "chosen the wrong way": lambda x: tf.where(uniform() < 0.3, x / 0.7, tf.zeros(())),
    "noise": lambda x: x / 0.7 * (0.7 + uniform()),
    "larger than x": lambda x: x / 0.7 * floor(0.7, 2, 1, 12),
}  # fmt: skip


def graph_file(folder, write):
    path = folder / "my.pb"
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [None, 12], "x") * 2.0
        with v1.name_scope("dropped"):
            x = write(x)
        tf.nn.relu(x, name="y")
        path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


@pytest.mark.parametrize("name", RIGHT)
def test_dropped(name, tmp_path):
    traced = loaded(graph_file(tmp_path, RIGHT[name]), outputs=["y"])
    graph, _ = reader.read(traced, "net")
    assert [node.op for node in graph.nodes] == ["Mul", "Relu"]
    (made,) = traced.function(traced.outputs.values())({"x": IMAGE})
    np.testing.assert_array_equal(made, np.maximum(2 * IMAGE, 0))
    assert (traced.original is None) == ("draws random numbers" in traced.reason)
    assert (traced.original is None) == (name != "always kept")


@pytest.mark.parametrize("name", WRONG)
def test_not_a_dropout(name, tmp_path):
    problems = refusal(loaded(graph_file(tmp_path, WRONG[name]), outputs=["y"]), tmp_path / "net")
    told = re.compile(r"\(Random\w+\): random numbers.* save the model for inference")
    assert any(told.search(problem) for problem in problems), problems


def test_a_scale_before_a_mask_of_ones_stays(tmp_path):
    """(y * gamma) * floor(1 + u): only the mask falls away, and the model itself says so."""
    traced = loaded(graph_file(tmp_path, lambda x: x * GAMMA * floor(1.0)), outputs=["y"])
    graph, _ = reader.read(traced, "net")
    assert [node.op for node in graph.nodes] == ["Mul", "Mul", "Relu"]
    (made,) = traced.function(traced.outputs.values())({"x": IMAGE})
    np.testing.assert_array_equal(made, traced.original({"x": IMAGE})["y"][0])
