"""Files of Keras 2, made by tf_keras: read without it, and equal to what it computes."""

import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.harness import assert_equal
from tests.makers import DATA, IMAGE, loaded
from tests.test_original import said
from tf2caffe.failure import Failure

L = tf_keras.layers
STEPS = (5, 6)


def randomised(model):
    random = np.random.default_rng(1)
    for variable in model.variables:
        if variable.dtype.is_floating and "seed" not in variable.name:
            low = 0.5 if "variance" in variable.name else -0.5
            variable.assign(random.uniform(low, low + 1, variable.shape))
    return model


def chain(*layers, shape=IMAGE):
    """A model of layers in a row."""
    x = data = tf_keras.Input(shape, name="data")
    for layer in layers:
        x = layer(x)
    return randomised(tf_keras.Model(data, x))


def of_two(join, **options):
    data, other = tf_keras.Input(IMAGE, name="data"), tf_keras.Input(IMAGE, name="other")
    return randomised(tf_keras.Model([data, other], join([data, other], **options)))


def attention():
    query, value = tf_keras.Input(STEPS, name="query"), tf_keras.Input(STEPS, name="value")
    x = L.MultiHeadAttention(2, 4, name="attention")(query, value)
    return randomised(tf_keras.Model([query, value], x))


def functions():
    """What TensorFlow's functions make of Keras's tensors."""
    data = tf_keras.Input(IMAGE, name="data")
    x = L.Conv2D(4, 3, name="conv")(data)
    x = 2.0 - tf.nn.relu6(x * 2.0 + 1.0) / 3.0
    y = tf.concat([x[:, 1:, ::2], -x[:, 1:, ::2, :]], axis=-1)
    z = tf.reduce_mean(y[:, :, :, :3], axis=[1, 2], keepdims=True)
    y = tf.clip_by_value(y[:, :, :, 1:4] + z, -1.0, 1.5)
    y = tf.image.resize(y, (9, 11))
    first, second = tf.split(y, [1, 2], axis=-1)
    x = tf.transpose(tf.pad(first * second, [[0, 0], [1, 1], [0, 0], [0, 0]]), [0, 2, 1, 3])
    x = tf.reshape(tf.math.square(x), [-1, 11 * 11 * 2])
    x = tf.nn.softmax(tf.linalg.matmul(x, tf.ones((242, 5))), axis=-1)
    return randomised(tf_keras.Model(data, tf.cast(x, tf.float32)))


def adapted():
    """A Normalization that has looked at data."""
    norm = L.Normalization(axis=-1)
    norm.adapt(np.random.default_rng(4).normal(3.0, 2.0, (20, *IMAGE)))
    data = tf_keras.Input(IMAGE, name="data")
    return tf_keras.Model(data, norm(data))


def nested(frozen=False):
    """As Teachable Machine writes them: a Sequential of Sequentials, the first of a model."""
    data = tf_keras.Input(IMAGE, name="image")
    x = L.ReLU(6.0, name="relu")(L.BatchNormalization(name="bn")(L.Conv2D(4, 3)(data)))
    x = L.BatchNormalization(name="bn2")(L.DepthwiseConv2D(3, use_bias=False)(x))
    inner = tf_keras.Model(data, x, name="inner")
    features = tf_keras.Sequential([inner, L.GlobalAveragePooling2D()], name="sequential_1")
    dense = [L.Dense(7, activation="relu"), L.Dense(3, activation="softmax", use_bias=False)]
    model = tf_keras.Sequential([features, tf_keras.Sequential(dense, name="sequential_3")])
    model.build((None, *IMAGE))
    inner.trainable = not frozen
    return randomised(model)


def shared():
    """A model in a model, called twice, and a shared layer."""
    image = tf_keras.Input(IMAGE)
    inner = tf_keras.Model(image, L.Conv2D(3, 3, padding="same")(image), name="inner")
    data = tf_keras.Input(IMAGE, name="data")
    norm = L.BatchNormalization(name="norm")
    x = norm(inner(norm(inner(data))))
    return randomised(tf_keras.Model(data, [L.Add()([x, data]), inner(x)]))


