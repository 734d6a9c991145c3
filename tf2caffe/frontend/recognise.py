"""What TensorFlow or Keras takes apart and Caffe has as one is put together again.

Each recogniser takes the ops and rewrites those that match the pattern in its docstring.
"""

import operator
from collections import Counter
from itertools import permutations
from math import prod

import numpy as np
import tensorflow as tf

from tf2caffe.frontend import products
from tf2caffe.frontend.draft import Constant, bare, plain
from tf2caffe.frontend.prelu import recognise_prelu
from tf2caffe.graph.ops import OPS


def _plain_argmax(ops):
    """Keras 3 takes the argmax of a copy of x in which -0 is just below 0; only ties differ.

    x -> Equal 0 ------------------------------> LogicalAnd -> SelectV2(., -tiny, x)
    x -> Bitcast -> BitwiseAnd -2^31 -> Less 0 ->                  -> [Reshape] -> ArgMax
    """
    for op in ops:
        reader = op
        if op.type == "ArgMax" and op.inputs[0].type == "Reshape":
            reader = op.inputs[0]
        if op.type == "ArgMax" and reader.inputs[0].type == "SelectV2":
            guarded = _without_guard(reader.inputs[0])
            reader.inputs = [guarded or reader.inputs[0]]


def _without_guard(choice):
    """The x of Keras's guard, see `_plain_argmax`; None if the choice is another one."""
    condition, x = (*choice.inputs, None)[:2]
    if condition.type != "LogicalAnd" or len(condition.inputs) != 2:
        return None
    zero, less = condition.inputs
    sign = _read_by(less, "Less")
    bits = _read_by(sign, "BitwiseAnd")
    found = (
        _reads(choice, "SelectV2", [condition, x], operand1=-TINY)
        and _reads(zero, "Equal", [x], operand1=0)
        and _reads(less, "Less", [sign], operand1=0)
        and _reads(sign, "BitwiseAnd", [bits], operand1=-(2**31))
        and _reads(bits, "Bitcast", [x])
    )
    return x if found else None


def _read_by(op, kind):
    """What an op of this kind reads first; any other op itself."""
    return op.inputs[0] if op.type == kind and op.inputs else op


def _reads(op, kind, inputs, **numbers):
    """Whether an op of this kind reads these ops, and by their names these single numbers."""
    same = op.type == kind and len(op.inputs) == len(inputs)
    same = same and all(map(operator.is_, op.inputs, inputs))
    return (
        same
        and op.constants.keys() == numbers.keys()
        and all(op.constants[name].is_number(number) for name, number in numbers.items())
    )


def _batch_norm(ops):
    """Keras 3's BatchNormalization, or tf.nn.batch_normalization, is one BatchNorm.

    x -> Mul factor -> Add shift, both constant and computed so:
    factor = gamma * Rsqrt(variance + epsilon)
    shift = beta - mean * factor, or without beta Neg(mean) * factor
    """
    for op in ops:
        scaled = op.inputs[0] if op.type in ADD and len(op.inputs) == 1 else None
        if scaled is None or scaled.type != "Mul" or len(scaled.inputs) != 1:
            continue
        if scaled.inputs[0].shape == scaled.shape == op.shape:
            found = _batch_norm_parts(*scaled.constants.values(), *op.constants.values())
            if found:
                op.type, op.inputs = "FusedBatchNormV3", scaled.inputs
                op.attrs = {"epsilon": found.pop("epsilon")}
                op.constants = found


def _batch_norm_parts(factor, shift):
    """gamma, beta, mean, variance and epsilon, from the constant expressions; None if not so."""
    channels = factor.shape[-1:]
    if not channels or factor.size != channels[0]:
        return None  # not along the last axis
    (variance, epsilon), gamma = _root_of_variance(factor.tensor)
    mean, beta = _centre(factor.tensor, shift.tensor)
    if variance is None or mean is None:
        return None
    tensors = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    parts = {
        role: Constant(bare(tensor), factor.trace)
        for role, tensor in tensors.items()
        if tensor is not None
    }
    fits = all(part.size == channels[0] for part in parts.values())
    return {**parts, "epsilon": epsilon} if fits else None


def _centre(factor, shift):
    """(mean, beta) of beta - mean * factor, or of Neg(mean) * factor; (None, None) if not so."""
    product, beta = bare(shift), None
    if product.op.type == "Sub":
        beta, product = product.op.inputs
    if bare(product).op.type != "Mul":
        return None, None
    mean, again = bare(product).op.inputs
    negated = bare(mean).op.type == "Neg"
    if bare(again) is not bare(factor) or negated == (beta is not None):
        return None, None
    return bare(mean).op.inputs[0] if negated else mean, beta


