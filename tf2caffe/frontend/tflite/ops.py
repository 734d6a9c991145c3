"""TFLite's ops in TensorFlow's: one function for each, in the table at the foot.

A function gets an `Op` and gives the tensor that TFLite's op gives, or a list of them. What TFLite
has in one op (a convolution, its bias and its ReLU) becomes several of TensorFlow's.
"""

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from tf2caffe.failure import Failure
from tf2caffe.frontend.tflite.file import MISSING


class Op:
    """An op of the file while it is written: its `options`, and what it reads.

    `net` (see `write.Writer`) has the tensors and constants.
    """

    def __init__(self, op, kind, net):
        self.op, self.kind, self.net = op, kind, net
        self.options = op.builtinOptions or op.builtinOptions2
        self.inputs = [int(at) for at in (op.inputs if op.inputs is not None else [])]

    def has(self, at):
        return at < len(self.inputs) and self.inputs[at] != MISSING

    def __getitem__(self, at):
        """Operand `at` as a tensor."""
        return self.net.tensor(self.inputs[at])

    def all(self):
        return [self[at] for at in range(len(self.inputs))]

    def static(self, at):
        """Operand `at` as an array. Raises `Failure` where it depends on the input."""
        value = self.net.static(self.inputs[at])
        if value is None:
            raise Failure(f"operand {at} is computed from the input, and Caffe needs a constant")
        return value

    def numbers(self, at):
        """Operand `at` as a list of whole numbers."""
        return [int(number) for number in np.ravel(self.static(at))]

    def weight(self, at, change):
        """Operand `at`, a weight in TFLite's layout, `change`d to TensorFlow's."""
        return self.net.weight(self.inputs[at], change)

    def option(self, name, default=0):
        """A setting; a file that leaves it out means `default`."""
        return getattr(self.options, name, default) if self.options else default

    def activated(self, x):
        """What the op's fused activation makes of x."""
        number = self.option("fusedActivationFunction")
        if number not in ACTIVATIONS:
            raise Failure(f"its fused activation is {number}, which TFLite does not compute either")
        if number:
            self.net.before[int(self.op.outputs[0])] = x
        return ACTIVATIONS[number](x)

    def padding(self):
        return "VALID" if self.option("padding") == schema.Padding.VALID else "SAME"

    def strides(self):
        return [1, self.option("strideH"), self.option("strideW"), 1]

    def with_bias(self, x, at):
        return tf.nn.bias_add(x, self[at]) if self.has(at) else x


def conv_2d(op):
    """Its kernel is (out, height, width, in)."""
    kernel = op.weight(1, lambda array: _moved(array, (1, 2, 3, 0)))  # OHWI -> HWIO
    rates = [1, op.option("dilationHFactor", 1), op.option("dilationWFactor", 1), 1]
    x = tf.nn.conv2d(op[0], kernel, op.strides(), op.padding(), dilations=rates)
    return op.activated(op.with_bias(x, 2))


def depthwise_conv_2d(op):
    """Its kernel is (1, height, width, channels * multiplier)."""
    x, channels = op[0], op[0].shape[-1]
    rates = [op.option("dilationHFactor", 1), op.option("dilationWFactor", 1)]
    strides = op.strides()
    if strides[1] == strides[2]:
        kernel = op.weight(1, lambda array: _shaped(array[0], (*array.shape[1:3], channels, -1)))
        x = tf.nn.depthwise_conv2d(x, kernel, strides, op.padding(), dilations=rates)
    else:  # TensorFlow's own depthwise convolution has one stride
        kernel = op.weight(1, lambda array: _moved(array, (1, 2, 0, 3)))
        x = tf.nn.conv2d(x, kernel, strides, op.padding(), dilations=[1, *rates, 1])
    return op.activated(op.with_bias(x, 2))


def transpose_conv(op):
    """Its kernel is (out, height, width, in); the size of its output is an operand."""
    size = [op[2].shape[0] or 1, *op.numbers(0)[1:]]
    kernel = op.weight(1, lambda array: _moved(array, (1, 2, 0, 3)))  # OHWI -> HWOI
    x = tf.nn.conv2d_transpose(op[2], kernel, size, op.strides(), op.padding())
    return op.activated(op.with_bias(x, 3))


def transpose_conv_bias(op):
    """MediaPipe's Convolution2DTransposeBias: (image, kernel OHWI, bias); C's struct as options."""
    padding, width, height = np.frombuffer(bytes(op.op.customOptions), np.int32)[:3]
    padding = "SAME" if padding == 1 else "VALID"  # TFLite's TfLitePadding
    kernel = op.weight(1, lambda array: _moved(array, (1, 2, 0, 3)))
    size = transposed_size(op[0].shape, kernel.shape, (height, width), padding)
    x = tf.nn.conv2d_transpose(op[0], kernel, size, [1, height, width, 1], padding)
    return op.with_bias(x, 2)


