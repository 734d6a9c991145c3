"""The deploy form: what is folded, what is not, and that both runtimes agree with TensorFlow."""

import keras
import pytest
from keras import layers, ops

import build_caffe
from tests.harness import TOLERANCE, Converted, randomise
from tf2caffe import blobs, deploy, parity
from tf2caffe.handoff import Handoff

IMAGE = (9, 11, 6)


class Deployed:
    """A converted network in its deploy form, beside the inspectable one."""

    def __init__(self, model, folder, images=2):
        self.converted = Converted(model, folder, images)
        self.table = blobs.load(self.converted.handoff.blobs)
        self.outputs = deploy.outputs_of(self.converted.graph, self.table)
        self.handoff = Handoff(folder, "net", deploy=True)
        self.net = deploy.deploy(self.converted.net, self.outputs)
        self.table = deploy.surviving(self.table, self.converted.net, self.net)
        build_caffe.write(self.handoff, self.net, self.net.prototxt(), self.table)

    def rows(self, runtime):
        files = self.handoff.prototxt, self.handoff.caffemodel
        table, converted = blobs.load(self.handoff.blobs), self.converted
        return parity.prove(runtime, *files, table, converted.inputs, converted.layers)

    def layer(self, kind):
        """The one layer of this type."""
        (found,) = (layer for layer in self.net.layers if layer.type == kind)
        return found

    def types(self):
        return " ".join(SHORT.get(layer.type, layer.type) for layer in self.net.layers[1:])


SHORT = {"Convolution": "Conv", "Deconvolution": "Deconv", "InnerProduct": "Dense"}


def norm(x, **settings):
    return layers.BatchNormalization(**settings)(x)


def conv(x, channels=5, kernel=3, stride=1, padding="valid", **settings):
    return layers.Conv2D(channels, kernel, stride, padding, **settings)(x)


def two_readers(x):
    y = conv(x)
    return norm(y) * layers.ReLU()(y)


def read_output(x):
    y = norm(conv(x))
    return [y, layers.ReLU()(y)]


def shared_norm(x):
    y = norm(x)
    return conv(y) + conv(y)


def dense_norm(x):
    return norm(layers.Dense(7)(layers.Flatten()(x)))


def flatten_relu(x):
    """Caffe's Flatten shares its input's memory, which the ReLU must not write over."""
    y = ops.square(x)
    first = layers.Dense(3)(layers.ReLU()(layers.Flatten()(y - 1.0)))
    return first * layers.Dense(3)(layers.GlobalMaxPooling2D()(y))


