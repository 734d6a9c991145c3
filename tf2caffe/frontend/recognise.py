"""What TensorFlow or Keras takes apart and Caffe has as one is put together again.

Each recogniser takes the ops and rewrites those that match the pattern in its docstring.
"""

import operator
from collections import Counter
from itertools import permutations
from math import prod

import numpy as np
import tensorflow as tf

from tf2caffe.frontend import settings
from tf2caffe.frontend.draft import Constant, bare, plain
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
    sign = less.inputs[0] if less.type == "Less" and less.inputs else less
    bits = sign.inputs[0] if sign.type == "BitwiseAnd" and sign.inputs else sign
    found = (
        _reads(choice, "SelectV2", [condition, x], operand1=-TINY)
        and _reads(zero, "Equal", [x], operand1=0)
        and _reads(less, "Less", [sign], operand1=0)
        and _reads(sign, "BitwiseAnd", [bits], operand1=-(2**31))
        and _reads(bits, "Bitcast", [x])
    )
    return x if found else None


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
    """x * inv + (beta - mean * inv) with inv = gamma * rsqrt(variance + epsilon) is BatchNorm."""
    for op in ops:
        if op.type in ADD and len(op.inputs) == 1 and op.inputs[0].type == "Mul":
            scaled, (shift,) = op.inputs[0], op.constants.values()
            if len(scaled.inputs) == 1 and scaled.inputs[0].shape == scaled.shape == op.shape:
                (factor,) = scaled.constants.values()
                found = _batch_norm_parts(factor, shift)
                if found:
                    op.type, op.inputs = "FusedBatchNormV3", scaled.inputs
                    op.attrs = {"epsilon": found.pop("epsilon")}
                    op.constants = found


def _batch_norm_parts(factor, shift):
    """gamma, beta, mean, variance and epsilon, from the constant expressions; None if not so."""
    channels = factor.shape[-1:]
    if not channels or factor.tensor.shape.num_elements() != channels[0]:
        return None  # not along the last axis
    root, gamma = _root_of_variance(factor.tensor)
    centred = bare(shift.tensor)
    beta, product = None, centred
    if centred.op.type == "Sub":
        beta, product = centred.op.inputs
    if root is None or bare(product).op.type != "Mul":
        return None
    mean, again = bare(product).op.inputs
    negated = bare(mean).op.type == "Neg"
    if bare(again) is not bare(factor.tensor) or negated == (beta is not None):
        return None
    variance, epsilon = root
    mean = bare(mean).op.inputs[0] if negated else mean
    tensors = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    parts = {
        role: Constant(bare(tensor), factor.trace)
        for role, tensor in tensors.items()
        if tensor is not None
    }
    if any(part.tensor.shape.num_elements() != channels[0] for part in parts.values()):
        return None
    return {**parts, "epsilon": epsilon}


def _root_of_variance(tensor):
    """((variance, epsilon), gamma) of gamma * rsqrt(variance + epsilon); gamma may be None."""
    tensor, gamma = bare(tensor), None
    if tensor.op.type == "Mul":
        tensor, gamma = tensor.op.inputs
    root = bare(tensor)
    if root.op.type != "Rsqrt" or bare(root.op.inputs[0]).op.type not in ADD:
        return None, None
    for variance, epsilon in permutations(bare(root.op.inputs[0]).op.inputs):
        value = tf.get_static_value(epsilon)
        if value is not None and value.ndim == 0:
            return (variance, plain(float(value))), gamma
    return None, None


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
        if outer is None or outer.type != "SpaceToBatchND":
            continue
        block, crops, before = op.attrs["block_shape"], op.attrs["crops"], outer.attrs["paddings"]
        if len(block) != 2 or block != outer.attrs["block_shape"] or any(crop[0] for crop in crops):
            continue
        pads = [[0, 0]]
        for axis, step, (first, _) in zip((1, 2), block, before, strict=True):
            reach = step * (inner.constants["filter"].shape[axis - 1] - 1)
            pads.append([first, op.shape[axis] + reach - outer.inputs[0].shape[axis] - first])
        flat = [end for pair in [*pads, [0, 0]] for end in pair]
        op.become(inner)
        op.inputs = outer.inputs
        op.attrs |= {
            "dilations": [1, *block, 1], "padding": "EXPLICIT", "explicit_paddings": flat
        }  # fmt: skip


