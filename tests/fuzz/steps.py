"""The steps that a random network is made of: how each is drawn, and what it computes.

A step is built out of TensorFlow's ops or of one Keras layer. Its function takes `w`, the step's
weights, the tensors that it reads (NHWC, NLC or NC) and its arguments, which are plain data; it
gives a tensor, or a list of them. TensorFlow itself says what cannot be built: such steps are left
out.
"""

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st
from keras import layers, ops


class Kind(NamedTuple):
    """`build(w, *values, **arguments)`; `arguments(shape)` are strategies by name,
    None where the shape will not do.

    `ranks` are those of the first value it reads, `partner` tells whether another may be read with
    it, and `least`, `most` how many are read in all.
    """

    build: Callable
    arguments: Callable = lambda shape: {}
    ranks: tuple = (2, 3, 4)
    partner: Callable | None = None
    least: int = 1
    most: int = 1


class Weights:
    """What a step keeps: made at its first call, the same at every other.

    `scale` multiplies the numbers, `hold` makes of an array what TensorFlow shall hold.
    """

    def __init__(self, seed, scale=1.0, hold=np.asarray):
        self.random, self.scale = np.random.default_rng(seed), scale
        self.hold, self.kept, self.at = hold, [], 0

    def again(self):
        """Begin at the first one."""
        self.at = 0
        return self

    def keep(self, make):
        if self.at == len(self.kept):
            with tf.init_scope():
                self.kept.append(make())
        self.at += 1
        return self.kept[self.at - 1]

    def __call__(self, *shape, positive=False):
        return self.keep(lambda: self.hold(self.numbers(shape, positive)))

    def numbers(self, shape, positive=False):
        """Normal, of a size that keeps a layer's output as large as its input; or 0.5 to 1.5."""
        if positive:
            return (self.scale * self.random.uniform(0.5, 1.5, shape)).astype(np.float32)
        fan = prod(shape[:-1]) if len(shape) > 1 else 1
        return (self.scale * self.random.normal(size=shape) / np.sqrt(fan)).astype(np.float32)

    def layer(self, make, *values):
        """The Keras layer, built for these values, its variables drawn."""

        def built():
            layer = make()
            if 0 in layer.compute_output_shape(*(tuple(value.shape) for value in values)):
                raise ValueError("nothing is left")
            layer(*(tf.zeros(value.shape) for value in values))
            for variable in layer.variables:
                name = variable.path.rpartition("/")[2]
                if "seed" not in name:
                    positive = name in ("moving_variance", "gamma")
                    variable.assign(self.numbers(variable.shape, positive))
            return layer

        return self.keep(built)


def fits(x, kernel, padding, dilation=(1, 1)):
    """Raise `ValueError` where no window fits; TensorFlow's pooling would end the process."""
    if padding == "SAME":
        return
    pads = [0, 0] if padding == "VALID" else [sum(sides) for sides in padding[1:3]]
    for n, pad, k, d in zip(x.shape[1:3], pads, kernel, dilation, strict=True):
        if (k - 1) * d + 1 > n + pad:
            raise ValueError("no window fits")