# Composition -> its output for an image of 9x11 pixels and 6 channels, and the layers that are left
NETWORKS = {
    "conv_norm": (lambda x: norm(conv(x)), "Conv"),
    "conv_norm_relu": (lambda x: layers.Activation("relu")(norm(conv(x))), "Conv ReLU"),
    "conv_norm_relu_conv": (lambda x: conv(layers.ReLU()(norm(conv(x)))), "Conv ReLU Conv"),
    "conv_same_stride_norm": (lambda x: norm(conv(x, 4, (3, 5), 2, "same")), "Conv"),
    "conv_no_bias_norm": (lambda x: norm(conv(x, use_bias=False)), "Conv"),
    "conv_grouped_norm": (lambda x: norm(conv(x, 4, padding="same", groups=2)), "Conv"),
    "depthwise_norm": (lambda x: norm(layers.DepthwiseConv2D(3, padding="same")(x)), "Conv"),
    "depthwise_multiplier_norm": (
        lambda x: norm(layers.DepthwiseConv2D(3, 2, depth_multiplier=2)(x)), "Conv",
    ),
    "deconv_norm": (lambda x: norm(layers.Conv2DTranspose(4, 3, 2, padding="same")(x)), "Deconv"),
    "upsample_norm": (lambda x: norm(layers.UpSampling2D((2, 3))(x)), "Deconv Deconv"),
    "dense_norm": (dense_norm, "Flatten Dense"),
    "dense_norm_elu": (lambda x: layers.Activation("sigmoid")(dense_norm(x)),
                       "Flatten Dense Sigmoid"),
    "norm_conv": (lambda x: conv(norm(x), dilation_rate=(1, 2)), "Conv"),
    "norm_conv_norm": (lambda x: norm(conv(norm(x), use_bias=False)), "Conv"),
    "norm_conv_grouped": (lambda x: conv(norm(x), 4, groups=2), "Conv"),
    "norm_conv_stride_beyond_kernel": (lambda x: conv(norm(x), 4, 1, (3, 2)), "Conv"),
    "norm_depthwise": (lambda x: layers.DepthwiseConv2D(3, depth_multiplier=2)(norm(x)), "Conv"),
    "norm_conv_padded": (lambda x: conv(norm(x), padding="same"), "Scale Conv"),
    "norm_deconv": (lambda x: layers.Conv2DTranspose(4, 3, 2)(norm(x)), "Scale Deconv"),
    "factor_conv_padded": (lambda x: conv(x / 7.0, padding="same"), "Conv"),
    "factors_conv_padded": (
        lambda x: conv(layers.Rescaling([1, 2, 3, 4, 5, 6.0])(x), padding="same"), "Conv",
    ),
    "factor_deconv": (
        lambda x: layers.Conv2DTranspose(4, 3, 2)(layers.Rescaling([1, 2, 3, 4, 5, 6.0])(x)),
        "Deconv",
    ),
    "norm_flatten_dense": (lambda x: layers.Dense(7)(layers.Flatten()(norm(x))), "Flatten Dense"),
    "number_flatten_dense": (
        lambda x: layers.Dense(7, use_bias=False)(layers.Flatten()(x * 2.0 - 0.7)),
        "Flatten Dense",
    ),
    "flatten_norm_dense": (
        lambda x: layers.Dense(7, use_bias=False)(norm(layers.Flatten()(x))), "Flatten Dense",
    ),
    "pool_norm_dense": (
        lambda x: layers.Dense(3)(norm(layers.GlobalAveragePooling2D()(x))),
        "Pooling Flatten Dense",
    ),
    "affine_chain": (lambda x: layers.ReLU()(norm(x * 3.0 + 0.2) - 0.5), "Scale ReLU"),
    "number_chain": (lambda x: ops.square((3.0 - x) * 2.0 + 0.5), "Power"),
    "idle": (lambda x: layers.ReLU()(x * 1.0 + 0.0), "ReLU"),
    "pad_conv": (lambda x: conv(layers.ZeroPadding2D((1, 2))(x), stride=2), "Conv"),
    "pad_conv_padded": (
        lambda x: conv(layers.ZeroPadding2D(1)(x), kernel=(3, 5), padding="same"), "Conv",
    ),
    "pad_uneven_depthwise": (
        lambda x: layers.DepthwiseConv2D(3, 2)(layers.ZeroPadding2D(((0, 1), (1, 2)))(x)), "Conv",
    ),
    "pad_far_uneven_conv": (
        lambda x: conv(layers.ZeroPadding2D(((0, 2), (0, 0)))(x)), "Conv Conv",
    ),
    "pad_uneven_conv_dilated": (
        lambda x: conv(layers.ZeroPadding2D(((0, 1), (0, 0)))(x), dilation_rate=2), "Conv Conv",
    ),
    "crop_conv": (lambda x: conv(layers.Cropping2D(1)(x)), "Conv Conv"),
    "pad_pool": (lambda x: layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x)), "Conv Pooling"),
    "crop_pool": (lambda x: layers.MaxPooling2D(2)(x), "Conv Pooling"),
    "pad_conv_norm_relu": (
        lambda x: layers.ReLU()(norm(conv(layers.ZeroPadding2D(1)(x)))), "Conv ReLU",
    ),
    "norm_pad_conv": (lambda x: conv(layers.ZeroPadding2D(1)(norm(x))), "Scale Conv"),
    "two_readers": (two_readers, "Conv Scale ReLU Eltwise"),
    "shared_norm": (shared_norm, "Scale Conv Conv Eltwise"),
    "read_output": (read_output, "Conv ReLU"),
    "residual": (lambda x: layers.ReLU()(norm(conv(x, 6, padding="same")) + x),
                 "Conv Eltwise ReLU"),
    "flatten_relu": (flatten_relu, "Power Flatten ReLU Dense Pooling Flatten Dense Eltwise"),
    "relu6": (lambda x: layers.ReLU(6)(norm(conv(x)) * 4.0), "Conv ReLU Power ReLU Eltwise"),
    "swish": (lambda x: layers.Activation("silu")(norm(conv(x))), "Conv Sigmoid Eltwise"),
    "elu": (lambda x: layers.Activation("elu")(norm(conv(x))), None),
    "gelu": (lambda x: ops.gelu(norm(conv(x)), approximate=False), None),
    "layer_norm": (lambda x: conv(layers.LayerNormalization()(x), padding="same"), None),
    "average_pool_same": (lambda x: norm(layers.AveragePooling2D(3, 2, padding="same")(x)), None),
}  # fmt: skip


def composition(name):
    data = keras.Input(IMAGE, name="data")
    return randomise(keras.Model(data, NETWORKS[name][0](data)))


def strays(rows):
    return [row.name for row in rows if not max(row.error, row.own) <= TOLERANCE]


@pytest.mark.parametrize("name", NETWORKS)
def test_composition(name, runtime, tmp_path):
    deployed = Deployed(composition(name), tmp_path)
    rows = deployed.rows(runtime)
    assert strays(rows) == []
    outputs = deployed.converted.graph.outputs
    assert {row.name for row in rows} >= set(outputs)
    assert deployed.outputs <= set(deployed.net.shapes)
    if NETWORKS[name][1]:
        assert deployed.types() == NETWORKS[name][1]
    before, after = deployed.converted.net, deployed.net
    assert len(after.layers) <= len(before.layers)