def dictionaries():
    data, other = tf_keras.Input(IMAGE, name="data"), tf_keras.Input(IMAGE, name="other")
    x = L.Concatenate()([L.Conv2D(2, 1)(data), other])
    return randomised(tf_keras.Model({"data": data, "other": other}, {"b": x, "a": data * 2.0}))


class Mine(tf_keras.losses.Loss):
    def call(self, y_true, y_pred):
        return tf.reduce_mean(y_pred)


def compiled():
    """With a loss of the user's own, and an optimiser that has a state."""
    model = chain(L.Flatten(), L.Dense(3))
    model.compile(tf_keras.optimizers.Adam(1e-3), Mine(), ["accuracy"])
    model.fit(np.zeros((4, *IMAGE)), np.zeros((4, 3)), verbose=0)
    return model


def one(layer):
    return lambda: chain(layer())


def of_steps(layer):
    return lambda: chain(layer(), shape=STEPS)


ACTIVATIONS = (
    "elu", "exponential", "gelu", "hard_sigmoid", "relu", "selu", "sigmoid", "softmax",
    "softplus", "softsign", "swish", "tanh",
)  # fmt: skip

MODELS = {
    **{
        f"activation {name}": lambda name=name: chain(L.Conv2D(3, 3, activation=name))
        for name in ACTIVATIONS
    },
    "relu6": one(lambda: L.Conv2D(4, 3, activation=tf.nn.relu6)),
    "leaky_relu": one(lambda: L.Conv2D(4, 3, activation=tf.nn.leaky_relu)),
    "softmax of TensorFlow": one(lambda: L.Conv2D(4, 3, activation=tf.nn.softmax)),
    "a layer as activation": one(lambda: L.Conv2D(4, 3, activation=L.LeakyReLU(0.2))),
    "Activation": one(lambda: L.Activation("hard_sigmoid")),
    "depthwise": one(lambda: L.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)),
    "grouped": one(lambda: L.Conv2D(6, 3, groups=3, dilation_rate=2)),
    "separable": one(lambda: L.SeparableConv2D(5, 3, activation="hard_sigmoid")),
    "transposed": one(lambda: L.Conv2DTranspose(4, 3, strides=2, padding="same")),
    "regularised": one(lambda: L.Conv2D(
        4, 3, kernel_regularizer="l2", bias_regularizer=tf_keras.regularizers.L1L2(1e-3, 1e-4),
        kernel_initializer=tf_keras.initializers.VarianceScaling(2.0, "fan_out"),
        kernel_constraint="unit_norm", activity_regularizer="l1")),
    "norm": one(lambda: L.BatchNormalization(epsilon=0.02, momentum=0.9, scale=False)),
    "norm of rows": one(lambda: L.BatchNormalization(axis=2)),
    "synchronised norm": one(lambda: L.BatchNormalization(synchronized=True)),
    "SyncBatchNormalization": one(lambda: L.experimental.SyncBatchNormalization()),
    "layer norm": one(lambda: L.LayerNormalization(epsilon=0.02)),
    "layer norm of axes": one(lambda: L.LayerNormalization(axis=[1, 2, 3])),
    "group norm": one(lambda: L.GroupNormalization(3)),
    "ReLU": one(lambda: L.ReLU(4.0, 0.1, 0.5)),
    "LeakyReLU": one(lambda: L.LeakyReLU(0.2)),
    "PReLU": one(lambda: L.PReLU(shared_axes=[1, 2])),
    "ELU": one(lambda: L.ELU(0.7)),
    "ThresholdedReLU": one(lambda: L.ThresholdedReLU(0.6)),
    "Softmax": one(lambda: L.Softmax(axis=-1)),
    "pools": lambda: chain(L.MaxPooling2D(2, padding="same"), L.AveragePooling2D(2)),
    "global pools": lambda: of_two(lambda x: L.Add()(
        [L.GlobalMaxPooling2D(keepdims=True)(x[0]), L.GlobalAveragePooling2D(keepdims=True)(x[1])]
    )),
    "paddings": lambda: chain(L.ZeroPadding2D((1, 2)), L.Cropping2D(((0, 1), (2, 0)))),
    "bilinear": one(lambda: L.UpSampling2D((2, 3), interpolation="bilinear")),
    "nearest": one(lambda: L.UpSampling2D(2)),
    "random": lambda: chain(
        L.GaussianNoise(0.1), L.Dropout(0.5), L.SpatialDropout2D(0.5), L.GaussianDropout(0.2),
        L.AlphaDropout(0.1), L.ActivityRegularization(0.1), L.ReLU()),
    "prepared": lambda: chain(
        L.RandomFlip("horizontal"), L.RandomRotation(0.1), L.RandomZoom(0.1), L.RandomContrast(0.1),
        L.Resizing(12, 14), L.CenterCrop(8, 8), L.Rescaling(1 / 127.5, -1.0)),
    "normalised": one(lambda: L.Normalization(mean=[1.0, 2.0, 3.0], variance=[0.5, 1.0, 2.0])),
    "adapted": adapted,
    "shapes": lambda: chain(L.Permute((2, 1, 3)), L.Reshape((-1, 9)), L.Flatten(), L.Dense(4),
                            L.RepeatVector(3)),
    "Add": lambda: of_two(L.Add()),
    "Subtract": lambda: of_two(L.Subtract()),
    "Multiply": lambda: of_two(L.Multiply()),
    "Average": lambda: of_two(L.Average()),
    "Maximum": lambda: of_two(L.Maximum()),
    "Concatenate": lambda: of_two(L.Concatenate(axis=2)),
    "LSTM": of_steps(lambda: L.LSTM(4, return_sequences=True)),
    "LSTM of hard_sigmoid": of_steps(lambda: L.LSTM(4, recurrent_activation="hard_sigmoid")),
    "GRU": of_steps(lambda: L.GRU(4)),
    "GRU of old": of_steps(lambda: L.GRU(4, reset_after=False)),
    "SimpleRNN": of_steps(lambda: L.SimpleRNN(4)),
    "cells": of_steps(lambda: L.RNN([L.LSTMCell(3), L.GRUCell(4)])),
    "Bidirectional": of_steps(lambda: L.Bidirectional(L.LSTM(3), merge_mode="sum")),
    "TimeDistributed": of_steps(lambda: L.TimeDistributed(L.Dense(3))),
    "Conv1D": of_steps(lambda: L.Conv1D(4, 3, padding="causal")),
    "einsum": of_steps(lambda: L.EinsumDense("abc,cd->abd", (None, 4), bias_axes="d")),
    "attention": attention,
    "functions": functions,
    "slashes": lambda: chain(L.Conv2D(4, 3, name="block/conv"), L.ReLU(name="block/act")),
    "nested": nested,
    "frozen": lambda: nested(True),
    "shared": shared,
    "dictionaries": dictionaries,
    "compiled": compiled,
}  # fmt: skip