def _root_of_variance(tensor):
    """((variance, epsilon), gamma) of gamma * Rsqrt(variance + epsilon); gamma may be None."""
    tensor, gamma = bare(tensor), None
    if tensor.op.type == "Mul":
        tensor, gamma = tensor.op.inputs
    root = bare(tensor)
    if root.op.type != "Rsqrt" or bare(root.op.inputs[0]).op.type not in ADD:
        return (None, None), None
    for variance, epsilon in permutations(bare(root.op.inputs[0]).op.inputs):
        value = tf.get_static_value(epsilon)
        if value is not None and value.ndim == 0:
            return (variance, plain(float(value))), gamma
    return (None, None), None


def _computed_bias(ops):
    """Keras takes whatever it adds for a bias, if that is one vector with the batch left out.

    BiasAdd(x, Squeeze(y)) -> AddV2(x, y), if y is (1, ..., 1, C)
    """
    for op in ops:
        bias = op.type == "BiasAdd" and op.attrs["data_format"] == "NHWC"
        if bias and len(op.inputs) == 2 and op.inputs[1].type == "Squeeze":
            vector = op.inputs[1].inputs[0]
            if vector.shape[-1] == prod(vector.shape) == op.shape[-1]:
                op.type, op.inputs, op.attrs = "AddV2", [op.inputs[0], vector], {}


def _dilation(ops):
    """TensorFlow's way to dilate a kernel, by steps of `block`.

    SpaceToBatchND(block, pads) -> convolution, VALID, of stride 1 -> BatchToSpaceND(block, crops)
    """
    for op in ops:
        inner = op.inputs[0] if op.type == "BatchToSpaceND" else None
        outer = inner.inputs[0] if inner is not None and _is_undilated(inner) else None
        if outer is None or outer.type != "SpaceToBatchND" or not _is_whole_block(op, outer):
            continue
        first = inner.attrs["data_format"] == "NCHW"
        block, pads = op.attrs["block_shape"][-2:], _dilated_pads(op, inner, outer, first)
        op.become(inner)
        op.inputs = outer.inputs
        op.attrs |= {
            "dilations": [1, 1, *block] if first else [1, *block, 1],
            "padding": "EXPLICIT", "explicit_paddings": pads,
        }  # fmt: skip


def _is_whole_block(after, before):
    """Whether BatchToSpaceND undoes SpaceToBatchND of an image, and crops only at the ends."""
    block, crops = after.attrs["block_shape"], after.attrs["crops"]
    form = after.inputs[0].attrs["data_format"]
    images = len(block) == 2 if form == "NHWC" else len(block) == 3 and block[0] == 1
    same = images and block == before.attrs["block_shape"]
    return same and not any(first for first, _ in crops)


def _dilated_pads(op, inner, outer, channels_first):
    """The zeros before and after each axis, in one list; less than none where more is cropped."""
    pads, axes = [[0, 0]] * 4, (2, 3) if channels_first else (1, 2)
    paddings = zip(axes, op.attrs["block_shape"][-2:], outer.attrs["paddings"][-2:], strict=True)
    for at, (axis, step, (first, _)) in enumerate(paddings):
        reach = step * (inner.constants["filter"].shape[at] - 1)
        pads[axis] = [first, op.shape[axis] + reach - outer.inputs[0].shape[axis] - first]
    return [end for pair in pads for end in pair]


def _is_undilated(op):
    """Whether it is a convolution of images that cuts no corners: VALID, neither strides nor
    dilations, and a constant kernel."""
    plain = op.type in ("Conv2D", "DepthwiseConv2dNative") and len(op.inputs) == 1
    plain = plain and "filter" in op.constants and op.attrs["padding"] == "VALID"
    return plain and {*op.attrs["strides"], *op.attrs["dilations"]} == {1}


def _padded_pool(ops):
    """A max pool pads itself: its padding never counts.

    Pad(-inf) -> MaxPool, VALID -> MaxPool, EXPLICIT
    """
    for op in ops:
        before = op.inputs[0] if op.type == "MaxPool" else None
        if before is None or before.type != "Pad" or op.attrs["padding"] != "VALID":
            continue
        pads, kernel = before.attrs["paddings"], op.attrs["ksize"]
        fits = all(max(pair) < size for pair, size in zip(pads, kernel, strict=True))
        if before.attrs.get("constant_values") == -np.inf and fits:
            op.inputs = before.inputs
            flat = [end for pair in pads for end in pair]
            op.attrs |= {"padding": "EXPLICIT", "explicit_paddings": flat}


def _pixelwise_dense(ops):
    """A dense layer over the last of several axes.

    x (..., C) -> Reshape (N, C) -> MatMul b -> Reshape (..., D) -> MatMul(x, b)
    """
    for op in ops:
        product = op.inputs[0] if op.type == "Reshape" else None
        if product is None or product.type != "MatMul" or not product.inputs:
            continue
        before = product.inputs[0]
        constant = "b" in product.constants and not product.attrs["transpose_a"]
        if before.type == "Reshape" and constant and _is_pixelwise(before, product, op):
            op.become(product)
            op.inputs = before.inputs


