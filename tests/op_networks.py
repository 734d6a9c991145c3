"""A small network for each op: layers with random weights on an image of odd size."""

import numpy as np
import tensorflow as tf
from keras import layers, ops

IMAGE = (9, 11, 6)
SLOPES = np.linspace(-0.5, 1.5, 6, dtype=np.float32)

# Layer or composition -> its output for an image of 9x11 pixels and 6 channels.
NETWORKS = {
    "conv_same": lambda x: layers.Conv2D(5, 3, padding="same")(x),
    "conv_valid_stride": lambda x: layers.Conv2D(4, (2, 3), (2, 3))(x),
    "conv_no_bias": lambda x: layers.Conv2D(4, 1, use_bias=False)(x),
    "conv_same_stride": lambda x: layers.Conv2D(4, (3, 5), 2, padding="same")(x),
    "conv_same_even": lambda x: layers.Conv2D(4, (2, 4), padding="same")(x),
    "conv_same_even_stride": lambda x: layers.Conv2D(4, (4, 2), (3, 2), padding="same")(x),
    "conv_stride_beyond_kernel": lambda x: layers.Conv2D(4, 1, (3, 2), padding="same")(x),
    "conv_dilated": lambda x: layers.Conv2D(4, 3, dilation_rate=2)(x),
    "conv_dilated_same": lambda x: layers.Conv2D(4, 3, dilation_rate=(2, 3), padding="same")(x),
    "conv_dilated_even": lambda x: layers.Conv2D(4, 2, dilation_rate=3, padding="same")(x),
    "conv_two_biases": lambda x: layers.Conv2D(4, 1)(x) + np.arange(1, 5, dtype=np.float32),
    "conv_grouped": lambda x: layers.Conv2D(4, 3, groups=2, padding="same")(x),
    "depthwise": lambda x: layers.DepthwiseConv2D(3, padding="same")(x),
    "depthwise_multiplier": lambda x: layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2)(x),
    "depthwise_dilated": lambda x: layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(x),
    "separable": lambda x: layers.SeparableConv2D(5, 3, 2, padding="same")(x),
    "transposed_same": lambda x: layers.Conv2DTranspose(4, 3, 2, padding="same")(x),
    "transposed_same_4": lambda x: layers.Conv2DTranspose(4, 4, 2, padding="same")(x),
    "transposed_same_5_3": lambda x: layers.Conv2DTranspose(4, (5, 2), 3, padding="same")(x),
    "transposed_same_2_1": lambda x: layers.Conv2DTranspose(4, 2, 1, padding="same")(x),
    "transposed_valid": lambda x: layers.Conv2DTranspose(4, 3, 2)(x),
    "transposed_gap": lambda x: layers.Conv2DTranspose(4, 2, 3, use_bias=False)(x),
    "transposed_extra": lambda x: layers.Conv2DTranspose(4, 3, 2, output_padding=1)(x),
    "conv_1d": lambda x: layers.Conv1D(5, 3, 2, padding="same")(layers.Reshape((99, 6))(x)),
    "depthwise_1d": lambda x: layers.DepthwiseConv1D(3)(layers.Reshape((99, 6))(x)),
    "dilated_1d": lambda x: layers.Conv1D(5, 3, padding="same", dilation_rate=4)(
        layers.Reshape((99, 6))(x)
    ),
    "dilated_1d_valid": lambda x: layers.Conv1D(5, 4, dilation_rate=5, activation="relu")(
        layers.Reshape((99, 6))(x)
    ),
    "dilated_1d_causal": lambda x: layers.Conv1D(5, 3, padding="causal", dilation_rate=2)(
        layers.Reshape((99, 6))(x)
    ),
    "dilated_1d_grouped": lambda x: layers.Conv1D(6, 3, dilation_rate=3, groups=3)(
        layers.Reshape((99, 6))(x)
    ),
    "dilated_1d_depthwise": lambda x: layers.DepthwiseConv1D(
        3, depth_multiplier=2, padding="same", dilation_rate=7
    )(layers.Reshape((99, 6))(x)),
    "dilated_1d_separable": lambda x: layers.SeparableConv1D(4, 3, dilation_rate=2)(
        layers.Reshape((99, 6))(x)
    ),
    "batch_norm": lambda x: layers.BatchNormalization(epsilon=0.01)(x),
    "batch_norm_plain": lambda x: layers.BatchNormalization(center=False, scale=False)(x),
    "batch_norm_no_scale": lambda x: layers.BatchNormalization(scale=False)(x),
    "batch_norm_no_center": lambda x: layers.BatchNormalization(center=False)(x),
    "batch_norm_height": lambda x: layers.BatchNormalization(axis=1)(x),
    "layer_norm": lambda x: layers.LayerNormalization(epsilon=1e-6)(x),
    "layer_norm_plain": lambda x: layers.LayerNormalization(center=False, scale=False)(x),
    "layer_norm_vector": lambda x: layers.LayerNormalization()(layers.GlobalAveragePooling2D()(x)),
    "rms_norm": lambda x: layers.RMSNormalization()(x),
    "unit_norm": lambda x: layers.UnitNormalization()(x),
    "normalization": lambda x: layers.Normalization(mean=[1, 2, 3, 4, 5, 6], variance=[1.5] * 6)(x),
    "rescaling": lambda x: layers.Rescaling(1 / 127.5, -1)(x),
    "rescaling_channels": lambda x: layers.Rescaling([1, 2, 3, 4, 5, 6.0], [1, 0, 0, 2, 0, 0])(x),
    "lrn": lambda x: Wrapped(lambda x: tf.nn.lrn(x, 2, 1.5, 0.3, 0.75))(x),
    "dense": lambda x: layers.Dense(7)(layers.Flatten()(x)),
    "dense_transposed": lambda x: Wrapped(
        lambda x: tf.matmul(x, np.linspace(-1, 1, 30, dtype="f").reshape(5, 6), transpose_b=True)
    )(layers.GlobalAveragePooling2D()(x)),
    "dense_sum": lambda x: layers.Add()(
        [layers.Dense(5)(layers.Flatten()(x)), layers.Dense(5)(layers.GlobalMaxPooling2D()(x))]
    ),
    "conv_plus_vector": lambda x: layers.Add()(
        [layers.Conv2D(6, 1)(x), layers.GlobalAveragePooling2D(keepdims=True)(x)]
    ),
    "dense_pixelwise": lambda x: layers.Dense(7, activation="relu")(x),
    "dense_sequence": lambda x: layers.Dense(7)(layers.Reshape((99, 6))(x)),
    "dense_einsum": lambda x: layers.EinsumDense("bhwc,cd->bhwd", (9, 11, 5), bias_axes="d")(x),
    "flatten_norm_dense": lambda x: layers.Dense(7, use_bias=False)(
        layers.BatchNormalization()(layers.Flatten()(x))
    ),
    "max_pool": lambda x: layers.MaxPooling2D(2)(x),
    "max_pool_same": lambda x: layers.MaxPooling2D(2, padding="same")(x),
    "max_pool_3_2": lambda x: layers.MaxPooling2D(3, 2)(x),
    "max_pool_3_2_same": lambda x: layers.MaxPooling2D((3, 4), 2, padding="same")(x),
    "max_pool_2_1_same": lambda x: layers.MaxPooling2D(2, 1, padding="same")(x),
    "max_pool_4_1_same": lambda x: layers.MaxPooling2D((4, 3), 1, padding="same")(x),
    "max_pool_gap": lambda x: layers.MaxPooling2D(1, 2, padding="same")(x),
    "max_pool_stride_beyond": lambda x: layers.MaxPooling2D(1, 5)(x),
    "max_pool_1d": lambda x: layers.MaxPooling1D(3, padding="same")(layers.Reshape((99, 6))(x)),
    "max_pool_negative": lambda x: layers.MaxPooling2D(3, 2, padding="same")(x - 50.0),
    "average_pool": lambda x: layers.AveragePooling2D(2)(x),
    "average_pool_same": lambda x: layers.AveragePooling2D(3, 2, padding="same")(x),
    "average_pool_even": lambda x: layers.AveragePooling2D((2, 4), 1, padding="same")(x),
    "average_pool_3_3": lambda x: layers.AveragePooling2D((3, 4), 3)(x),
    "global_average": lambda x: layers.GlobalAveragePooling2D()(x),
    "global_average_kept": lambda x: layers.GlobalAveragePooling2D(keepdims=True)(x),
    "global_max": lambda x: layers.GlobalMaxPooling2D()(x),
    "global_average_1d": lambda x: layers.GlobalAveragePooling1D()(layers.Reshape((99, 6))(x)),
    "mean_height": lambda x: ops.mean(x, axis=1, keepdims=True),
    "mean_width_dropped": lambda x: layers.Dense(3)(layers.Flatten()(ops.mean(x, axis=2))),
    "mean_channels": lambda x: ops.mean(x, axis=-1),
    "mean_all": lambda x: ops.mean(x, axis=(1, 2, 3), keepdims=True),
    "sum_channels": lambda x: ops.sum(x, axis=-1, keepdims=True),
    "sum_image": lambda x: ops.sum(x, axis=(1, 2)),
    "max_channels": lambda x: ops.max(x, axis=-1, keepdims=True),
    "min_image": lambda x: ops.min(x, axis=(1, 2)),
    "variance": lambda x: ops.var(x, axis=-1, keepdims=True),
    "length": lambda x: ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True)),
    "relu": lambda x: layers.ReLU()(x),
    "relu6": lambda x: layers.ReLU(6)(x * 4.0),
    "relu_max": lambda x: layers.ReLU(1.5)(x),
    "leaky_relu": lambda x: layers.LeakyReLU(0.3)(x),
    "prelu": lambda x: layers.PReLU(shared_axes=[1, 2])(x),
    "prelu_full": lambda x: layers.PReLU()(x),
    "softmax": lambda x: layers.Softmax()(x),
    "softmax_height": lambda x: layers.Softmax(axis=1)(x),
    "softmax_width": lambda x: layers.Softmax(axis=2)(x),
    "log_softmax": lambda x: layers.Activation("log_softmax")(x * 30.0),
    "log_softmax_vector": lambda x: layers.Activation("log_softmax")(
        layers.GlobalMaxPooling2D()(x) * 60.0
    ),
    "gelu_tanh": lambda x: ops.gelu(x, approximate=True),
    "gelu_erf": lambda x: ops.gelu(x, approximate=False),
    "erf": lambda x: ops.erf(x),
    "clip": lambda x: ops.clip(x, -1, 0.7),
    "abs": lambda x: ops.abs(x),
    "cube": lambda x: ops.power(x, 3),
    "exp": lambda x: ops.exp(x),
    "expm1": lambda x: ops.expm1(x),
    "log": lambda x: ops.log(ops.abs(x) + 0.5),
    "add": lambda x: layers.Add()([x, x * 2.0, 3.0 - x]),
    "add_n": lambda x: Wrapped(lambda x: tf.add_n([x, x * 2, 3 - x, x * x]))(x),
    "subtract": lambda x: layers.Subtract()([x, x * 2.0]),
    "multiply": lambda x: layers.Multiply()([x, 1.0 + x]),
    "divide": lambda x: x / (2.0 + ops.abs(x)),
    "one_over": lambda x: Wrapped(lambda x: 1.0 / (2.0 + tf.abs(x)))(x),
    "nothing_minus": lambda x: Wrapped(lambda x: 0.0 - x)(x),
    "divide_number": lambda x: 3.0 / (2.0 + ops.abs(x)) + x / 7.0,
    "average": lambda x: layers.Average()([x, x * x]),
    "maximum": lambda x: layers.Maximum()([x, -0.5 * x]),
    "minimum": lambda x: layers.Minimum()([x, -0.5 * x]),
    "squared_difference": lambda x: Wrapped(lambda x: tf.math.squared_difference(x, 2 * x))(x),
    "squeeze_excite": lambda x: (
        x * layers.Dense(6, "sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    ),
    "spatial_gate": lambda x: x * layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x),
    "row_gate": lambda x: x + ops.mean(x, axis=2, keepdims=True),
    "position": lambda x: x + np.arange(99 * 6, dtype=np.float32).reshape(9, 11, 6) / 100,
    "position_rows": lambda x: x * np.linspace(1, 2, 9, dtype=np.float32).reshape(1, 9, 1, 1),
    "channel_vector": lambda x: ops.subtract(np.arange(1, 7, dtype=np.float32), x),
    "channel_maximum": lambda x: ops.maximum(x, np.linspace(-1, 1, 6, dtype=np.float32)),
    "concatenate": lambda x: layers.Concatenate()([x, x * 2.0]),
    "concatenate_height": lambda x: layers.Concatenate(axis=1)([x, x * 2.0]),
    "concatenate_width": lambda x: layers.Concatenate(axis=2)([x, x * 2.0]),
    "concatenate_vectors": lambda x: layers.Concatenate()(
        [layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)]
    ),
    "reshape_back": lambda x: layers.Conv2D(3, 3)(layers.Reshape((9, 11, 6))(layers.Flatten()(x))),
    "reshape_vector": lambda x: layers.Conv2D(3, 1)(
        layers.Reshape((1, 1, 6))(layers.GlobalAveragePooling2D()(x))
    ),
    "permute_output": lambda x: layers.Permute((3, 1, 2))(x),
    "permute_flatten": lambda x: layers.Dense(5)(layers.Flatten()(layers.Permute((2, 3, 1))(x))),
    "permute_convolve": lambda x: layers.Conv2D(4, (3, 2))(layers.Permute((2, 1, 3))(x)),
    "dense_image": lambda x: layers.Conv2DTranspose(3, 3, 2, padding="same")(
        layers.Reshape((4, 5, 3))(
            layers.LeakyReLU()(
                layers.BatchNormalization()(layers.Dense(60)(layers.GlobalMaxPooling2D()(x)))
            )
        )
    ),
    "concatenate_flattened": lambda x: layers.Dense(4)(
        layers.BatchNormalization()(
            layers.Concatenate()(
                [layers.Flatten()(x), layers.Flatten()(x[:, :4]), layers.GlobalMaxPooling2D()(x)]
            )
        )
    ),
    "channel_shuffle": lambda x: layers.Conv2D(4, 3)(
        layers.Reshape((9, 11, 6))(layers.Permute((1, 2, 4, 3))(layers.Reshape((9, 11, 2, 3))(x)))
    ),
    "zero_padding": lambda x: layers.ZeroPadding2D(((1, 2), (0, 3)))(x),
    "padding_value": lambda x: Wrapped(
        lambda x: tf.pad(x, [[0, 0], [1, 0], [2, 1], [0, 0]], constant_values=1.5)
    )(x),
    "zero_padding_1d": lambda x: layers.ZeroPadding1D((1, 3))(layers.Reshape((99, 6))(x)),
    "cropping": lambda x: layers.Cropping2D(((1, 2), (0, 3)))(x),
    "slice_strided": lambda x: x[:, 1:8:2, ::3, 1:5],
    "slice_channel": lambda x: x[:, :, :, 2],
    "channels_reversed": lambda x: x[..., ::-1],
    "slice_row": lambda x: layers.Dense(3)(layers.Flatten()(x[:, 4])),
    "slice_vector": lambda x: layers.GlobalAveragePooling2D()(x)[:, 1:4],
    "split": lambda x: ops.split(x, 3, axis=-1)[1] + ops.split(x, [2, 4], axis=-1)[2],
    "unstack": lambda x: Wrapped(lambda x: tf.unstack(x, axis=3)[1])(x),
    "upsample_nearest": lambda x: layers.UpSampling2D((2, 3))(x),
    "upsample_1d": lambda x: layers.UpSampling1D(3)(layers.Reshape((99, 6))(x)),
    "upsample_bilinear": lambda x: layers.UpSampling2D((2, 3), interpolation="bilinear")(x),
    "resize_nearest_any": lambda x: Wrapped(lambda x: tf.image.resize(x, (13, 5), "nearest"))(x),
    "resize_bilinear_any": lambda x: Wrapped(lambda x: tf.image.resize(x, (14, 30)))(x),
    "resize_smaller": lambda x: layers.Resizing(4, 7)(x),
    "resize_bilinear_corners": lambda x: Wrapped(
        lambda x: tf.compat.v1.image.resize_bilinear(x, (17, 21), align_corners=True)
    )(x),
    "resize_bilinear_old": lambda x: Wrapped(
        lambda x: tf.compat.v1.image.resize_bilinear(x, (18, 15))
    )(x),
    "resize_nearest_corners": lambda x: Wrapped(
        lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, (18, 15), align_corners=True)
    )(x),
    "resize_nearest_old": lambda x: Wrapped(
        lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, (13, 15))
    )(x),
    "depth_to_space": lambda x: Wrapped(
        lambda x: tf.nn.depth_to_space(tf.concat([x, 2 * x[..., :2]], -1), 2)
    )(x),
    "space_to_depth": lambda x: Wrapped(lambda x: tf.nn.space_to_depth(x[:, :8, :10], 2))(x),
    "repeat_vector": lambda x: layers.RepeatVector(3)(layers.GlobalAveragePooling2D()(x)),
    "prelu_vector": lambda x: layers.Dense(3)(layers.PReLU()(layers.Flatten()(x))),
    "prelu_sequence": lambda x: layers.PReLU(shared_axes=[1])(layers.Reshape((99, 6))(x)),
    "prelu_permuted": lambda x: layers.PReLU(shared_axes=[1, 2])(layers.Permute((3, 1, 2))(x)),
    "prelu_of_negatives": lambda x: Wrapped(lambda x: tf.nn.relu(x) + SLOPES * -tf.nn.relu(-x))(x),
    "prelu_less_below": lambda x: Wrapped(lambda x: tf.nn.relu(x) - SLOPES * tf.nn.relu(-x))(x),
    "prelu_of_minimum": lambda x: Wrapped(
        lambda x: SLOPES * tf.minimum(x, 0.0) + tf.maximum(x, 0.0)
    )(x),
    "prelu_of_size": lambda x: Wrapped(lambda x: tf.nn.relu(x) + SLOPES * (x - tf.abs(x)) * 0.5)(x),
    "split_whole": lambda x: layers.Add()([part * 0.5 for part in ops.split(x, 3, axis=-1)]),
    "split_rows": lambda x: ops.concatenate(ops.split(x, [2, 3], axis=1)[::-1], axis=1),
    "split_sequence": lambda x: layers.Subtract()(
        ops.split(layers.Reshape((99, 6))(x)[:, 3:], 2, axis=1)
    ),
    "split_vector": lambda x: layers.Multiply()(ops.split(layers.Flatten()(x), 2, axis=1)),
    "split_cut_again": lambda x: x[..., :2] * x[..., 2:4] + x[..., 4:] * x[..., 1:3],
    "spatial_dropout": lambda x: layers.Conv2D(3, 3)(layers.SpatialDropout2D(0.5)(x)),
}
ACTIVATIONS = """
    celu elu gelu glu hard_sigmoid hard_silu hard_tanh log_sigmoid mish selu sigmoid silu softplus
    softsign squareplus tanh tanh_shrink
"""
NETWORKS |= {name: lambda x, name=name: layers.Activation(name)(x) for name in ACTIVATIONS.split()}


class Wrapped(layers.Layer):
    """A plain TensorFlow function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)