@pytest.fixture
def alone(monkeypatch):
    """Without tf_keras."""
    monkeypatch.setitem(sys.modules, "tf_keras", None)


def answers(trace, inputs):
    return trace.function(trace.outputs.values())(inputs)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
@pytest.mark.parametrize("name", MODELS)
def test_translated(name, suffix, tmp_path, alone):
    model, path = MODELS[name](), tmp_path / f"my{suffix}"
    model.save(path)
    trace = loaded(path)
    random = np.random.default_rng(2)
    inputs = {name: random.normal(size=(1, *x.shape[1:])).astype(np.float32) * 2
              for name, x in zip(model.input_names, model.inputs, strict=True)}  # fmt: skip
    assert inputs.keys() == trace.inputs.keys()
    given = inputs if isinstance(model.input, dict) else list(inputs.values())
    expected = model(given if len(inputs) > 1 else given[0], training=False)
    expected = (
        expected if isinstance(expected, dict) else dict(enumerate(tf.nest.flatten(expected)))
    )
    for ours, theirs in zip(answers(trace, inputs), expected.values(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def real(folder, make=nested, suffix=".h5"):
    model, path = make(), folder / f"my{suffix}"
    model.save(path)
    return path


@pytest.mark.parametrize("name", ["nested", "functions", "activation hard_sigmoid"])
def test_equal(name, tmp_path, pycaffe):
    """To real Caffe, and beside tf_keras."""
    trace = loaded(real(tmp_path, MODELS[name]))
    assert said(trace).startswith("compared: each output ")
    assert said(trace).endswith(" (as tf_keras computes it)")
    assert_equal(trace, tmp_path, pycaffe)


def test_keras_1(tmp_path, pycaffe):
    """A file that Keras 1 wrote (see tests/data/keras1.py), with what it answered there."""
    trace, known = loaded(DATA / "keras1.h5"), np.load(DATA / "keras1.npz")
    (name,) = trace.inputs
    ours = [answers(trace, {name: image[None]})[0][0] for image in known["image"]]
    np.testing.assert_allclose(ours, known["answer"], rtol=1e-4, atol=1e-6)
    assert_equal(trace, tmp_path, pycaffe)


def local():
    return chain(L.LocallyConnected2D(2, 3), L.Flatten(), L.Dense(3))


def test_only_keras_2_has_it(tmp_path, monkeypatch):
    path = real(tmp_path, local)
    assert said(loaded(path)).endswith(" (as tf_keras computes it)")
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    told = r"my.h5: Keras 2\S* wrote it, .*no LocallyConnected2D\); pip install .tf_keras.* does$"
    with pytest.raises(Failure, match=told):
        loaded(path)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_lambda_is_not_run(suffix, tmp_path):
    path = real(tmp_path, lambda: chain(L.Lambda(lambda x: x * 2, name="twice")), suffix)
    told = "layer twice is a Lambda, which holds code, and that is not run"
    with pytest.raises(Failure, match=told):
        loaded(path)


class Gate(L.Layer):
    def call(self, x):
        return x * 2


GATE = """
    import keras

    class Gate(keras.layers.Layer):
        def call(self, x):
            return x * 2
"""


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_custom_class(suffix, tmp_path):
    path = real(tmp_path, lambda: chain(Gate(name="gate"), L.ReLU()), suffix)
    with pytest.raises(Failure, match="Gate is not of Keras; --custom FILE.py names the file"):
        loaded(path)
    (tmp_path / "mine.py").write_text(textwrap.dedent(GATE))
    trace = loaded(path, custom=tmp_path / "mine.py")
    keras.saving.get_custom_objects().pop("Gate")
    image = np.float32(np.random.default_rng(0).normal(size=(1, *IMAGE)))
    np.testing.assert_array_equal(answers(trace, {"data": image})[0], np.maximum(image * 2, 0))


def test_weights_alone(tmp_path):
    model = chain(L.Conv2D(4, 3), L.Flatten(), L.Dense(3))
    (tmp_path / "my.json").write_text(model.to_json())
    with pytest.raises(Failure, match="my.json holds no weights; give their file with --weights"):
        loaded(tmp_path / "my.json")
    for name in ("my.h5", "other.weights.h5"):
        model.save_weights(tmp_path / name)
        with pytest.raises(Failure, match=f"{name} holds weights alone, and no architecture"):
            loaded(tmp_path / name)
    assert said(loaded(tmp_path / "my.json")).endswith(" (as tf_keras computes it)")
    assert "compared: each" in said(loaded(tmp_path / "my.json", weights=tmp_path / "my.h5"))