def _is_pixelwise(before, product, after):
    """Whether the reshapes around a product leave its rows as they are."""
    source = before.inputs[0]
    kept = len(source.shape) > 2 and source.shape[:-1] == after.shape[:-1]
    lengths = before.shape[-1], after.shape[-1]
    return kept and lengths == (source.shape[-1], product.shape[-1])


def _repeat(ops):
    """Rows or columns are repeated.

    x -> ExpandDims(axis) -> Tile along axis -> Reshape, merged into the axis before
    """
    for op in ops:
        tile = op.inputs[0] if op.type == "Reshape" else None
        if tile is None or tile.type != "Tile" or tile.inputs[0].type != "ExpandDims":
            continue
        source = tile.inputs[0].inputs[0]
        axis = tile.inputs[0].attrs["dim"] % len(tile.shape)
        times = tile.attrs["multiples"]
        repeated = list(source.shape)
        repeated[axis - 1] *= times[axis]
        alone = prod(times) == times[axis]
        image = len(source.shape) in (3, 4) and source.shape[0] == 1
        if alone and image and 1 < axis < len(tile.shape) - 1 and op.shape == tuple(repeated):
            op.type, op.inputs = "ResizeNearestNeighbor", [source]
            op.attrs = {"align_corners": False, "half_pixel_centers": False}


def _elu(ops):
    """Keras's elu with an alpha of its own.

    x -> Greater 0 ------------> SelectV2(., Elu, Mul) -> Elu(alpha)
    x -> Elu -> [Mul alpha] --->
    """
    for op in ops:
        if [part.type for part in op.inputs] != ["Greater", "Elu", "Mul"] or op.constants:
            continue
        above, elu, below = op.inputs
        same = above.inputs == elu.inputs and below.inputs == [elu] and op.type == "SelectV2"
        if not same or not _reads(above, "Greater", elu.inputs, operand1=0):
            continue
        alpha = _only_number(below)
        if alpha is not None and 0 < alpha < np.inf and elu.shape == op.shape:
            op.become(elu)
            op.attrs = {"alpha": plain(alpha)}


def _only_number(op):
    """The first constant of an op as a number; None if that is an array, or there is none."""
    constant = next(iter(op.constants.values()), None)
    single = constant is not None and constant.size == 1
    return float(constant.value().reshape(())) if single else None


def _bias(ops):
    """A vector added to what a convolution or dense layer alone gives is its bias.

    x -> convolution or MatMul -> BiasAdd or Add vector, which nothing else reads
    """
    readers = Counter(id(source) for op in ops for source in op.inputs)
    for op in ops:
        if not _adds_along_channels(op):
            continue
        source, vector = op.inputs[0], next(iter(op.constants.values()))
        if source.type not in BIASED or op.shape != source.shape:
            continue
        alone = readers[id(source)] == 1 and "bias" not in source.constants
        channels = source.shape[-1]
        if alone and vector.shape[-1:] == (channels,) and vector.size == channels:
            op.become(source, bias=Constant(bare(vector.tensor), vector.trace))


def _finite(ops):
    """tf.reduce_logsumexp takes the largest number off, unless it is infinite.

    x -> Max -> IsFinite -> SelectV2(., max, 0)
    """
    for op in ops:
        op.inputs = [_unless_infinite(source) for source in op.inputs]


def _unless_infinite(choice):
    """The x of where(IsFinite(x), x, 0); another op as it is."""
    inputs = choice.inputs if choice.type in CHOICES and len(choice.inputs) == 2 else ()
    if not inputs or not _reads(inputs[0], "IsFinite", [inputs[1]]):
        return choice
    (other,) = choice.constants.values()
    value = other.value()
    return inputs[1] if choice.shape == inputs[1].shape and not value.any() else choice


def _divide_no_nan(ops):
    """DivNoNan(x, c) -> RealDiv(x, c), where no number of c is 0."""
    for op in ops:
        if op.type == "DivNoNan" and "y" in op.constants and op.constants["y"].value().all():
            op.type = "RealDiv"


def _products(ops):
    """MatMul, BatchMatMul or Einsum of two computed tensors -> Einsum with a plain equation."""
    for op in ops:
        if op.type in PRODUCTS and len(op.inputs) == 2:
            products.settle(op)
            op.computed = []


def _adds_along_channels(op):
    """Whether an op adds a constant to one tensor, along its last axis if to one."""
    adds = op.type in ("BiasAdd", *ADD) and len(op.inputs) == 1 and op.constants
    return adds and op.attrs.get("data_format", "NHWC") == "NHWC"


ADD = ("Add", "AddV2")
CHOICES = ("Select", "SelectV2")
PRODUCTS = ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "MatMul")
TINY = float(np.finfo(np.float32).tiny)


BIASED = tuple(name for name, op in OPS.items() if "bias?" in op.weights)

# Of images that may still have their channels first.
OF_IMAGES = _repeat, _dilation

# In this order.
RECOGNISERS = (
    _products, _divide_no_nan, _plain_argmax, _finite, _computed_bias,
    _padded_pool, _pixelwise_dense, _elu, recognise_prelu, _batch_norm, _bias,
)  # fmt: skip
