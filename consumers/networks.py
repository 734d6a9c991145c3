"""The networks of the matrix: small, of odd sizes, with random weights.

Together they have every layer type and setting that we write, in both forms, for the networks of
`tests/op_networks.py`: `tests/test_consumers.py` compares the `constructs` of both.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from models import mnistcls
from tests.harness import randomise
from tf2caffe.caffe import schema


def built(name):
    """The Keras model with random weights; its BatchNorms have the statistics of `inputs`."""
    model = randomise(NETWORKS[name]())
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    keras.utils.set_random_seed(1)  # of the Dropouts
    arrays = inputs(name, [(8, *tensor.shape[1:]) for tensor in model.inputs])
    model(arrays if len(arrays) > 1 else arrays[0], training=True)
    return model


def inputs(name, shapes, seed=1):
    """A random array (N, ...) of each shape: pixels for mnistcls, numbers around 0 for others."""
    middle, spread = (128, 64) if name == "mnistcls" else (0, 1)
    random = np.random.default_rng(seed)
    return [random.normal(middle, spread, shape).astype(np.float32) for shape in shapes]


def constructs(net):
    """What a Caffe network (`Net`) is made of: a text for each layer type, setting and rank."""
    shapes, found = {}, set()
    for layer in net.layers:
        rank = len(shapes[layer.bottoms[0]]) if layer.bottoms else len(layer.shape)
        found |= {f"{layer.type} {part}" for part in (f"of {rank} axes", *settings(layer.message))}
        if [len(blob.shape) for blob in layer.blobs[:1]] == [4] and layer.blobs[0].shape[1] == 1:
            found.add(f"{layer.type} with one input channel a group")
        if layer.bottoms and layer.bottoms[0] == layer.tops[0]:
            found.add(f"{layer.type} in place")
        shapes.update(zip(layer.tops, layer.shapes, strict=True))
    return found


def settings(message):
    """The settings that a layer's message gives; with their value if that is a choice."""
    for param in (value for field, value in message.ListFields() if field.message_type):
        for field, value in getattr(param, "ListFields", list)():
            texts = [f"{item:g}" for item in (value if schema.is_repeated(field) else [value])
                     if field.name in CHOICES]  # fmt: skip
            yield " ".join([field.name, *texts])


def residual():
    """As ResNet begins: padding before the layer, BatchNorm, a sum, classes at the end."""
    data = keras.Input((33, 35, 3), name="data")
    x = layers.ZeroPadding2D(3)(layers.Rescaling([0.1, 0.2, 0.3], [-1, 0, 1.0])(data))
    x = normed(layers.Conv2D(8, 7, 2, use_bias=False)(x))
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(layers.ReLU()(x)))
    y = layers.ReLU()(normed(layers.Conv2D(8, 3, padding="same", use_bias=False)(x)))
    y = normed(layers.Conv2D(8, 3, padding="same")(y))
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(layers.Dropout(0.5)(x))
    return keras.Model(data, layers.Dense(7, activation="softmax")(x))


def mobile():
    """As MobileNetV3: depthwise, SAME with stride on even sizes, hard swish, squeeze-excite."""
    data = keras.Input((30, 26, 3), name="data")
    x = layers.Activation("hard_silu")(normed(layers.Conv2D(8, 3, 2, "same")(data)))
    y = layers.ReLU(6)(normed(layers.Conv2D(16, 1, use_bias=False)(x)))
    y = layers.ReLU(6)(normed(layers.DepthwiseConv2D(5, padding="same", use_bias=False)(y)))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
    gate = layers.Conv2D(16, 1, activation="hard_sigmoid")(layers.Conv2D(4, 1)(gate))
    x = layers.Add()([x, normed(layers.Conv2D(8, 1)(y * gate))])
    x = layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2)(x)
    x = layers.Flatten()(layers.Activation("silu")(x))
    return keras.Model(data, layers.Dense(5, activation="softmax")(x))


def generator():
    """A picture out of a vector: Reshape, transposed convolutions, PReLU, TanH."""
    data = keras.Input((13,), name="data")
    x = layers.LeakyReLU(0.2)(normed(layers.Dense(4 * 5 * 6)(data)))
    x = layers.Conv2DTranspose(8, 3, 2, "same")(layers.Reshape((4, 5, 6))(x))
    x = layers.PReLU(shared_axes=[1, 2])(normed(x))
    x = layers.Conv2DTranspose(6, (5, 2), (3, 2), "same", use_bias=False)(x)
    x = layers.Conv2DTranspose(4, 4, 1, "same", activation="elu")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    return keras.Model(data, layers.Conv2D(3, 3, padding="same", activation="tanh")(x))