def transposed_size(image, kernel, strides, padding):
    """The shape that a transposed convolution gives.

    `image` is (N, H, W, C), `kernel` (H, W, out, in).
    """
    pairs = zip(image[1:3], strides, kernel[:2], strict=True)
    if padding == "SAME":
        sizes = [n * int(stride) for n, stride, _ in pairs]
    else:
        sizes = [(n - 1) * int(stride) + size for n, stride, size in pairs]
    return [image[0], *sizes, kernel[2]]


def conv_3d(op):
    strides = [1, op.option("strideD"), op.option("strideH"), op.option("strideW"), 1]
    rates = [op.option(f"dilation{axis}Factor", 1) for axis in "DHW"]
    x = tf.nn.conv3d(op[0], op[1], strides, op.padding(), dilations=[1, *rates, 1])
    return op.activated(op.with_bias(x, 2))


def fully_connected(op):
    """Its kernel is (out, in), and its input may have any shape."""
    if op.option("weightsFormat"):
        raise Failure("its weights are shuffled for one processor; convert the model without that")
    x = op[0]
    kernel = op.weight(1, lambda array: _moved(array, (1, 0)))
    if x.shape.rank != 2:
        width = kernel.shape[0]
        sizes = [-1, width] if not op.option("keepNumDims") else [*x.shape[:-1], width]
        x = x if list(x.shape) == sizes else tf.reshape(x, sizes)
    x = tf.matmul(x, kernel) if x.shape.rank == 2 else tf.tensordot(x, kernel, 1)
    if op.has(2):
        x = tf.nn.bias_add(x, op[2])
    return op.activated(x)


def batch_matmul(op):
    return tf.matmul(
        op[0], op[1], transpose_a=bool(op.option("adjX")), transpose_b=bool(op.option("adjY"))
    )


def pool(function):
    def pooled(op):
        size = [1, op.option("filterHeight"), op.option("filterWidth"), 1]
        return op.activated(function(op[0], size, op.strides(), op.padding()))

    return pooled


def root_mean_square(x, size, strides, padding):
    return tf.sqrt(tf.nn.avg_pool2d(tf.square(x), size, strides, padding))


def binary(function):
    return lambda op: op.activated(function(op[0], op[1]))


def unary(function):
    return lambda op: function(op[0])


def every(function):
    return lambda op: function(*op.all())


def reduced(function):
    def over_axes(op):
        axes = op.numbers(1)
        return function(op[0], axes, bool(op.option("keepDims"))) if axes else tf.identity(op[0])

    return over_axes


def prelu(op):
    """x above 0, alpha * x below; alpha has the shape of x without its batch, or less."""
    x = op[0]
    return tf.nn.relu(x) + op[1] * -tf.nn.relu(-x)


def hard_swish(op):
    x = op[0]
    return x * (tf.nn.relu6(x + 3.0) * (1 / 6))


def softmax(op):
    beta = op.option("beta", 1.0)
    x = op[0] if beta == 1 else op[0] * np.float32(beta)
    return tf.nn.softmax(x)


def l2_normalization(op):
    return op.activated(tf.math.l2_normalize(op[0], -1, epsilon=1e-12))  # TFLite: 1e-6 of the root


def local_response_normalization(op):
    settings = (op.option(key) for key in ("radius", "bias", "alpha", "beta"))
    return tf.nn.local_response_normalization(op[0], *settings)


def reshape(op):
    if op.has(1):
        return tf.reshape(op[0], op[1])
    return tf.reshape(op[0], [int(size) for size in op.option("newShape")])


def squeeze(op):
    axes = op.option("squeezeDims", None)
    return tf.squeeze(op[0], [int(axis) for axis in axes] if axes is not None else None)


def pack(op):
    return tf.stack(op.all(), op.option("axis"))


def concatenation(op):
    return op.activated(tf.concat(op.all(), op.option("axis")))


def split(op):
    return tf.split(op[1], op.option("numSplits"), op.numbers(0)[0])


def split_v(op):
    return tf.split(op[0], op.numbers(1), op.numbers(2)[0])


def strided_slice(op):
    masks = {f"{key}_mask": op.option(f"{of}Mask") for key, of in MASKS.items()}
    if op.option("offset", False):
        raise Failure("its end is an offset from its begin (`offset`), which TensorFlow has not")
    return tf.strided_slice(op[0], op[1], op[2], op[3], **masks)


