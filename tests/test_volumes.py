"""Convolutions and pooling of three dimensions, tensors of five axes, crops, Fourier transforms."""

import keras
import pytest
import tensorflow as tf
from keras import layers

from tests.deployed import Deployed
from tests.harness import TOLERANCE, assert_equal, graph_trace, randomise
from tests.refusals import weights

VOLUME, MAPS, SEQUENCE = (1, 4, 5, 6, 3), (1, 5, 7, 4), (1, 3, 15)


def conv3d(*size, strides=(1, 1, 1), padding="SAME", **more):
    settings = [1, *strides, 1], padding
    return lambda x: tf.nn.conv3d(x, weights(*size, 3, 4), *settings, **more)


def boxes(*corners, **more):
    return lambda x: tf.image.crop_and_resize(x, list(corners), [0] * len(corners), [3, 4], **more)


def filtered(x):
    """A global filter in the frequencies."""
    spectrum = tf.signal.rfft2d(tf.transpose(x, [0, 3, 1, 2]))
    spectrum *= tf.complex(weights(4, 5, 4), 0.3 * weights(4, 5, 4))
    return tf.transpose(tf.signal.irfft2d(spectrum, [5, 7]), [0, 2, 3, 1])


# Name -> (function, the tensor's shape).
FUNCTIONS = {
    "conv3d": (conv3d(2, 3, 3), VOLUME),
    "conv3d_strides": (conv3d(3, 3, 2, strides=(2, 2, 3)), VOLUME),
    "conv3d_valid": (conv3d(2, 1, 2, strides=(1, 2, 1), padding="VALID"), VOLUME),
    "conv3d_dilated": (conv3d(2, 2, 3, dilations=[1, 2, 2, 1, 1]), VOLUME),
    "conv3d_pointwise": (conv3d(1, 1, 1), VOLUME),
    "conv3d_stride_beyond": (conv3d(1, 1, 1, strides=(3, 2, 2)), VOLUME),
    "conv3d_bias": (lambda x: tf.nn.bias_add(conv3d(2, 3, 3)(x), weights(4)), VOLUME),
    "conv3d_first": (
        lambda x: tf.nn.conv3d(x, weights(2, 3, 3, 4, 3), [1] * 5, "SAME", data_format="NCDHW"),
        VOLUME,
    ),
    "max_pool3d": (lambda x: tf.nn.max_pool3d(x, 2, 2, "SAME"), VOLUME),
    "max_pool3d_valid": (lambda x: tf.nn.max_pool3d(x, [2, 3, 1], [1, 2, 1], "VALID"), VOLUME),
    "avg_pool3d": (lambda x: tf.nn.avg_pool3d(x, 3, 2, "SAME"), VOLUME),
    "avg_pool3d_valid": (lambda x: tf.nn.avg_pool3d(x, [3, 2, 2], [1, 1, 2], "VALID"), VOLUME),
    "five_axes": (lambda x: tf.nn.relu(x * 2.0 + x) * weights(6, 3), VOLUME),
    "five_axes_mean": (lambda x: x - tf.reduce_mean(x, [2, 4], keepdims=True), VOLUME),
    "five_axes_max": (lambda x: tf.reduce_max(x, [1]), VOLUME),
    "five_axes_padded": (lambda x: tf.pad(x, [[0, 0], [1, 1], [0, 0], [1, 0], [0, 0]]), VOLUME),
    "dilated_1d": (lambda x: tf.nn.conv1d(x, weights(3, 15, 5), 1, "SAME", dilations=2), SEQUENCE),
    "dilated_transposed": (
        lambda x: tf.nn.conv2d_transpose(
            x, weights(3, 3, 2, 4), (1, 9, 11, 2), 1, "VALID", dilations=2
        ),
        MAPS,
    ),
    "crop": (boxes([0.1, 0.2, 0.8, 0.9]), MAPS),
    "crop_nearest": (boxes([0.1, 0.2, 0.8, 0.9], method="nearest"), MAPS),
    "crops": (boxes([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1]), MAPS),
    "crops_beyond_and_turned": (boxes([-0.3, 0.2, 1.5, 0.9], [0.9, 0.8, 0.1, 0.2]), MAPS),
    "rfft": (lambda x: tf.abs(tf.signal.rfft(x)), SEQUENCE),
    "rfft_shorter": (lambda x: tf.math.real(tf.signal.rfft(x, [8])), SEQUENCE),
    "rfft_longer": (lambda x: tf.math.imag(tf.signal.rfft(x, [20])), SEQUENCE),
    "spectrogram": (lambda x: tf.abs(tf.signal.stft(x, 8, 4)), (1, 32)),
    "framed": (lambda x: tf.signal.frame(x, 8, 4), (1, 32)),
    "rfft2d": (lambda x: tf.abs(tf.signal.rfft2d(x)), SEQUENCE),
    "filtered": (filtered, MAPS),
    "irfft_even": (lambda x: tf.signal.irfft(tf.signal.rfft(x, [16])), SEQUENCE),
    "fourier_mixing": (
        lambda x: tf.math.real(tf.signal.fft2d(tf.cast(x, tf.complex64))), SEQUENCE
    ),
    "ifft": (
        lambda x: tf.math.imag(tf.signal.ifft(tf.complex(x, 2 * x) - tf.complex(x * x, x))),
        SEQUENCE,
    ),
    "ifft2d": (lambda x: tf.math.real(tf.signal.ifft2d(tf.complex(x, 2 * x))), SEQUENCE),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name, runtime, tmp_path):
    function, shape = FUNCTIONS[name]
    assert_equal(graph_trace(function, shape), tmp_path, runtime)


@pytest.mark.parametrize("name", ["conv3d_bias", "avg_pool3d", "crops", "spectrogram"])
def test_deployed(name, runtime, tmp_path):
    function, shape = FUNCTIONS[name]
    for row in Deployed(graph_trace(function, shape), tmp_path).rows(runtime):
        assert row.error <= TOLERANCE, row


def test_network(runtime, tmp_path):
    """A small network on a volume, of Keras's layers."""
    data = keras.Input(VOLUME[1:])
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv3D(4, 3, padding="same")(data)))
    x = layers.MaxPooling3D(2, padding="same")(x)
    x = layers.Conv3D(5, 2, activation="relu")(x)
    model = randomise(keras.Model(data, layers.Dense(3)(layers.GlobalAveragePooling3D()(x))))
    converted = assert_equal(model, tmp_path, runtime)
    assert converted.net.bytes_of_weights() < 5 * 4 * model.count_params()