def segmenter():
    """As U-Net: down, up by repeating, joined with what was; classes for each pixel."""
    data = keras.Input((18, 22, 3), name="data")
    wide = layers.Conv2D(6, 3, padding="same", activation="relu")(data)
    x = layers.Conv2D(8, 3, dilation_rate=2, padding="same")(layers.MaxPooling2D(2)(wide))
    x = layers.Conv2D(8, 3, dilation_rate=(1, 2), activation="swish", padding="same")(x)
    x = layers.Concatenate()([layers.UpSampling2D((2, 2))(x), wide])
    x = tf_layer(lambda x: tf.image.resize(x, (27, 31)))(layers.Conv2D(5, 1)(x))
    return keras.Model(data, layers.Softmax()(x))


def transformer():
    """A block of ConvNeXt: LayerNormalization, dense layers pixel by pixel, gelu."""
    data = keras.Input((9, 11, 6), name="data")
    x = layers.DepthwiseConv2D(7, padding="same")(data)
    x = layers.Dense(12)(layers.LayerNormalization(epsilon=1e-6)(x))
    x = layers.Dense(6)(ops.gelu(x, approximate=False))
    x = layers.RMSNormalization()(data + x)
    x = layers.Dense(4)(layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x)))
    return keras.Model(data, layers.UnitNormalization()(x))


def windows():
    """Convolutions and poolings of uneven sizes, strides and paddings."""
    data = keras.Input((9, 11, 6), name="data")
    convolutions = [
        layers.Conv2D(4, (2, 3), (2, 3)),
        layers.Conv2D(4, (3, 5), 2, "same"),
        layers.Conv2D(4, (2, 4), padding="same", groups=2),
        layers.Conv2D(4, (4, 2), (3, 2), "same"),
        layers.Conv2D(4, 1, (3, 2), "same", use_bias=False),
        layers.Conv2D(4, 2, dilation_rate=3, padding="same"),
        layers.Conv2D(4, 3, dilation_rate=(2, 3), padding="same"),
        layers.DepthwiseConv2D(3, dilation_rate=2, padding="same"),
        layers.SeparableConv2D(5, 3, 2, "same"),
        layers.Conv2DTranspose(4, (3, 2), (2, 3)),
        layers.Conv2DTranspose(4, 3, 2, output_padding=1, use_bias=False),
    ]
    poolings = [
        pooling(kernel, stride, padding)
        for pooling in (layers.MaxPooling2D, layers.AveragePooling2D)
        for kernel in ((2, 2), (3, 4))
        for stride in (1, 2, 3)
        for padding in ("same", "valid")
    ]
    return keras.Model(data, [layer(data) for layer in convolutions + poolings])


def activations():
    """Those that Caffe has, and those that are written out of others."""
    data = keras.Input((9, 11, 6), name="data")
    names = """celu elu gelu glu hard_sigmoid hard_tanh selu sigmoid silu softsign squareplus tanh
        tanh_shrink relu6 leaky_relu"""
    vector = layers.GlobalMaxPooling2D()(data)
    outputs = [layers.Activation(name)(data) for name in names.split()]
    outputs += [layers.Activation(name)(vector) for name in ("sigmoid", "tanh", "relu", "elu")]
    outputs += [ops.erf(data), ops.clip(data, -1, 0.7), ops.gelu(data, approximate=True)]
    outputs += [layers.Softmax(axis=axis)(data) for axis in (1, 2, 3)]
    outputs += [layers.PReLU()(data), tf_layer(lambda x: tf.nn.lrn(x, 2, 1.5, 0.3, 0.75))(data)]
    return keras.Model(data, outputs)


def arithmetic():
    """Two operands: blobs, numbers, arrays, and what has to be spread."""
    data, other = keras.Input((9, 11, 6), name="data"), keras.Input((9, 11, 6), name="other")
    vector, pair = layers.GlobalAveragePooling2D()(data), [data, other]
    table = np.linspace(-1, 1, 99 * 6, dtype=np.float32).reshape(9, 11, 6)
    row = np.linspace(-1, 1, 6, dtype=np.float32)
    positive = ops.abs(data) + 0.5
    outputs = [layer()(pair) for layer in (layers.Add, layers.Subtract, layers.Multiply)]
    outputs += [layer()(pair) for layer in (layers.Maximum, layers.Minimum, layers.Average)]
    outputs += [layers.Add()([data, other, 2 * data]), other / positive, 3 / positive]
    outputs += [
        ops.subtract(row, data),
        ops.maximum(data, row),
        data + table,
        data * table[:, :1],
        ops.power(positive, 3),
    ]
    outputs += [ops.square(data), ops.sqrt(positive), ops.rsqrt(positive), data * row + row]
    outputs += [data * layers.Conv2D(1, 3, padding="same")(other), vector * 2.0 + row, vector**2]
    outputs += [data + ops.mean(data, axis=2, keepdims=True), vector + layers.Dense(1)(vector)]
    outputs += [data - ops.sum(data, axis=-1, keepdims=True), layers.Multiply()([vector, -vector])]
    outputs += [ops.reciprocal(positive), ops.maximum(vector, 0.1), vector / (1 + ops.abs(vector))]
    return keras.Model([data, other], outputs)