def gather(op):
    return tf.gather(op[0], op[1], axis=op.option("axis"), batch_dims=op.option("batchDims"))


def pad(op):
    return tf.pad(op[0], op[1])


def padv2(op):
    return tf.pad(op[0], op[1], constant_values=op.static(2).reshape(()))


def mirror_pad(op):
    mode = "REFLECT" if op.option("mode") == schema.MirrorPadMode.REFLECT else "SYMMETRIC"
    return tf.pad(op[0], op[1], mode)


def resize(function):
    def resized(op):
        form = {"align_corners": bool(op.option("alignCorners")),
                "half_pixel_centers": bool(op.option("halfPixelCenters"))}  # fmt: skip
        return function(images=op[0], size=op[1], **form)

    return resized


def cast(op):
    return tf.cast(op[0], op.net.dtype(int(op.op.outputs[0])))


def argument(function):
    return lambda op: function(op[0], op.numbers(1)[0], op.net.dtype(int(op.op.outputs[0])))


def dequantize(op):
    """An input of whole numbers as the floats that they stand for."""
    x, tensor = op[0], op.net.part.tensors[op.inputs[0]]
    if x.dtype.is_floating:
        return tf.cast(x, tf.float32)
    found = tensor.quantization
    return (tf.cast(x, tf.float32) - float(found.zeroPoint[0])) * np.float32(found.scale[0])


def quantize(op):
    return op[0]


def cumsum(op):
    settings = bool(op.option("exclusive")), bool(op.option("reverse"))
    return tf.cumsum(op[0], op.numbers(1)[0], *settings)


def one_hot(op):
    return tf.one_hot(op[0], op.numbers(1)[0], op[2], op[3], op.option("axis"))


def top_k(op):
    return list(tf.math.top_k(op[0], op.numbers(1)[0]))


def reverse(op):
    return tf.reverse(op[0], op.numbers(1))


def _moved(array, axes):
    return tf.transpose(array, axes) if tf.is_tensor(array) else array.transpose(axes)


def _shaped(array, sizes):
    return tf.reshape(array, sizes) if tf.is_tensor(array) else array.reshape(sizes)


def _between(low, high):
    return lambda x: tf.clip_by_value(x, low, high)


MASKS = {
    "begin": "begin", "end": "end", "ellipsis": "ellipsis", "new_axis": "newAxis",
    "shrink_axis": "shrinkAxis",
}  # fmt: skip

# Fused activations by number; the last, SIGN_BIT, no kernel of TFLite computes.
ACTIVATIONS = {
    schema.ActivationFunctionType.NONE: lambda x: x,
    schema.ActivationFunctionType.RELU: tf.nn.relu,
    schema.ActivationFunctionType.RELU_N1_TO_1: _between(-1.0, 1.0),
    schema.ActivationFunctionType.RELU6: tf.nn.relu6,
    schema.ActivationFunctionType.TANH: tf.tanh,
}

