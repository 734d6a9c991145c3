"""--inputs and --outputs of every format, by TensorFlow's, Keras's and step 3's names."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.harness import assert_equal, randomise
from tests.makers import IMAGE, Module, frozen, inception, loaded, started, v1
from tf2caffe.failure import Failure
from tf2caffe.frontend import reader


def network(whole=True):
    data = keras.Input(IMAGE, name="data")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(data)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.Dropout(0.5, name="drop")(layers.Conv2D(5, 3, name="conv2")(x))
    inner = keras.Sequential([keras.Input((5, 7, 5)), layers.Conv2D(2, 1, name="c")], name="inner")
    x = layers.Dense(5, name="fc")(layers.Flatten(name="flat")(inner(x)))
    x = keras.ops.sort(x) if whole else x  # which Caffe cannot express
    return randomise(keras.Model(data, x))


def kept(folder, kind):
    model, path = network(kind != ".h5"), folder / f"my{kind}"
    model.export(path, verbose=False) if not kind else model.save(path)
    return model, path


def between(model, first, last):
    """What Keras computes between two layers."""
    begin = model.input if first is None else model.get_layer(first).output
    return keras.Model(begin, model.get_layer(last).output)


@pytest.mark.parametrize("kind", [".keras", ".h5"])
@pytest.mark.parametrize(("first", "last"), [
    (None, "fc"), (None, "conv2"), ("conv", "fc"), ("bn", "inner"), ("conv2", "flat"),
    (None, "drop"), ("data", "bn"),
])  # fmt: skip
def test_layers_of_keras(kind, first, last, tmp_path, pycaffe):
    model, path = kept(tmp_path, kind)
    trace = loaded(path, inputs=first and [first], outputs=[last])
    converted = assert_equal(trace, tmp_path, pycaffe)
    expected = between(model, first, last)(next(iter(converted.inputs.values())))
    (name,) = converted.graph.outputs.values()
    np.testing.assert_allclose(converted.layers[name], expected, rtol=1e-4, atol=1e-5)


def printed(trace):
    """The names that step 3 prints."""
    graph, _ = reader.read(trace, "net")
    return [node.name for node in graph.nodes]


@pytest.mark.parametrize("kind", ["keras", "saved", "frozen"])
def test_what_step_3_prints_is_accepted(kind, tmp_path):
    options = {}
    if kind == "keras":
        path, options = kept(tmp_path, ".keras")[1], {"outputs": ["fc"]}
    elif kind == "saved":
        module, path = Module(), tmp_path / "my"
        tf.saved_model.save(module, path, {"classify": module.classify})
        options = {"shape": [1, *IMAGE]}
    else:
        with tf.Graph().as_default():
            inception(v1.placeholder(tf.float32, [None, *IMAGE], "x"))
            path = frozen(started(), "InceptionV1/Logits", tmp_path)
    names = printed(loaded(path, **options))
    assert len(names) > 3
    for name in names:
        again = loaded(path, **options | {"outputs": [name]})
        assert len(printed(again)) == names.index(name) + 1
    begun = loaded(path, **options | {"inputs": [names[1]]})
    assert len(printed(begun)) == len(names) - 2


def test_near_misses(tmp_path):
    _, path = kept(tmp_path, ".keras")
    for options, words in (
        ({"outputs": ["conv3"]}, r"^--outputs conv3: nothing is called so; names like it: .*conv2"),
        ({"inputs": ["con"], "outputs": ["fc"]}, "^--inputs con: .*: .*conv"),
        ({"inputs": ["flat"], "outputs": ["conv"]}, "no output depends on flat"),
    ):
        with pytest.raises(Failure, match=words):
            printed(loaded(path, **options))