def reductions():
    """Mean, sum, maximum and minimum over each axis, variance, length."""
    data = keras.Input((9, 11, 6), name="data")
    axes = (1, 2, 3, (1, 2), (1, 2, 3))
    outputs = [
        reduce(data, axis=axis, keepdims=True)
        for reduce in (ops.mean, ops.sum, ops.max, ops.min)
        for axis in axes
    ]
    outputs += [ops.var(data, axis=-1), ops.mean(data, axis=-1), ops.max(data, axis=(1, 2))]
    vector = layers.GlobalMaxPooling2D()(data)
    outputs += [ops.max(vector, axis=-1, keepdims=True), ops.mean(vector, axis=-1, keepdims=True)]
    return keras.Model(data, outputs)


def moves():
    """What is joined, cut, padded, turned and sized; and sequences."""
    data = keras.Input((9, 11, 6), name="data")
    vector, rows = layers.GlobalAveragePooling2D()(data), layers.Reshape((99, 6))(data)
    double = data * 2.0
    outputs = [layers.Concatenate(axis=axis)([data, double]) for axis in (1, 2, 3)]
    outputs += [layers.Concatenate()([vector, layers.GlobalMaxPooling2D()(data)])]
    outputs += [layers.ZeroPadding2D(((1, 2), (0, 3)))(data), data[:, 1:8:2, ::3, 1:5]]
    outputs += [layers.Cropping2D(((1, 2), (0, 3)))(data), data[..., ::-1], vector[:, 1:4]]
    outputs += [layers.Dense(5)(layers.Flatten()(layers.Permute((2, 3, 1))(data)))]
    outputs += [layers.Conv2D(4, (3, 2))(layers.Permute((2, 1, 3))(data))]
    outputs += [layers.UpSampling2D((2, 3))(data), layers.Resizing(4, 7)(data)]
    outputs += [layers.UpSampling2D((2, 3), interpolation="bilinear")(data)]
    outputs += [tf_layer(lambda x: tf.nn.depth_to_space(x[..., :4], 2))(data)]
    outputs += [tf_layer(lambda x: tf.nn.space_to_depth(x[:, :8, :10], 2))(data)]
    outputs += [layers.Conv1D(5, 3, 2, "same")(rows), layers.DepthwiseConv1D(3)(rows)]
    outputs += [layers.MaxPooling1D(3, padding="same")(rows), layers.ZeroPadding1D((1, 3))(rows)]
    outputs += [layers.BatchNormalization(axis=1)(data), layers.RepeatVector(3)(vector)]
    outputs += [tf_layer(lambda x: tf.pad(x, PADS, constant_values=1.5))(data)]
    return keras.Model(data, outputs)


def logarithms():
    """What is written out of powers: not every consumer has Log and BNLL, nor Exp below."""
    data = keras.Input((9, 11, 6), name="data")
    vector = layers.GlobalMaxPooling2D()(data)
    names = ("softplus", "mish", "log_sigmoid", "log_softmax")
    outputs = [layers.Activation(name)(data) for name in names]
    return keras.Model(data, [*outputs, layers.Activation("log_softmax")(vector)])


def exponentials():
    data = keras.Input((9, 11, 6), name="data")
    return keras.Model(data, [ops.exp(data), ops.expm1(data)])


def normed(x):
    return layers.BatchNormalization(epsilon=0.01)(x)


def tf_layer(function):
    """A plain TensorFlow function as a layer."""
    return type("Function", (layers.Layer,), {"call": lambda self, x: function(x)})()


PADS = [[0, 0], [1, 0], [2, 1], [0, 0]]

# Settings that are told apart by their values too.
CHOICES = {"axis", "bias_term", "coeff", "global_pooling", "operation", "pool", "power"}

# Name -> the function that makes its Keras model, without random weights yet.
NETWORKS = {
    "mnistcls": mnistcls.build,
    "residual": residual,
    "mobile": mobile,
    "generator": generator,
    "segmenter": segmenter,
    "transformer": transformer,
    "windows": windows,
    "activations": activations,
    "arithmetic": arithmetic,
    "reductions": reductions,
    "moves": moves,
    "logarithms": logarithms,
    "exponentials": exponentials,
}
