"""Step 3's comparison with the model as it was loaded: a wrong rewrite is found in every format."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.harness import random_input, randomise
from tests.makers import (
    IMAGE,
    Module,
    frozen,
    inception,
    loaded,
    network,
    saved,
    several,
    started,
    v1,
)  # fmt: skip
from tests.pipeline import run
from tf2caffe.failure import Failure
from tf2caffe.frontend import inline, original, reader, trace, training_graph
from tf2caffe.frontend import source as sources
from tf2caffe.proof import activations

LOGITS = "InceptionV1/Logits"


def said(traced, inputs=None):
    """What step 3 says of a trace."""
    graph, tensors = reader.read(traced, "net")
    source = SimpleNamespace(trace=traced, graph=graph, tensors=tensors)
    inputs = inputs or {name: random_input((2, *s[1:])) for name, s in graph.inputs.items()}
    return original.compared(source, inputs, sources.run(source, inputs))


def keras_file(folder):
    data = keras.Input(IMAGE, name="data")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(data)
    x = layers.BatchNormalization(name="bn")(x)
    model = randomise(keras.Model(data, layers.Dense(5, name="fc")(layers.Flatten()(x))))
    model.save(folder / "my.keras")
    return folder / "my.keras", {}


def saved_model(folder):
    module = Module()
    tf.saved_model.save(module, folder / "my", {"classify": module.classify})
    return folder / "my", {"shape": [1, *IMAGE]}


def session():
    inception(v1.placeholder(tf.float32, [None, *IMAGE], "x"))
    return started()


def frozen_graph(folder):
    with tf.Graph().as_default():
        return frozen(session(), LOGITS, folder), {}


def checkpoint(folder):
    with tf.Graph().as_default():
        return saved(session(), folder), {"outputs": [LOGITS]}


def switched(folder):
    """BatchNorm and dropout that a placeholder switches on, in TF1's conditions."""
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None, *IMAGE], "x")
        training = v1.placeholder(tf.bool, [], "is_training")
        network(x, training, True,
                lambda x: v1.cond(training, lambda: v1.nn.dropout(x, 0.5), lambda: x))  # fmt: skip
        return saved(started(), folder), {"outputs": ["fc/BiasAdd"]}


def branched(folder):
    """A condition that a default decides."""
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [None, *IMAGE], "x")
        other = v1.placeholder_with_default(False, [], "other")
        tf.identity(tf.cond(other, lambda: x * 2.0, lambda: tf.nn.relu(x)), "y")
        (folder / "my.pb").write_bytes(graph.as_graph_def().SerializeToString())
    return folder / "my.pb", {"outputs": ["y"]}


FORMATS = {
    "keras": keras_file, "saved model": saved_model, "frozen": frozen_graph,
    "checkpoint": checkpoint, "branched": branched,
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_right(name, tmp_path):
    path, options = FORMATS[name](tmp_path)
    assert said(loaded(path, **options)).startswith("compared: each output ")


def test_switched(old_graph, tmp_path):  # noqa: F811
    path, options = switched(tmp_path)
    assert said(loaded(path, **options)).startswith("compared: each output ")


def elu_for_relu(graph_def):
    for node in graph_def.node:
        node.op = "Elu" if node.op == "Relu" else node.op
    return graph_def


def swapped(variables):
    """Two variables of one shape are read for each other."""
    pair = {f"InceptionV1/Conv2d_1a/BatchNorm/{end}:0": end for end in ("beta", "gamma")}
    found = {pair[stored[0]]: stored for stored in variables.values() if stored[0] in pair}
    other = {"beta": found["gamma"], "gamma": found["beta"]}
    variables |= {
        name: other[pair[stored[0]]] for name, stored in variables.items() if stored[0] in pair
    }


def without_relu(nodes):
    name = "InceptionV1/Conv2d_1a/Relu"
    training_graph.rewire(nodes, {name: nodes[name].input[0]})
    return set()


def turned(choice, name, nodes, *_):
    return not choice if nodes[name.removesuffix(":0")].op == "PlaceholderWithDefault" else choice


# A wrong rewrite: the format, the function that rewrites, how its result is changed.
FAULTS = {
    "keras": ("keras", trace, "inlined", lambda made, *_: elu_for_relu(made)),
    "saved model": ("saved model", trace, "inlined", lambda made, *_: elu_for_relu(made)),
    "frozen": ("frozen", training_graph, "inlined", lambda made, *_: elu_for_relu(made)),
    "checkpoint": ("checkpoint", training_graph, "read_variables",
                   lambda _, nodes, stored, variables: swapped(variables)),
    "the other branch": ("branched", inline, "decided", turned),
    "a dropout that is none": ("frozen", training_graph, "drop_dropout",
                               lambda _, nodes, *__: without_relu(nodes)),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_planted(name, tmp_path, monkeypatch):
    kind, module, function, change = FAULTS[name]
    path, options = FORMATS[kind](tmp_path)
    right = getattr(module, function)
    monkeypatch.setattr(
        module, function, lambda *given, **named: change(right(*given, **named), *given)
    )
    output = {"keras": "fc", "saved model": "answer", "branched": "y"}.get(kind, LOGITS)
    with pytest.raises(
        Failure, match=rf"^{output} \(output\): what was traced is off by .*wrongly"
    ):
        said(loaded(path, **options))


def test_what_is_not_compared(tmp_path):
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [None, 12], "x")
        tf.nn.relu(tf.nn.dropout(x, 0.3, name="drop"), name="y")
        tf.nn.relu(x * 2.0, name="z")
        (tmp_path / "my.pb").write_bytes(graph.as_graph_def().SerializeToString())
    path = tmp_path / "my.pb"
    expected = "not compared: as it was saved, drop/SelectV2 draws random numbers"
    assert said(loaded(path, outputs=["y"])) == expected
    assert said(loaded(path, outputs=["z"])) == "compared: each output the same"
    assert said(loaded(path, inputs=["drop/SelectV2"], outputs=["y"])).startswith("compared")


@pytest.mark.parametrize("fused", [True, False])
def test_statistics_of_the_batch_are_not_compared(fused, tmp_path):
    with tf.Graph().as_default():
        network(v1.placeholder(tf.float32, [None, *IMAGE], "x"), None, fused, lambda x: x)
        path = saved(started(), tmp_path)
    line = said(loaded(path, outputs=["fc/BiasAdd"]))
    assert line.startswith("not compared: as it was saved, conv1/bn/")
    assert line.endswith("takes the statistics of the batch")


def test_fixed_batch(tmp_path):
    """A graph for eight images, and a Reshape that says so."""
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [8, 12], "x")
        tf.nn.softmax(x @ tf.constant(random_input((12, 5))), name="y")
        (tmp_path / "my.pb").write_bytes(graph.as_graph_def().SerializeToString())
    assert said(loaded(tmp_path / "my.pb", outputs=["y"])).startswith("compared: each output ")