def _is_undilated(op):
    """Whether it is a convolution of images that cuts no corners: VALID, neither strides nor
    dilations, channels last, and a constant kernel."""
    plain = op.type in ("Conv2D", "DepthwiseConv2dNative") and len(op.inputs) == 1
    plain = plain and "filter" in op.constants and op.attrs["padding"] == "VALID"
    ones = plain and {*op.attrs["strides"], *op.attrs["dilations"]} == {1}
    return ones and op.attrs["data_format"] == "NHWC"


def _padded_pool(ops):
    """Pad with -inf -> MaxPool VALID is a MaxPool that pads itself: its padding never counts."""
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
    """A dense layer over the last of several axes is a product between two reshapes."""
    for op in ops:
        if op.type == "Reshape" and op.inputs[0].type == "MatMul":
            product = op.inputs[0]
            before = product.inputs[0] if product.inputs else None
            if before is None or before.type != "Reshape" or "b" not in product.constants:
                continue
            if product.attrs["transpose_a"]:
                continue
            source = before.inputs[0]
            kept = len(source.shape) > 2 and source.shape[:-1] == op.shape[:-1]
            if kept and (before.shape[-1], op.shape[-1]) == (source.shape[-1], product.shape[-1]):
                op.become(product)
                op.inputs = [source]


def _repeat(ops):
    """A new axis, tiled and merged into the one before it, repeats rows or columns."""
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
        if alone and 1 < axis < len(tile.shape) - 1 and op.shape == tuple(repeated):
            op.type, op.inputs = "ResizeNearestNeighbor", [source]
            op.attrs = {"align_corners": False, "half_pixel_centers": False}


def _elu(ops):
    """where(x > 0, elu(x), alpha * elu(x)) is Keras's elu with an alpha of its own."""
    for op in ops:
        if [part.type for part in op.inputs] != ["Greater", "Elu", "Mul"] or op.constants:
            continue
        above, elu, below = op.inputs
        zero, (factor, *_) = above.constants.get("operand1"), [*below.constants.values(), None]
        same = above.inputs == elu.inputs and below.inputs == [elu] and op.type == "SelectV2"
        if same and zero and zero.is_number(0) and factor and factor.size == 1:
            alpha = float(factor.value().reshape(()))
            if 0 < alpha < np.inf and elu.shape == op.shape:
                op.become(elu)
                op.attrs = {"alpha": plain(alpha)}


def _bias(ops):
    """A vector added to what a convolution or dense layer alone gives is its bias."""
    readers = Counter(id(source) for op in ops for source in op.inputs)
    for op in ops:
        if op.type not in ("BiasAdd", "AddV2", "Add") or len(op.inputs) != 1 or not op.constants:
            continue
        if op.attrs.get("data_format", "NHWC") != "NHWC":
            continue  # it is added along axis 1
        source, vector = op.inputs[0], next(iter(op.constants.values()))
        if source.type not in BIASED or op.shape != source.shape:
            continue
        alone = readers[id(source)] == 1 and "bias" not in source.constants
        channels = source.shape[-1]
        if alone and vector.shape[-1:] == (channels,) and vector.size == channels:
            op.become(source, bias=Constant(bare(vector.tensor), vector.trace))


ADD = ("Add", "AddV2")
TINY = float(np.finfo(np.float32).tiny)


BIASED = tuple(name for name, op in OPS.items() if "bias?" in op.weights)

# In this order.
RECOGNISERS = (
    settings.resolve, _plain_argmax, _computed_bias, _dilation, _padded_pool, _pixelwise_dense,
    _repeat, _elu, _batch_norm, _bias,
)  # fmt: skip
