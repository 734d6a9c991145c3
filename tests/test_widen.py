"""Models that compute in other floats, as float32; weights that are not float32 are refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.harness import assert_equal, randomise
from tests.makers import IMAGE, frozen, loaded, started, v1
from tests.test_original import said
from tf2caffe.failure import Failure
from tf2caffe.frontend import trace


def network(dtype):
    data = keras.Input(IMAGE, name="data")
    options = {"dtype": keras.DTypePolicy(dtype)}
    x = layers.Conv2D(4, 3, activation="relu", name="conv", **options)(data)
    x = layers.BatchNormalization(name="bn", **options)(x)
    x = layers.LayerNormalization(name="ln", **options)(x)
    x = layers.Dense(5, activation="softmax", name="fc", **options)(layers.Flatten(**options)(x))
    model = randomise(keras.Model(data, x))
    for variable in model.variables:  # to numbers that each of these floats has
        variable.assign(keras.ops.round(variable.value * 64) / 64)
    return model


FLOATS = ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64"]


@pytest.mark.parametrize("kind", [".keras", ""])
@pytest.mark.parametrize("dtype", FLOATS)
def test_keras(dtype, kind, tmp_path, pycaffe):
    model, path = network(dtype), tmp_path / f"my{kind}"
    model.save(path) if kind else model.export(path, verbose=False)
    read = loaded(path)
    told = said(read)
    name = dtype.removeprefix("mixed_")
    assert told.endswith(f" (computed in {name}, here and in Caffe in float32)")
    assert told.startswith("compared: each" if dtype == "float64" else "not compared: its own num")
    assert_equal(read, tmp_path, pycaffe)
    image = np.random.default_rng(0).normal(size=(1, *IMAGE)).astype(np.float32)
    expected = keras.ops.cast(model(image, training=False), "float32")
    (ours,) = read.function(read.outputs.values())({next(iter(read.inputs)): image})
    np.testing.assert_allclose(ours, expected, atol=0.1 if "16" in dtype else 1e-5)


@pytest.mark.parametrize("dtype", [tf.float16, tf.float64])
def test_frozen(dtype, tmp_path, pycaffe):
    random = np.random.default_rng(0)
    with tf.Graph().as_default():
        x = v1.placeholder(dtype, [None, *IMAGE], "x")
        kernel = random.integers(-9, 9, (3, 3, 3, 40)) / 16
        y = tf.nn.relu(tf.nn.conv2d(x, tf.constant(kernel, dtype), 1, "SAME"))
        tf.reduce_mean(y, [1, 2], name="y")
        path = frozen(started(), "y", tmp_path)
    assert_equal(loaded(path), tmp_path, pycaffe)


def test_digits_that_float32_has_not(tmp_path):
    model = network("float64")
    model.get_layer("conv").kernel.assign(np.full((3, 3, 3, 4), 1 / 3))
    read = trace.keras_trace(model)
    with pytest.raises(Failure, match="conv/kernel.* is float64, with more digits than Caffe's"):
        said(read)
