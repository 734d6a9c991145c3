"""Ops that are several others: TensorFlow computes those too, so that each can be compared."""

import tensorflow as tf

from tf2caffe.frontend.draft import Constant, Op


def expanded(ops, trace):
    """The ops, with what others are made of in front of them."""
    found = []
    for op in ops:
        if op.type in EXPANDED:
            with trace.graph.as_default():
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


def _divide_no_nan(op, trace):
    """DivNoNan(x, c) -> RealDiv(x, c), where no number of c is 0."""
    if "y" in op.constants and op.constants["y"].value().all():
        op.type = "RealDiv"
    return []


# Op -> the ops that come before it; it becomes another one itself.
EXPANDED = {"DivNoNan": _divide_no_nan, "Pack": _pack}
