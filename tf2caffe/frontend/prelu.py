"""PReLU, which TensorFlow and Keras build of simpler ops, as one op: `PRelu` of graph.json.

    x -> Relu ------------------------> AddV2    x, where x > 0
    x -> Neg -> Relu -> Mul (-alpha) ->          alpha * x, where x < 0

The ops above 0 may also be a Maximum(x, 0), those below 0 a Minimum(x, 0) or x - |x|; there may be
more Neg, a Mul by a number, and a Sub in place of the AddV2. Caffe's PReLU has one slope a channel:
other shapes of alpha stay as they are.
"""

from dataclasses import replace

import tensorflow as tf


def recognise_prelu(ops):
    """Turn each sum that is a PReLU with one slope a channel into a `PRelu`."""
    for op in ops:
        found = _parts(op) if op.type in SIGNS and len(op.inputs) == 2 else None
        if found:
            x, alpha = found
            op.type, op.inputs, op.attrs, op.constants = "PRelu", [x], {}, {"alpha": alpha}


def _parts(op):
    """(x, alpha) of a PReLU; None if the op is no PReLU, or its alpha is not one number a channel.

    The first operand is the part above 0; those of an addition may come in any order.
    """
    pairs = [op.inputs] if op.type == "Sub" else [op.inputs, op.inputs[::-1]]
    for above, below in pairs:
        x = _source(above)
        alpha = _slope(below, x, SIGNS[op.type]) if x is not None else None
        if alpha is not None and x.shape == op.shape and _is_per_channel(alpha, x):
            return x, alpha
    return None


def _source(op):
    """The x of Relu(x) or Maximum(x, 0), else None."""
    rectified = op.type == "Relu" or (op.type == "Maximum" and _reads_zero(op))
    return op.inputs[0] if rectified else None


def _reads_zero(op):
    return [constant.is_number(0) for constant in op.constants.values()] == [True]


def _slope(op, x, sign):
    """The constant alpha, where sign * op is alpha * min(x, 0); None if it is not."""
    factor, alpha = sign, None
    while (part := _part_below(op, x)) is None:
        constant = next(iter(op.constants.values()), None)
        number = _number(constant)
        if op.type == "Neg":
            factor = -factor
        elif op.type == "Mul" and number is not None:
            factor *= number
        elif op.type == "Mul" and constant and alpha is None:
            alpha = constant
        else:
            return None
        op = op.inputs[0]
    return alpha and FACTORS.get(factor * part, lambda constant: None)(alpha)


def _part_below(op, x):
    """What min(x, 0) is multiplied by in an op that computes nothing else; None for other ops."""
    if op.type == "Relu" and op.inputs[0].type == "Neg" and op.inputs[0].inputs == [x]:
        return -1
    if op.type == "Minimum" and _reads_zero(op) and op.inputs == [x]:
        return 1
    if op.type == "Sub" and len(op.inputs) == 2 and op.inputs[0] is x:
        return 2 if op.inputs[1].type == "Abs" and op.inputs[1].inputs == [x] else None
    return None


def _number(constant):
    """The value of a constant that is one number, written in the graph; else None."""
    value = tf.get_static_value(constant.tensor) if constant and constant.size == 1 else None
    return None if value is None else float(value.reshape(()))


def _is_per_channel(alpha, x):
    return alpha.shape[-1:] == x.shape[-1:] and alpha.size == x.shape[-1]


def _negated(constant):
    """The constant that this one is the negative of; None if that takes a computation."""
    if constant.tensor.op.type == "Neg":
        return replace(constant, tensor=constant.tensor.op.inputs[0])
    value = tf.get_static_value(constant.tensor)
    if value is None:
        return None
    with constant.tensor.graph.as_default():
        return replace(constant, tensor=tf.constant(-value))


# Op -> the sign of its second operand.
SIGNS = {"Add": 1, "AddV2": 1, "Sub": -1}

# What min(x, 0) is multiplied by beside the constant -> the slope, given the constant.
FACTORS = {1: lambda constant: constant, -1: _negated}
