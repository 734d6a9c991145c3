"""Ops that are several others: TensorFlow computes those too, so that each can be compared."""

from functools import wraps
from math import prod

import tensorflow as tf

from tf2caffe.frontend import linear, products, volumes
from tf2caffe.frontend.copies import scope_of
from tf2caffe.frontend.draft import Constant, Op, constants


def expanded(ops, trace):
    """The ops, with what others are made of in front of them."""
    found = []
    for op in ops:
        if op.type in EXPANDED:
            with scope_of(op, trace):
                found += EXPANDED[op.type](op, trace)
        found.append(op)
    return found


def _pack(op, trace):
    """Pack(x, y) -> ConcatV2(Reshape(x), Reshape(y)), each with an axis of one element."""
    axis = op.attrs["axis"] % len(op.shape)
    shape = [1 if at == axis else size for at, size in enumerate(op.shape)]
    inputs, given = iter(op.inputs), op.constants
    op.type, op.attrs, op.inputs, op.constants = "ConcatV2", {"axis": axis}, [], {}
    for at, tensor in enumerate(op.tensor.op.inputs):
        turned = tf.reshape(tensor, shape)
        if f"operand{at}" in given:
            op.constants[f"values{at}"] = Constant(turned, trace)
        else:
            op.inputs.append(Op("Reshape", turned, [next(inputs)], {}, {"shape": shape}))
    return list(op.inputs)


def rerouted(graph_def, ops):
    """TensorFlow's graph, in which what read an op's former tensor reads its new one."""
    names = {op.former.op.name: op.tensor.op.name for op in ops if op.former is not None}
    for node in graph_def.node if names else ():
        for at, name in enumerate(node.input):
            node.input[at] = names.get(name, name)
    return _without(graph_def, names)


def _without(graph_def, names):
    """The graph without those of the named ops with channels first that nothing reads any more.

    TensorFlow has no kernel for some of them, and looks for one though they are not run.
    """
    gone = {
        node.name
        for node in graph_def.node
        if node.name in names and "data_format" in node.attr
        if node.attr["data_format"].s == b"NCHW"
    }
    if gone:
        gone -= {name.partition(":")[0] for node in graph_def.node for name in node.input}
        kept = [node for node in graph_def.node if node.name not in gone]
        graph_def = tf.compat.v1.GraphDef(node=kept, versions=graph_def.versions)
    return graph_def


def _by(expand):
    """An expansion that is told how drafts and constants are made."""

    @wraps(expand)
    def expanded_by(op, trace):
        return expand(op, Op, constants(trace))

    return expanded_by


def _select(op, trace):
    """SelectV2(mask, x, y) -> AddV2(Mul(x, mask), y * ~mask), if the mask is a constant.

    Of two computed tensors both are multiplied.
    """
    if "operand0" not in op.constants or not op.tensor.dtype.is_floating:
        return []
    mask, made, terms = tf.cast(op.tensor.op.inputs[0], tf.float32), [], []
    inputs, fixed = iter(op.inputs), {}
    for at, factor in ((1, mask), (2, 1 - mask)):
        if f"operand{at}" in op.constants:
            terms.append(op.constants[f"operand{at}"].tensor * factor)
            fixed["y"] = Constant(terms[-1], trace)
            continue
        source = next(inputs)
        terms.append(source.tensor * factor)
        made.append(Op("Mul", terms[-1], [source], {"y": Constant(factor, trace)}))
    op.replace(Op("AddV2", tf.add(*terms), list(made), fixed))
    return made


def _one_image(op, trace):
    """A batch of T images, which is channels of one image: kernels are repeated for each.

    x -> Reshape (1, T, H, W, C) -> Transpose (1, H, W, T, C) -> Reshape (1, H, W, T C) -> the op
      -> Reshape (1, H, W, T, O) -> Transpose (1, T, H, W, O) -> Reshape (T, H, W, O)
    """
    source, (count, *size) = op.inputs[0], op.inputs[0].shape
    plain = len(op.inputs) == 1 and len(size) == 3
    if count == 1 or not plain or op.attrs.get("data_format", "NHWC") != "NHWC":
        return []
    chain, whole = products.Chain(source, Op), [1, *size[:2], count * size[2]]
    chain.reshape([1, count, *size])
    chain.transpose([0, 2, 3, 1, 4])
    chain.reshape(whole)
    constants = _repeated(op, count, trace)
    chain.add(op.type, _computed(op, chain.last.tensor, constants), constants, op.attrs)
    _, *out = op.shape
    chain.reshape([1, *out[:2], count, out[2]])
    chain.transpose([0, 3, 1, 2, 4])
    return chain.end(op)


def _softmax(op, trace):
    """Of more than five axes, Softmax between two Reshapes: oneDNN computes five at most."""
    if len(op.shape) <= 5:
        return []
    first, *rest, last = op.shape
    chain = products.Chain(op.inputs[0], Op)
    chain.reshape((first, prod(rest), last))
    chain.add("Softmax", tf.nn.softmax(chain.last.tensor), attrs=op.attrs)
    return chain.end(op)


def _repeated(op, count, trace):
    """The op's kernel and bias, once for each image."""
    repeats = {"filter": (1, 1, count, 1) if op.type.startswith("Depthwise") else (1, 1, 1, count)}
    return {
        name: Constant(tf.tile(one.tensor, repeats.get(name, (count,))), trace)
        for name, one in op.constants.items()
    }


def _computed(op, tensor, constants):
    """What the op makes of another input and other constants."""
    operands = {"value" if op.type == "AvgPool" else "input": tensor}
    operands |= {name: one.tensor for name, one in constants.items() if name != "bias"}
    result = getattr(tf.raw_ops, op.type)(**operands, **_given(op.attrs))
    return result + constants["bias"].tensor if "bias" in constants else result


def _given(attrs):
    """The attributes as TensorFlow's op takes them; explicit paddings only where it has some."""
    return {name: value for name, value in attrs.items() if value != []}


# Op -> the ops that come before it; it becomes another one itself.
EXPANDED = {
    **dict.fromkeys(
        ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "MatMul"), _by(products.weighted)
    ),
    **dict.fromkeys(("Einsum", "EinsumDiagonal"), _by(products.einsum)),
    **dict.fromkeys(("AvgPool", "Conv2D", "DepthwiseConv2dNative", "MaxPool"), _one_image),
    **dict.fromkeys(("AvgPool3D", "MaxPool3D"), _by(volumes.pooling)),
    "CropAndResize": _by(linear.cropped),
    "Conv3D": _by(volumes.convolution),
    "BroadcastTo": _by(linear.broadcast),
    "Pack": _pack,
    "Pad": _by(linear.pad_number),
    "SelectV2": _select,
    "Softmax": _softmax,
}
