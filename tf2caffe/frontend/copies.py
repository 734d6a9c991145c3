"""TensorFlow's ops once more, with other operands or settings: what the front end rewrites."""

import tensorflow as tf

from tf2caffe.frontend.extract import operand_names
from tf2caffe.graph.ops import OPS, plain_name


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
