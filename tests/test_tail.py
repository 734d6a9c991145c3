"""Networks that end with what sorts or picks: the end is left to the caller, and that is said."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.harness import TOLERANCE, Converted, graph_trace, randomise
from tests.refusals import weights
from tf2caffe import convert, prove

VECTOR = (1, 12)


def detector(x):
    boxes = tf.reshape(tf.matmul(x, weights(12, 20)), [1, 5, 1, 4])
    scores = tf.nn.softmax(tf.reshape(tf.matmul(x, weights(12, 15)), [1, 5, 3]))
    return tuple(tf.image.combined_non_max_suppression(boxes, scores, 2, 4))


def suppressed(x):
    boxes = tf.reshape(tf.matmul(x, weights(12, 20)), [5, 4])
    scores = tf.reshape(tf.sigmoid(tf.matmul(x, weights(12, 5))), [5])
    return tf.gather(boxes, tf.image.non_max_suppression(boxes, scores, 3))


# Name -> (function, what ends the network).
ENDS = {
    "top_k": (lambda x: tuple(tf.math.top_k(tf.nn.softmax(x), 3)), ["Softmax"]),
    "sorted": (lambda x: tf.sort(tf.nn.relu(x) * 2.0), ["Neg"]),
    "labels_as_floats": (lambda x: tf.cast(tf.argmax(tf.nn.softmax(x), -1), tf.float32),
                         ["Softmax"]),
    "labels_as_texts": (lambda x: tf.gather(["a", "b"] * 6, tf.argmax(x * 2.0, -1)), ["Mul"]),
    "lowest": (lambda x: tf.argmin(tf.nn.relu(x) + x, -1), ["Add"]),
    "one_hot": (lambda x: tf.one_hot(tf.argmax(x * 3.0, -1), 12), ["Mul"]),
    "chosen": (lambda x: tf.boolean_mask(x * 2.0, x[0] > 0.0, axis=1), ["Reshape", "Reshape"]),
    "detector": (detector, ["Reshape", "Softmax"]),
    "argmax_of_a_choice": (
        lambda x: tf.argmax(tf.where(tf.argmax(x * 2.0, -1)[:, None] == 0, x * 3.0, x * 4.0), -1),
        ["Mul", "Mul", "Mul"],
    ),
    "suppressed": (suppressed, ["Reshape", "Reshape"]),
    "beside_another": (lambda x: (tf.nn.relu(x) * 2.0, tf.sort(tf.nn.relu(x) * 2.0)), None),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_end(name, opencv, tmp_path, capsys):
    function, ends = ENDS[name]
    converted = Converted(graph_trace(function, VECTOR), tmp_path)
    kinds = {node.name: node.op for node in converted.graph.nodes}
    found = [kinds[op].removesuffix("V2") for op in converted.graph.outputs.values()]
    assert ends is None or sorted(found) == sorted(ends)
    assert converted.graph.left
    converted.graph.print_unused()
    assert "is left to the caller from" in capsys.readouterr().out
    assert all(row.error <= TOLERANCE for row in converted.rows(opencv))


def test_inside_is_refused(tmp_path):
    """A network that goes on behind is none whose end can be left."""
    from tests.refusals import refusal

    problems = refusal(
        graph_trace(lambda x: tf.matmul(tf.math.top_k(x, 5)[0], weights(5, 3)), VECTOR), tmp_path
    )
    assert any("TopK" in problem for problem in problems)


def test_model(tmp_path):
    """A Keras model: the values that are left are compared with the model's own still."""

    class Best(layers.Layer):
        def call(self, x):
            return keras.ops.top_k(x, 3)[0]

    data = keras.Input((9, 11, 3))
    x = layers.Dense(7, activation="softmax", name="shares")(
        layers.Flatten()(layers.Conv2D(4, 3)(data))
    )
    model = randomise(keras.Model(data, Best()(x)))
    converted = convert(model, name="net", folder=tmp_path)
    assert [output.blob for output in converted.forms[0].table.outputs] == ["shares/Softmax"]
    verdict = prove(converted, folder=tmp_path, runtime="opencv")
    assert verdict.equal and np.isfinite(verdict.rows[-1].caffe).all()