def conv(w, x, channels, kernel, slide, padding, groups, bias):
    stride, dilation = slide
    fits(x, kernel, padding, dilation)
    weights = w(*kernel, x.shape[-1] // groups, channels * groups)
    y = tf.nn.conv2d(x, weights, stride, padding, dilations=dilation)
    return biased(w, y, bias)


def biased(w, y, how):
    """Each way to add a bias."""
    if how is None:
        return y
    bias = w(y.shape[-1])
    return {"add": tf.add, "bias": tf.nn.bias_add, "first": lambda y, b: b + y}[how](y, bias)


def depthwise(w, x, multiplier, kernel, slide, padding, bias):
    stride, dilation = slide
    fits(x, kernel, padding, dilation)
    weights = w(*kernel, x.shape[-1], multiplier)
    strides = [1, stride[0], stride[0], 1]
    y = tf.nn.depthwise_conv2d(x, weights, strides, padding, dilations=dilation)
    return biased(w, y, bias)


def transposed(w, x, channels, kernel, stride, padding, extra, bias):
    size = [
        n * s if padding == "SAME" else (n - 1) * s + k
        for n, s, k in zip(x.shape[1:3], stride, kernel, strict=True)
    ]
    extra = [min(e, s - 1) for e, s in zip(extra, stride, strict=True)]  # oneDNN crashes else
    size = [n - e if padding == "SAME" else n + e for n, e in zip(size, extra, strict=True)]
    weights = w(*kernel, channels, x.shape[-1])
    shape = [x.shape[0], *size, channels]
    return biased(w, tf.nn.conv2d_transpose(x, weights, shape, stride, padding), bias)


def dense(w, x, units, transpose, bias):
    shape = (units, x.shape[-1]) if transpose else (x.shape[-1], units)
    weights = w(*shape)
    return biased(w, tf.matmul(x, weights, transpose_b=transpose), bias)


def dense_einsum(w, x, units):
    letters = "abcd"[: len(x.shape) - 1]
    return tf.einsum(f"{letters}i,io->{letters}o", x, w(x.shape[-1], units))


def tensordot(w, x, units):
    return tf.tensordot(x, w(x.shape[-1], units), 1)


def max_pool(w, x, kernel, stride, padding):
    fits(x, kernel, padding)
    return tf.nn.max_pool2d(x, kernel, stride, padding)


def average_pool(w, x, kernel, stride, padding):
    fits(x, kernel, padding)
    return tf.nn.avg_pool2d(x, kernel, stride, padding)


def fused_norm(w, x, epsilon):
    numbers = [w(x.shape[-1]), w(x.shape[-1]), w(x.shape[-1]), w(x.shape[-1], positive=True)]
    return tf.compat.v1.nn.fused_batch_norm(x, *numbers, epsilon=epsilon, is_training=False)[0]


def old_norm(w, x, epsilon, beta, gamma):
    c = x.shape[-1]
    parts = w(c), w(c, positive=True), w(c) if beta else None, w(c) if gamma else None
    parts = [None if part is None else tf.convert_to_tensor(part) for part in parts]
    return tf.nn.batch_normalization(x, *parts, epsilon)


def reduction(w, x, op, axes, keep):
    return getattr(tf, f"reduce_{op}")(x, axes, keepdims=keep)


def moments(w, x, axes):
    return list(tf.nn.moments(x, axes, keepdims=True))


def activation(w, x, name):
    return ACTIVATIONS[name](x)


def guarded(w, x, name, guard):
    """An op that takes positive numbers only."""
    x = {"none": lambda x: x, "abs": tf.abs, "square": tf.square}[guard](x)
    return POSITIVE[name](x if guard == "none" else x + 0.5)


def binary(w, x, y, op):
    return BINARY[op](x, y)


def divide(w, x, y, guard):
    y = {
        "none": lambda y: y,
        "abs": lambda y: tf.abs(y) + 0.5,
        "sigmoid": lambda y: tf.sigmoid(y) + 0.1,
    }[guard](y)
    return x / y


def with_number(w, x, op, number, first):
    return BINARY[op](number, x) if first else BINARY[op](x, number)


def with_array(w, x, op, axes, short, first):
    """With a constant that has `axes` of x's, without the leading ones of 1 if it is `short`."""
    shape = [size if at in axes else 1 for at, size in enumerate(x.shape)]
    while short and len(shape) > 1 and shape[0] == 1:
        shape.pop(0)
    array = w(*shape, positive=op == "divide")
    return BINARY[op](array, x) if first else BINARY[op](x, array)


def power(w, x, exponent):
    return tf.pow(x, exponent)


def concat(w, *values, axis):
    return tf.concat(values, axis)


def add_many(w, *values):
    return tf.add_n(values)


def reshape(w, x, shape):
    return tf.reshape(x, [x.shape[0], *shape])


def squeeze(w, x, axes):
    return tf.squeeze(x, axes)


def expand(w, x, axis):
    return tf.expand_dims(x, axis)


def transpose(w, x, order):
    return tf.transpose(x, [0, *(at + 1 for at in order)])


def shuffle(w, x, groups, back):
    """Channel shuffle."""
    *kept, c = x.shape
    parts = (c // groups, groups) if back else (groups, c // groups)
    split = tf.reshape(x, [*kept, *parts])
    rank = len(kept)
    return tf.reshape(tf.transpose(split, [*range(rank), rank + 1, rank]), [*kept, c])


def pad(w, x, sides, number):
    return tf.pad(x, [(0, 0), *sides, (0, 0)], constant_values=number)


def cut(w, x, ranges):
    return x[(slice(None), *(slice(*numbers) for numbers in ranges))]


def pick(w, x, where):
    """One index of an axis, which then falls away."""
    axis, at = where
    return x[(slice(None),) * axis + (at,)]


def old_slice(w, x, inside):
    begin, size = inside
    return tf.slice(x, [0, *begin], [-1, *size])


def split(w, x, where):
    axis, parts = where
    return list(tf.split(x, parts, axis))


def unstack(w, x, axis):
    return list(tf.unstack(x, axis=axis))


def resize(w, x, size, how, old):
    if old is None:
        return tf.image.resize(x, size, how)
    v1 = tf.compat.v1.image
    resizer = {"nearest": v1.resize_nearest_neighbor, "bilinear": v1.resize_bilinear}[how]
    return resizer(x, size, align_corners=old == "corners", half_pixel_centers=old == "half")


def upsample(w, x, factors, how):
    size = [n * f for n, f in zip(x.shape[1:3], factors, strict=True)]
    return tf.image.resize(x, size, how)


def depth_to_space(w, x, block):
    return tf.nn.depth_to_space(x, block)


def space_to_depth(w, x, block):
    return tf.nn.space_to_depth(x, block)


def response_norm(w, x, radius, bias, alpha, beta):
    """Caffe keeps a running sum of squares, which loses small ones next to large ones."""
    if tf.executing_eagerly() and alpha * tf.reduce_max(tf.square(x)) > 4 * bias:
        raise ValueError("its squares are too large")
    return tf.nn.lrn(x, radius, bias, alpha, beta)


def softmax(w, x, axis):
    return tf.nn.softmax(x, axis)


def log_softmax(w, x):
    return tf.nn.log_softmax(x)


def leaky(w, x, slope):
    return tf.nn.leaky_relu(x, slope)


def clip(w, x, low, high):
    return tf.clip_by_value(x, low, high)


def gate(w, x, y, how):
    """Squeeze-excite and its like: one tensor opens and shuts another."""
    return x * {"sigmoid": tf.sigmoid, "relu6": lambda y: tf.nn.relu6(y + 3.0) / 6.0}[how](y)


def residual(w, x, kernel, norm):
    y = conv(w, x, x.shape[-1], kernel, ((1, 1), (1, 1)), "SAME", 1, None if norm else "add")
    y = fused_norm(w, y, 1e-3) if norm else y
    return tf.nn.relu(x + y)


def keras_layer(w, x, layer):
    name, settings = layer
    return w.layer(lambda: getattr(layers, name)(**settings), x)(x)


def keras_op(w, x, name):
    return KERAS_OPS[name](x)


def argmax(w, x):
    return tf.argmax(x, -1)


# How the arguments are drawn.


def pair(low, high):
    """Two numbers, mostly alike."""
    number = st.integers(low, high)
    return st.one_of(number.map(lambda n: (n, n)), st.tuples(number, number))


def slides():
    """(stride, dilation): TensorFlow takes one of the two."""
    one = st.just((1, 1))
    return st.one_of(st.tuples(one, one), st.tuples(pair(1, 3), one), st.tuples(one, pair(1, 3)))


def divisors(number):
    return st.sampled_from([n for n in range(1, number + 1) if number % n == 0])


def paddings(explicit=True):
    sides = st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2)
    written = sides.map(lambda s: ((0, 0), *s, (0, 0)))
    return st.one_of(st.sampled_from(["SAME", "VALID"]), *([written] if explicit else []))


BIAS = st.sampled_from(["bias", "add", "first", None])
EPSILON = st.sampled_from([1e-3, 1e-5, 1.001e-5, 0.1])
CHANNELS = st.integers(1, 6)


def conv_arguments(shape):
    return {"channels": st.integers(1, 4), "kernel": pair(1, 4), "slide": slides(),
            "padding": paddings(), "groups": divisors(shape[-1]), "bias": BIAS}  # fmt: skip


def depthwise_arguments(shape):
    # with explicit paddings, TensorFlow's own optimizer ends the process
    return {"multiplier": st.integers(1, 3), "kernel": pair(1, 4), "slide": slides(),
            "padding": paddings(False), "bias": BIAS}  # fmt: skip


def transposed_arguments(shape):
    return {"channels": CHANNELS, "kernel": pair(1, 5), "stride": pair(1, 3),
            "padding": paddings(False), "extra": pair(0, 1), "bias": BIAS}  # fmt: skip


def dense_arguments(shape):
    return {"units": st.integers(1, 7), "transpose": st.booleans(), "bias": BIAS}


def units(shape):
    return {"units": st.integers(1, 7)}


def pool_arguments(shape):
    return {"kernel": pair(1, 4), "stride": pair(1, 3), "padding": paddings(False)}


def some_axes(shape, least=1):
    axes = list(range(1, len(shape)))
    return st.lists(st.sampled_from(axes), min_size=least, max_size=3, unique=True).map(sorted)


def reduction_arguments(shape):
    return {"op": st.sampled_from(["mean", "sum", "max", "min"]), "axes": some_axes(shape),
            "keep": st.booleans()}  # fmt: skip


def number_arguments(shape):
    number = st.one_of(st.sampled_from([0.5, -1.0, 2.0, 6.0, 0.0, 1.0, 127.5, 1e-3]),
                       st.floats(-8, 8, width=16))  # fmt: skip
    return {"op": st.sampled_from(list(BINARY)), "number": number, "first": st.booleans()}


def array_arguments(shape):
    ops = st.sampled_from([op for op in BINARY if op != "divide"] + ["divide"])
    return {"op": ops, "axes": some_axes(shape), "short": st.booleans(), "first": st.booleans()}


def shapes_of(count):
    """Shapes of so many elements, of one to four axes."""

    @st.composite
    def drawn(draw):
        left, shape = count, []
        for _ in range(draw(st.integers(0, 3))):
            shape.append(draw(divisors(left)))
            left //= shape[-1]
        return (*shape, left)

    return drawn()


def reshape_arguments(shape):
    flat = st.just((prod(shape[1:]),))
    merged = st.just((prod(shape[1:-1]), shape[-1]))
    split = divisors(shape[-1]).map(lambda n: (*shape[1:-1], n, shape[-1] // n))
    return {"shape": st.one_of(flat, merged, split, shapes_of(prod(shape[1:])))}


def squeeze_arguments(shape):
    ones = [at for at, size in enumerate(shape) if at and size == 1][: len(shape) - 2]
    return {"axes": st.sampled_from([ones, ones[:1]])} if ones else None


def block_arguments(numbers):
    """Sizes of a block that divide the numbers; None if there is none."""
    blocks = [size for size in (2, 3) if not any(number % size for number in numbers)]
    return {"block": st.sampled_from(blocks)} if blocks else None


def depth_arguments(shape):
    blocks = [size for size in (2, 3) if shape[-1] % size**2 == 0]
    return {"block": st.sampled_from(blocks)} if blocks else None


def transpose_arguments(shape):
    return {"order": st.permutations(range(len(shape) - 1)).map(tuple)}


def pad_arguments(shape):
    side = st.tuples(st.integers(0, 3), st.integers(0, 3))
    return {"sides": st.tuples(*[side] * (len(shape) - 2)),
            "number": st.sampled_from([0.0, 0.0, 1.5, -2.0])}  # fmt: skip


def index_range(size):
    """(begin, end, step) of at least one index, each as Python spells it."""

    @st.composite
    def drawn(draw):
        begin = draw(st.integers(0, size - 1))
        end = draw(st.integers(begin + 1, size))
        step = draw(st.integers(1, 3))
        begin = draw(st.sampled_from([begin, begin - size] + [None] * (begin == 0)))
        return begin, draw(st.sampled_from([end] + [None] * (end == size))), step

    return drawn()


def cut_arguments(shape):
    whole = st.just((None, None, None))
    last = st.one_of(index_range(shape[-1]), st.just((None, None, -1)))
    inner = [st.one_of(whole, index_range(size)) for size in shape[1:-1]]
    return {"ranges": st.tuples(*inner, st.one_of(whole, last))}


def pick_arguments(shape):
    axes = st.sampled_from(range(1, len(shape)))
    where = axes.flatmap(lambda a: st.tuples(st.just(a), st.integers(-1, shape[a] - 1)))
    return {"where": where}


def slice_arguments(shape):
    begin = st.tuples(*(st.integers(0, size - 1) for size in shape[1:]))
    inside = begin.flatmap(
        lambda b: st.tuples(
            st.just(b),
            st.tuples(*(st.integers(1, n - at) for n, at in zip(shape[1:], b, strict=True))),
        )
    )
    return {"inside": inside}


def split_arguments(shape):
    @st.composite
    def drawn(draw):
        axis = draw(st.integers(1, len(shape) - 1))
        size = shape[axis]
        equal, first = draw(divisors(size)), draw(st.integers(1, size))
        parts = draw(st.sampled_from([equal, [first, size - first] if first < size else 1]))
        return axis, parts

    return {"where": drawn()}


def resize_arguments(shape):
    return {"size": pair(1, 11), "how": st.sampled_from(["nearest", "bilinear"]),
            "old": st.sampled_from([None, "plain", "corners", "half"])}  # fmt: skip


def settings(**strategies):
    return st.fixed_dictionaries(strategies)


def layer_choice(table):
    """A Keras layer's name and its settings."""
    return lambda shape: {
        "layer": st.sampled_from(sorted(table)).flatmap(
            lambda name: st.tuples(st.just(name), settings(**table[name](shape)))
        )
    }


def windowed(**more):
    return lambda shape: {
        "kernel_size": pair(1, 4), "padding": st.sampled_from(["same", "valid"]),
        "use_bias": st.booleans(), "activation": ACTIVATION_NAMES,
        **more}  # fmt: skip


def conv_layer(shape):
    return {"filters": st.integers(1, 5), **windowed(strides=pair(1, 3))(shape)}


def pooled(shape):
    return {"pool_size": pair(1, 4), "strides": st.one_of(st.none(), pair(1, 3)),
            "padding": st.sampled_from(["same", "valid"])}  # fmt: skip


def pooled_1d(shape):
    return {"pool_size": st.integers(1, 4), "strides": st.one_of(st.none(), st.integers(1, 3)),
            "padding": st.sampled_from(["same", "valid"])}  # fmt: skip


def kept(shape):
    return {"keepdims": st.booleans()}


def whole_factors(shape):
    return {"size": pair(1, 3), "interpolation": st.sampled_from(["nearest", "bilinear"])}


def two_sides(names):
    """Rows and columns added or cut: one number, one for each axis, or one for each side."""
    side = st.tuples(st.integers(0, 2), st.integers(0, 2))
    return lambda shape: {names: st.one_of(st.integers(0, 2), pair(0, 2), st.tuples(side, side))}


def conv_1d_layer(shape):
    return {"filters": st.integers(1, 5), "kernel_size": st.integers(1, 4),
            "strides": st.integers(1, 3), "padding": st.sampled_from(["same", "valid", "causal"]),
            "activation": ACTIVATION_NAMES}  # fmt: skip


def order(shape):
    return {"dims": st.permutations(range(1, len(shape))).map(tuple)}


def shared_axes(shape):
    axes = list(range(1, len(shape)))
    return {"shared_axes": st.one_of(st.none(), st.just(axes[:-1] or None), some_axes(shape))}


def norm_layer(shape):
    return {"epsilon": EPSILON, "center": st.booleans(), "scale": st.booleans()}


ACTIVATIONS = {
    name: getattr(tf.nn, name)
    for name in ("relu", "relu6", "elu", "selu", "sigmoid", "tanh", "softplus", "softsign", "silu")
} | {
    "abs": tf.abs, "exp": tf.exp, "expm1": tf.math.expm1, "neg": tf.negative, "square": tf.square,
    "erf": tf.math.erf, "erfc": tf.math.erfc, "gelu": tf.nn.gelu, "identity": tf.identity,
    "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "hard_swish": lambda x: x * tf.nn.relu6(x + 3.0) / 6.0,
    "mish": lambda x: x * tf.tanh(tf.nn.softplus(x)),
}  # fmt: skip

POSITIVE = {"log": tf.math.log, "sqrt": tf.sqrt, "rsqrt": tf.math.rsqrt,
            "reciprocal": tf.math.reciprocal, "log1p": tf.math.log1p}  # fmt: skip

BINARY = {
    "add": tf.add, "subtract": tf.subtract, "multiply": tf.multiply, "divide": tf.divide,
    "maximum": tf.maximum, "minimum": tf.minimum, "squared": tf.math.squared_difference,
}  # fmt: skip

KERAS_ACTIVATIONS = [
    "celu", "elu", "exponential", "gelu", "glu", "hard_sigmoid", "hard_silu", "hard_tanh",
    "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu",
    "sigmoid", "silu", "softmax", "softplus", "softsign", "squareplus", "tanh", "tanh_shrink",
]  # fmt: skip
ACTIVATION_NAMES = st.one_of(st.none(), st.sampled_from(["relu", "relu6", "tanh", "silu", "gelu"]))

KERAS_OPS = {
    "mean": lambda x: ops.mean(x, axis=-1, keepdims=True),
    "var": lambda x: ops.var(x, axis=-1, keepdims=True),
    "std": lambda x: ops.std(x, axis=1, keepdims=True),
    "logsumexp": lambda x: ops.logsumexp(x, axis=-1, keepdims=True),
    "norm": lambda x: ops.norm(x, axis=-1, keepdims=True),
    "flip": lambda x: ops.flip(x, axis=-1),
    "mean_all": lambda x: ops.mean(x, axis=list(range(1, len(x.shape)))),
    "swapaxes": lambda x: ops.swapaxes(x, 1, -1),
    "ravel": lambda x: ops.reshape(x, (x.shape[0], -1)),
    "clip": lambda x: ops.clip(x, -0.5, 1.0),
    "square_relu": lambda x: ops.square(ops.relu(x)),
    "threshold": lambda x: ops.relu(x - 0.1),
}

KERAS_ANY = {
    "Activation": lambda shape: {"activation": st.sampled_from(KERAS_ACTIVATIONS)},
    "BatchNormalization": norm_layer,
    "Dense": lambda shape: {"units": st.integers(1, 6), "use_bias": st.booleans(),
                            "activation": ACTIVATION_NAMES},
    "Dropout": lambda shape: {"rate": st.just(0.5)},
    "ELU": lambda shape: {"alpha": st.sampled_from([1.0, 0.3, 1.7])},
    "Flatten": lambda shape: {},
    "LayerNormalization": norm_layer,
    "LeakyReLU": lambda shape: {"negative_slope": st.sampled_from([0.0, 0.2, 1.0, 1.5])},
    "PReLU": shared_axes,
    "Permute": order,
    "RMSNormalization": lambda shape: {"epsilon": EPSILON},
    "ReLU": lambda shape: {"max_value": st.sampled_from([None, 6.0, 1.0]),
                           "negative_slope": st.sampled_from([0.0, 0.1]),
                           "threshold": st.sampled_from([0.0, 0.0, 0.5])},
    "Rescaling": lambda shape: {"scale": st.sampled_from([1 / 255, 2.0, -1.0]),
                                "offset": st.sampled_from([0.0, -1.0])},
    "Softmax": lambda shape: {"axis": st.integers(-1, len(shape) - 1).filter(bool)},
    "UnitNormalization": lambda shape: {},
}  # fmt: skip
KERAS_IMAGES = {
    "AveragePooling2D": pooled,
    "Conv2D": conv_layer,
    "Conv2DTranspose": lambda shape: {"filters": st.integers(1, 5),
                                      **windowed(strides=pair(1, 3))(shape)},
    "Cropping2D": two_sides("cropping"),
    "DepthwiseConv2D": lambda shape: {
        **windowed(strides=st.integers(1, 3), depth_multiplier=st.integers(1, 2))(shape)},
    "GlobalAveragePooling2D": kept,
    "GlobalMaxPooling2D": kept,
    "MaxPooling2D": pooled,
    "SeparableConv2D": lambda shape: {"filters": st.integers(1, 5),
                                      **windowed(strides=st.integers(1, 2))(shape)},
    "SpatialDropout2D": lambda shape: {"rate": st.just(0.5)},
    "UpSampling2D": whole_factors,
    "ZeroPadding2D": two_sides("padding"),
}  # fmt: skip
KERAS_SEQUENCES = {
    "AveragePooling1D": pooled_1d,
    "Conv1D": conv_1d_layer,
    "Cropping1D": lambda shape: {"cropping": pair(0, 2)},
    "GlobalAveragePooling1D": kept,
    "GlobalMaxPooling1D": kept,
    "MaxPooling1D": pooled_1d,
    "SeparableConv1D": lambda shape: {"filters": st.integers(1, 5),
                                      "kernel_size": st.integers(1, 4),
                                      "padding": st.sampled_from(["same", "valid"])},
    "UpSampling1D": lambda shape: {"size": st.integers(1, 3)},
    "ZeroPadding1D": lambda shape: {"padding": pair(0, 2)},
}  # fmt: skip
KERAS_VECTORS = {"RepeatVector": lambda shape: {"n": st.integers(1, 4)}}


def broadcast(x, y):
    """Whether two shapes of one rank go together."""
    return len(x) == len(y) and all(m == n or 1 in (m, n) for m, n in zip(x, y, strict=True))


def beside(x, y):
    """Whether two shapes differ along one axis at most."""
    return len(x) == len(y) and sum(m != n for m, n in zip(x, y, strict=True)) <= 1


def concat_arguments(shape):
    return {"axis": st.sampled_from([-1, *range(1, len(shape))])}


# The step's name -> how it is drawn and built.
STEPS = {
    "activation": Kind(activation, lambda s: {"name": st.sampled_from(sorted(ACTIVATIONS))}),
    "add_many": Kind(add_many, partner=lambda x, y: x == y, least=2, most=4),
    "average_pool": Kind(average_pool, pool_arguments, (4,)),
    "binary": Kind(binary, lambda s: {"op": st.sampled_from([*BINARY][:3] + [*BINARY][4:])},
                   partner=broadcast, least=2, most=2),
    "clip": Kind(clip, lambda s: {"low": st.sampled_from([0.0, -1.0, -0.25]),
                                  "high": st.sampled_from([6.0, 1.0, 0.5])}),
    "concat": Kind(concat, concat_arguments, partner=beside, least=2, most=3),
    "conv": Kind(conv, conv_arguments, (4,)),
    "cut": Kind(cut, cut_arguments),
    "dense": Kind(dense, dense_arguments),
    "dense_einsum": Kind(dense_einsum, units),
    "depth_to_space": Kind(depth_to_space, depth_arguments, (4,)),
    "depthwise": Kind(depthwise, depthwise_arguments, (4,)),
    "divide": Kind(divide, lambda s: {"guard": st.sampled_from(["abs", "sigmoid", "none"])},
                   partner=broadcast, least=2, most=2),
    "expand": Kind(expand, lambda s: {"axis": st.integers(1, len(s))}, (2, 3)),
    "fused_norm": Kind(fused_norm, lambda s: {"epsilon": EPSILON}, (4,)),
    "gate": Kind(gate, lambda s: {"how": st.sampled_from(["sigmoid", "relu6"])},
                 partner=broadcast, least=2, most=2),
    "keras": Kind(keras_layer, layer_choice(KERAS_ANY)),
    "keras_image": Kind(keras_layer, layer_choice(KERAS_IMAGES), (4,)),
    "keras_op": Kind(keras_op, lambda s: {"name": st.sampled_from(sorted(KERAS_OPS))}),
    "keras_sequence": Kind(keras_layer, layer_choice(KERAS_SEQUENCES), (3,)),
    "keras_vector": Kind(keras_layer, layer_choice(KERAS_VECTORS), (2,)),
    "leaky": Kind(leaky, lambda s: {"slope": st.sampled_from([0.2, 0.01, 0.0, 1.0, 1.5])}),
    "log_softmax": Kind(log_softmax),
    "max_pool": Kind(max_pool, pool_arguments, (4,)),
    "moments": Kind(moments, lambda s: {"axes": some_axes(s)}),
    "number": Kind(with_number, number_arguments),
    "array": Kind(with_array, array_arguments),
    "old_norm": Kind(old_norm, lambda s: {"epsilon": EPSILON, "beta": st.booleans(),
                                          "gamma": st.booleans()}),
    "old_slice": Kind(old_slice, slice_arguments),
    "pad": Kind(pad, pad_arguments, (3, 4)),
    "pick": Kind(pick, pick_arguments, (3, 4, 5)),
    "positive": Kind(guarded, lambda s: {"name": st.sampled_from(sorted(POSITIVE)),
                                         "guard": st.sampled_from(["abs", "square", "none"])}),
    "power": Kind(power, lambda s: {"exponent": st.sampled_from([2.0, 3.0, 0.5, -1.0, 1.5])}),
    "reduction": Kind(reduction, reduction_arguments),
    "reshape": Kind(reshape, reshape_arguments, (2, 3, 4, 5)),
    "residual": Kind(residual, lambda s: {"kernel": pair(1, 3), "norm": st.booleans()}, (4,)),
    "resize": Kind(resize, resize_arguments, (4,)),
    "response_norm": Kind(response_norm, lambda s: {
        "radius": st.integers(0, 3), "bias": st.sampled_from([1.0, 2.0, 0.5]),
        "alpha": st.sampled_from([1.0, 1e-2, 0.3]), "beta": st.sampled_from([0.5, 0.75, 1.0])},
        (4,)),
    "shuffle": Kind(shuffle, lambda s: {"groups": divisors(s[-1]), "back": st.booleans()}, (3, 4)),
    "softmax": Kind(softmax, lambda s: {"axis": st.sampled_from([-1, *range(1, len(s))])},
                    (2, 3, 4, 5)),
    "space_to_depth": Kind(space_to_depth, lambda s: block_arguments(s[1:3]), (4,)),
    "split": Kind(split, split_arguments),
    "squeeze": Kind(squeeze, squeeze_arguments),
    "tensordot": Kind(tensordot, units),
    "transpose": Kind(transpose, transpose_arguments, (3, 4, 5)),
    "transposed": Kind(transposed, transposed_arguments, (4,)),
    "unstack": Kind(unstack, lambda s: {"axis": st.integers(1, len(s) - 1)}, (3, 4)),
    "upsample": Kind(upsample, lambda s: {"factors": pair(1, 3),
                                          "how": st.sampled_from(["nearest", "bilinear"])}, (4,)),
    "argmax": Kind(argmax),
}  # fmt: skip
