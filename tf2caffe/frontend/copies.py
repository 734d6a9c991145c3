"""TensorFlow's ops once more, with other operands or settings: what the front end rewrites."""

import contextlib

import tensorflow as tf

from tf2caffe.frontend.extract import operand_names
from tf2caffe.frontend.settings import KNOWN
from tf2caffe.graph.ops import OPS, plain_name


@contextlib.contextmanager
def scope_of(op, trace):
    """What is made within it lies in the trace's graph, in the scope of this op."""
    scope = op.tensor.op.name.rpartition("/")[0]
    with trace.graph.as_default(), tf.name_scope(f"{scope}/" if scope else ""):
        yield


def rewrite_all(ops, trace, rewrite, made):
    """The list `made`: for each op, what `rewrite(op)` puts there before it, and the op itself.

    TensorFlow's graph then computes them too.
    """
    for op in ops:
        with scope_of(op, trace):
            rewrite(op)
        made.append(op)
    trace.graph_def = trace.graph.as_graph_def()
    return made


def operands_of(op):
    """What an op reads, ops and constants, in TensorFlow's order; no settings."""
    record, given = KNOWN.get(op.type), iter(op.inputs)
    names = operand_names(record.operands if record else (), len(op.tensor.op.inputs))
    names = [name for name in names if not name.endswith("!")]
    return [op.constants.get(name) or next(given) for name in names]


def operands(op, inputs, constants, attrs):
    """The tensors that TensorFlow's op takes, in its order."""
    names, given = _names(op), iter(inputs)
    tensors = []
    for name in names:
        setting = name.endswith("!") and tf.constant(attrs[plain_name(name)], tf.int32)
        tensors.append(
            setting if name.endswith("!") else (constants.get(name) or next(given)).tensor
        )
    return tensors


def _names(op):
    """The names of the operands of TensorFlow's op."""
    return operand_names(OPS[op.type].operands if op.type in OPS else (), len(op.tensor.op.inputs))


def copied(op, operands, attrs):
    """TensorFlow's op once more, with other operands and settings; its first output."""
    raw = op.tensor.op
    values = {key: value for key, value in raw.node_def.attr.items() if key[0] != "_"}
    for name, value in attrs.items():
        values[name] = tf.compat.v1.AttrValue()
        if isinstance(value, str):
            values[name].s = value.encode()
        else:
            values[name].list.i.extend(value)
    types = [output.dtype for output in raw.outputs]
    return raw.graph.create_op(raw.type, operands, types, attrs=values).outputs[0]
