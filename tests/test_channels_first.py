"""Models with channels first (NCHW): each op, proven; in Caffe nothing moves."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

from tests.deployed import Deployed
from tests.harness import TOLERANCE, Converted, assert_equal, graph_trace, randomise
from tests.refusals import weights
from tf2caffe import convert, prove

IMAGE = (6, 9, 11)
FIRST = {"data_format": "channels_first"}


def conv(filters=5, size=3, **more):
    return layers.Conv2D(filters, size, **more, **FIRST)


# Name -> what a Keras model with channels first does with an image of 6 channels.
KERAS = {
    "conv": lambda x: conv(padding="same")(x),
    "conv_stride": lambda x: conv(4, (2, 3), strides=(2, 3), padding="same")(x),
    "conv_dilated": lambda x: conv(4, 3, dilation_rate=2)(x),
    "depthwise_dilated": lambda x: layers.DepthwiseConv2D(3, dilation_rate=(2, 3), **FIRST)(x),
    "depthwise_dilated_same": lambda x: layers.DepthwiseConv2D(
        3, dilation_rate=2, padding="same", **FIRST)(x),
    "conv_groups": lambda x: conv(4, 3, groups=2)(x),
    "conv_relu": lambda x: layers.LeakyReLU(0.2)(conv()(x)),
    "depthwise": lambda x: layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2, **FIRST)(x),
    "separable": lambda x: layers.SeparableConv2D(5, 3, padding="same", **FIRST)(x),
    "transposed": lambda x: layers.Conv2DTranspose(4, 3, 2, padding="same", **FIRST)(x),
    "batch_norm": lambda x: layers.BatchNormalization(axis=1)(conv()(x)),
    "batch_norm_first": lambda x: conv()(layers.BatchNormalization(axis=1)(x)),
    "max_pool": lambda x: layers.MaxPooling2D(3, 2, padding="same", **FIRST)(x),
    "average_pool": lambda x: layers.AveragePooling2D(3, 2, padding="same", **FIRST)(x),
    "global_average": lambda x: layers.GlobalAveragePooling2D(**FIRST)(conv()(x)),
    "global_max": lambda x: layers.GlobalMaxPooling2D(**FIRST, keepdims=True)(conv()(x)),
    "flatten": lambda x: layers.Dense(5)(layers.Flatten(**FIRST)(conv()(x))),
    "flatten_plain": lambda x: layers.Dense(5)(layers.Flatten()(conv()(x))),
    "concatenate": lambda x: conv()(layers.Concatenate(axis=1)([conv()(x), conv()(x)])),
    "padding": lambda x: conv()(layers.ZeroPadding2D(((1, 2), (0, 3)), **FIRST)(x)),
    "cropping": lambda x: conv()(layers.Cropping2D(((1, 2), (0, 3)), **FIRST)(conv()(x))),
    "upsampling": lambda x: conv()(layers.UpSampling2D((2, 3), **FIRST)(conv()(x))),
    "bilinear": lambda x: conv()(
        layers.UpSampling2D((2, 3), interpolation="bilinear", **FIRST)(conv()(x))
    ),
    "prelu": lambda x: conv()(layers.PReLU(shared_axes=[2, 3])(conv()(x))),
    "softmax": lambda x: conv()(layers.Softmax(axis=1)(conv()(x))),
    "elu_alpha": lambda x: layers.ELU(0.4)(conv()(x)),
    "gate": lambda x: x * layers.Conv2D(6, 1, activation="sigmoid", **FIRST)(
        layers.GlobalAveragePooling2D(**FIRST, keepdims=True)(x)
    ),
    "norm": lambda x: layers.LayerNormalization(axis=1)(conv()(x)),
    "group_norm": lambda x: layers.GroupNormalization(2, axis=1)(conv(4)(x)),
    "scaled": lambda x: conv()(x / 255.0 - np.linspace(0, 1, 6, dtype="f").reshape(6, 1, 1)),
    "dense_after": lambda x: layers.Dense(3)(layers.Permute((2, 3, 1))(conv()(x))),
    "conv_1d": lambda x: layers.Conv1D(4, 3, **FIRST)(layers.Reshape((6, 99))(x)),
    "resnet": lambda x: layers.ReLU()(
        layers.Add()([x, layers.BatchNormalization(axis=1)(conv(6, padding="same")(x))])
    ),
}  # fmt: skip


def nchw(function, **more):
    return lambda x: function(x, data_format="NCHW", **more)


def explicit(x):
    pads = [[0, 0], [0, 0], [1, 2], [0, 1]]
    return tf.nn.conv2d(x, weights(3, 3, 6, 4), [1, 1, 2, 1], pads, "NCHW")


# Name -> a function of TensorFlow's, as frozen graphs have it.
FUNCTIONS = {
    "explicit": explicit,
    "bias": lambda x: tf.nn.bias_add(explicit(x), weights(4), "NCHW"),
    "fused_norm": lambda x: tf.compat.v1.nn.fused_batch_norm(
        explicit(x), weights(4), weights(4), weights(4), tf.abs(weights(4)) + 1, 0.01, "NCHW", False
    )[0],
    "mean": lambda x: tf.reduce_mean(explicit(x), [2, 3]),
    "mean_channels": lambda x: tf.reduce_mean(explicit(x), 1, keepdims=True) * 2.0,
    "slice": lambda x: tf.split(explicit(x), 2, 1)[1] * explicit(x)[:, ::2, ::-1, :],
    "mirror": lambda x: explicit(
        tf.pad(explicit(tf.concat([x, x], 1)[:, 2:8]), [[0, 0], [1, 1], [1, 2], [2, 0]], "REFLECT")
    ),
    "constant": lambda x: explicit(tf.concat([x[:, 1:], weights(1, 1, 9, 11)], 1) * weights(9, 11)),
    "depth_to_space": lambda x: nchw(tf.nn.depth_to_space, block_size=2)(explicit(x)),
    "space_to_depth": lambda x: nchw(tf.nn.space_to_depth, block_size=2)(explicit(x)[:, :, :4, :8]),
    "default": lambda x: nchw(tf.nn.max_pool2d, ksize=2, strides=1, padding="SAME")(
        tf.compat.v1.placeholder_with_default(explicit(x), [None, 4, None, None])
    ),
    "two_outputs": lambda x: (explicit(x), tf.nn.relu(explicit(x))),
    "chosen": lambda x: tf.where(tf.constant([[[True]], [[False]]] * 2), explicit(x), 1.0),
}  # fmt: skip


def model(name):
    data = keras.Input(IMAGE, name="data")
    return randomise(keras.Model(data, KERAS[name](data)))


@pytest.mark.parametrize("name", KERAS)
def test_layer(name, runtime, tmp_path):
    assert_equal(model(name), tmp_path, runtime)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name, runtime, tmp_path):
    assert_equal(graph_trace(FUNCTIONS[name], (1, *IMAGE)), tmp_path, runtime)


@pytest.mark.parametrize("name", ["batch_norm_first", "gate", "flatten", "upsampling"])
def test_deployed(name, runtime, tmp_path):
    for row in Deployed(model(name), tmp_path).rows(runtime):
        assert row.error <= TOLERANCE, row


def test_nothing_moves(tmp_path):
    """The input is (1, C, H, W) as in TensorFlow, so is the output, and no layer only permutes."""
    net = Converted(model("resnet"), tmp_path).net
    assert [layer.type for layer in net.layers] == [
        "Input", "Convolution", "BatchNorm", "Scale", "Eltwise", "ReLU"
    ]  # fmt: skip
    assert net.shapes["data"] == net.shapes[net.results[0].blob] == (1, *IMAGE)


def test_images(tmp_path):
    """An image is turned as the model takes it."""
    pixels = np.random.default_rng(0).integers(0, 255, (9, 11, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    data = keras.Input((3, 9, 11))
    converted = convert(keras.Model(data, conv(2)(data)), name="net", folder=tmp_path)
    verdict = prove(converted, folder=tmp_path, images=tmp_path / "a.png", runtime="opencv")
    kept = np.load(converted.handoff.activations)
    assert verdict.equal and any(
        np.array_equal(kept[name], pixels.transpose(2, 0, 1)[None]) for name in kept.files
    )