def test_whole_numbers(tmp_path):
    """A model of bytes is given whole numbers, whatever the trace was run on."""
    data = keras.Input(IMAGE, name="data", dtype="uint8")
    x = layers.Conv2D(4, 3)(layers.Rescaling(1 / 127.5, -1)(data))
    traced = trace.keras_trace(randomise(keras.Model(data, x)))
    assert said(traced, {"data": 90 * random_input((2, *IMAGE))}).startswith("compared: each out")


def test_inputs_that_no_output_reads():
    image, extra, features, *_ = several()
    traced = trace.keras_trace(randomise(keras.Model([image, extra], features)))
    assert said(traced).startswith("compared: each output ")


def labels(traced, given, monkeypatch):
    """Step 3, if the model itself gave these labels."""
    monkeypatch.setattr(traced, "original", original.Original(
        lambda: original.contextlib.nullcontext(lambda image: {"y0": np.int64([given])}),
        {"x0": tf.TensorSpec((1, 5))},
    ))  # fmt: skip
    return said(traced, {"x0": np.float32([[0.2, 1, 1 - 1e-6, 0.5, -1]])})


def test_labels(monkeypatch):
    """A label is the same, or that of a true tie."""
    concrete = tf.function(lambda x: tf.argmax(x * 3, -1)).get_concrete_function(
        tf.TensorSpec((1, 5))
    )
    names = {"x0": concrete.inputs[0]}, {"y0": concrete.outputs[0]}
    traced = trace.function_trace(concrete, *names)
    assert labels(traced, 1, monkeypatch) == "compared: each output the same"
    assert labels(traced, 2, monkeypatch).startswith("compared: each output within 1.0e-06")
    with pytest.raises(Failure, match=r"^y0 \(output\): what was traced is off by 5.0e-01"):
        labels(traced, 3, monkeypatch)


def test_not_a_number_is_the_same_on_both_sides():
    model = keras.Sequential([keras.Input((12,)), layers.Lambda(keras.ops.log)])
    assert said(trace.keras_trace(model)).startswith("compared: each output ")


def test_a_model_that_does_not_run(tmp_path, monkeypatch):
    path, _ = keras_file(tmp_path)
    traced = loaded(path)

    def run(*tensors):
        raise ValueError("no such thing\nindeed")

    monkeypatch.setattr(traced, "original", original.of_function(run, traced.original.specs))
    assert said(traced) == "not compared: it does not run by itself (no such thing)"


@pytest.mark.slow
def test_script(tmp_path):
    path, _ = keras_file(tmp_path)
    ended = run("tf_predict.py", path, "--dir", tmp_path)
    assert (ended.status, ended.err) == (0, "")
    kept = activations.load(tmp_path / "activations" / "my.npz").original
    assert kept.startswith("compared: each output ")
    assert f"\nthe model as it was loaded, {kept}\n" in ended.out


class Counter(layers.Layer):
    """A layer that counts its calls in a variable."""

    def __init__(self, used):
        super().__init__()
        self.used, self.calls = used, self.add_weight(shape=(), name="calls", trainable=False)

    def call(self, x):
        self.calls.assign(self.calls + 1.0)
        return x * self.calls if self.used else x * 2.0


def test_a_variable_that_changes_while_the_model_runs():
    data = keras.Input((12,))
    for used in (True, False):
        traced = trace.keras_trace(keras.Model(data, Counter(used)(data)))
        inputs = {name: random_input((1, 12)) for name in traced.inputs}
        if used:
            with pytest.raises(Failure, match=r"\(output\): the model gives another answer each t"):
                said(traced, inputs)
        else:
            assert said(traced, inputs) == "compared: each output the same"