BUILDERS = {
    "CONV_2D": conv_2d,
    "DEPTHWISE_CONV_2D": depthwise_conv_2d,
    "TRANSPOSE_CONV": transpose_conv,
    "Convolution2DTransposeBias": transpose_conv_bias,
    "CONV_3D": conv_3d,
    "FULLY_CONNECTED": fully_connected,
    "BATCH_MATMUL": batch_matmul,
    "AVERAGE_POOL_2D": pool(tf.nn.avg_pool2d),
    "MAX_POOL_2D": pool(tf.nn.max_pool2d),
    "L2_POOL_2D": pool(root_mean_square),
    "ADD": binary(tf.add),
    "SUB": binary(tf.subtract),
    "MUL": binary(tf.multiply),
    "DIV": binary(tf.divide),
    "MAXIMUM": binary(tf.maximum),
    "MINIMUM": binary(tf.minimum),
    "POW": binary(tf.pow),
    "SQUARED_DIFFERENCE": binary(tf.math.squared_difference),
    "FLOOR_DIV": binary(tf.math.floordiv),
    "FLOOR_MOD": binary(tf.math.floormod),
    "ATAN2": binary(tf.atan2),
    "ADD_N": lambda op: tf.add_n(op.all()),
    "ABS": unary(tf.abs),
    "NEG": unary(tf.negative),
    "EXP": unary(tf.exp),
    "LOG": unary(tf.math.log),
    "SQRT": unary(tf.sqrt),
    "RSQRT": unary(tf.math.rsqrt),
    "SQUARE": unary(tf.square),
    "SIN": unary(tf.sin),
    "COS": unary(tf.cos),
    "FLOOR": unary(tf.floor),
    "CEIL": unary(tf.math.ceil),
    "ROUND": unary(tf.round),
    "SIGN": unary(tf.sign),
    "RELU": unary(tf.nn.relu),
    "RELU6": unary(tf.nn.relu6),
    "RELU_N1_TO_1": unary(_between(-1.0, 1.0)),
    "RELU_0_TO_1": unary(_between(0.0, 1.0)),
    "LEAKY_RELU": lambda op: tf.nn.leaky_relu(op[0], op.option("alpha")),
    "ELU": unary(tf.nn.elu),
    "GELU": lambda op: tf.nn.gelu(op[0], bool(op.option("approximate"))),
    "PRELU": prelu,
    "HARD_SWISH": hard_swish,
    "LOGISTIC": unary(tf.sigmoid),
    "TANH": unary(tf.tanh),
    "SOFTMAX": softmax,
    "LOG_SOFTMAX": unary(tf.nn.log_softmax),
    "L2_NORMALIZATION": l2_normalization,
    "LOCAL_RESPONSE_NORMALIZATION": local_response_normalization,
    "MEAN": reduced(tf.reduce_mean),
    "SUM": reduced(tf.reduce_sum),
    "REDUCE_MAX": reduced(tf.reduce_max),
    "REDUCE_MIN": reduced(tf.reduce_min),
    "REDUCE_PROD": reduced(tf.reduce_prod),
    "REDUCE_ANY": reduced(tf.reduce_any),
    "REDUCE_ALL": reduced(tf.reduce_all),
    "RESHAPE": reshape,
    "SQUEEZE": squeeze,
    "EXPAND_DIMS": lambda op: tf.expand_dims(op[0], op.numbers(1)[0]),
    "TRANSPOSE": every(tf.transpose),
    "PACK": pack,
    "UNPACK": lambda op: tf.unstack(op[0], op.option("num"), op.option("axis")),
    "CONCATENATION": concatenation,
    "SPLIT": split,
    "SPLIT_V": split_v,
    "SLICE": every(tf.slice),
    "STRIDED_SLICE": strided_slice,
    "GATHER": gather,
    "GATHER_ND": every(tf.gather_nd),
    "EMBEDDING_LOOKUP": lambda op: tf.gather(op[1], op[0]),
    "TILE": every(tf.tile),
    "BROADCAST_TO": every(tf.broadcast_to),
    "BROADCAST_ARGS": every(tf.broadcast_dynamic_shape),
    "PAD": pad,
    "PADV2": padv2,
    "MIRROR_PAD": mirror_pad,
    "DEPTH_TO_SPACE": lambda op: tf.nn.depth_to_space(op[0], op.option("blockSize")),
    "SPACE_TO_DEPTH": lambda op: tf.nn.space_to_depth(op[0], op.option("blockSize")),
    "SPACE_TO_BATCH_ND": every(tf.space_to_batch),
    "BATCH_TO_SPACE_ND": every(tf.batch_to_space),
    "RESIZE_BILINEAR": resize(tf.raw_ops.ResizeBilinear),
    "RESIZE_NEAREST_NEIGHBOR": resize(tf.raw_ops.ResizeNearestNeighbor),
    "REVERSE_V2": reverse,
    "SHAPE": lambda op: tf.shape(op[0], op.net.dtype(int(op.op.outputs[0]))),
    "RANK": unary(tf.rank),
    "RANGE": every(tf.range),
    "FILL": every(tf.fill),
    "ZEROS_LIKE": unary(tf.zeros_like),
    "CAST": cast,
    "DEQUANTIZE": dequantize,
    "QUANTIZE": quantize,
    "ARG_MAX": argument(tf.argmax),
    "ARG_MIN": argument(tf.argmin),
    "TOPK_V2": top_k,
    "CUMSUM": cumsum,
    "ONE_HOT": one_hot,
    "SELECT": every(tf.compat.v1.where),
    "SELECT_V2": every(tf.where),
    "EQUAL": every(tf.equal),
    "NOT_EQUAL": every(tf.not_equal),
    "LESS": every(tf.less),
    "LESS_EQUAL": every(tf.less_equal),
    "GREATER": every(tf.greater),
    "GREATER_EQUAL": every(tf.greater_equal),
    "LOGICAL_AND": every(tf.logical_and),
    "LOGICAL_OR": every(tf.logical_or),
    "LOGICAL_NOT": unary(tf.logical_not),
}
