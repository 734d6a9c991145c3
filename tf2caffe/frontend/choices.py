"""Choices between tensors by what the data are: where(x > c, a, b), masks, signs.

Where both sides meet at the number, the choice is a sum of each side on its own part of the line:

    where(x > c, f(x), g(x))  ->  f(max(x, c)) + g(min(x, c)) - f(c)

Where they jump, it takes a Step, which is 1 where x > c and else 0:

    where(x > c, a, b)  ->  a Step(x, c) + b (1 - Step(x, c))
"""

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

from tf2caffe.frontend.copies import copied, operands, operands_of, rewrite_all
from tf2caffe.frontend.draft import Constant, Op
from tf2caffe.frontend.extract import operand_names
from tf2caffe.graph import layout_rules
from tf2caffe.graph.ops import OPS

MEETS = 1e-6  # how far apart two sides may be where they meet, relative to 1 or to themselves


def settle_all(ops, trace):
    """The ops, in which choices that depend on the data are others that Caffe has."""
    if not any(op.type in CHOICES or _is_of_truths(op) for op in ops):
        return ops
    choices = Choices(trace)
    return rewrite_all(ops, trace, choices.settle, choices.made)


def _is_of_truths(op):
    """Whether it is a cast of truths to numbers."""
    return op.type == "Cast" and len(op.inputs) == 1 and op.inputs[0].tensor.dtype == tf.bool


class Choices:
    """The ops as they are settled, in order: `made`. `masks` are the truths as numbers."""

    def __init__(self, trace):
        self.trace, self.made, self.masks = trace, [], {}

    def settle(self, op):
        """Make a choice, a sign or a cast of truths what Caffe has, if it can be."""
        if op.tensor.dtype != tf.float32:
            return
        made, found = len(self.made), None
        if op.type in ("Select", "SelectV2") and _shape(op.tensor.op.inputs[0]) is not None:
            found = self.choice(op)
        elif op.type == "Sign":
            above, below = self.step(op.inputs[0], 0.0), self.step(self.minus(op.inputs[0]), 0.0)
            found = self.add("Sub", above, below)
        elif _is_of_truths(op):
            found = self.mask(op.inputs[0])
        if found is None or found.shape != op.shape:
            del self.made[made:]
        elif self.made and found is self.made[-1]:
            op.replace(self.made.pop())
        else:
            op.replace(self.add("Mul", found, 1.0))
            self.made.pop()

    def choice(self, op):
        """The sum that a choice is; None if it cannot be told."""
        truth, *sides = operands_of(op)
        if not isinstance(truth, Op):
            return None
        sides = [self.single(side) for side in sides]
        compared = self.compared(truth)
        if compared is None or truth.shape != op.shape:
            return self.by_mask(self.mask(truth), sides, op)
        kind, x, number, other = compared
        above, below = sides if kind[0] == ">" else sides[::-1]
        if other is not None and kind[0] in "<>" and {id(above), id(below)} == {id(x), id(other)}:
            return self.add("Maximum" if above is x else "Minimum", x, other)
        if kind[0] not in "<>" or number is None:
            return self.by_mask(self.mask(truth), sides, op)
        return self.at_number(x, number, above, below, truth, kind)

    def at_number(self, x, number, above, below, truth, kind):
        """A choice by which side of a number x lies on."""
        slope = _slope(below, x) if above is x and number == 0 else None
        if slope is not None:
            tensor = tf.nn.leaky_relu(x.tensor, slope)
            return self.append(Op("LeakyRelu", tensor, [x], {}, {"alpha": slope}))
        most, least = self.add("Maximum", x, number), self.add("Minimum", x, number)
        upper, lower = self.again(above, x, most), self.again(below, x, least)
        if upper is not None and lower is not None:
            ends = _value(above, x, number), _value(below, x, number)
            if None not in ends and _meet(*ends):
                return self.joined(upper, lower, ends[0])
        upper = above if upper is None else upper
        lower = below if lower is None else lower
        sides = (upper, lower) if kind[0] == ">" else (lower, upper)
        return self.by_mask(self.mask(truth), sides, truth)

    def joined(self, upper, lower, end):
        """Both sides, less what they have in common."""
        if isinstance(upper, Constant):
            return lower
        if isinstance(lower, Constant):
            return upper
        total = self.add("AddV2", upper, lower)
        return self.add("Sub", total, end) if end else total

    def by_mask(self, mask, sides, op):
        """Each side times whether it is chosen."""
        if mask is None:
            return None
        terms = []
        for at, side in enumerate(sides):
            if isinstance(side, Constant) and _number(side) == 0:
                continue
            share = mask if at == 0 else self.add("Sub", 1.0, mask)
            terms.append(self.add("Mul", share, side))
        if not terms:
            return self.add("Mul", mask, 0.0)
        return terms[0] if len(terms) == 1 else self.add("AddV2", *terms)

    def mask(self, op):
        """A tensor of truths as numbers, 1 and 0; None if it cannot be told."""
        if id(op) not in self.masks:
            self.masks[id(op)] = self._mask(op)
        return self.masks[id(op)]

    def _mask(self, op):
        if op.type in LOGIC:
            sides = [self.mask(one) if isinstance(one, Op) else self.truths(one)
                     for one in operands_of(op)]  # fmt: skip
            return None if None in sides else LOGIC[op.type](self, *sides)
        compared = self.compared(op)
        if compared is None:
            return None
        kind, x, number, other = compared
        if other is not None:
            x, number = self.add("Sub", x, other), 0.0
        sides = []
        if kind in (">", "<=", "==", "!="):
            sides.append(self.step(x, number))
        if kind in ("<", ">=", "==", "!="):
            sides.append(self.step(self.minus(x), -number))
        apart = self.add("AddV2", *sides) if len(sides) == 2 else sides[0]
        return apart if kind in (">", "<", "!=") else self.add("Sub", 1.0, apart)

    def single(self, side):
        """A side; a constant of one number as that number."""
        number = None if isinstance(side, Op) or side.size == 1 else _number(side)
        return side if number is None else Constant(tf.constant(number, tf.float32), self.trace)

    def truths(self, constant):
        return Constant(tf.cast(constant.tensor, tf.float32), self.trace)

    def compared(self, op):
        """(kind, x, number, None) or (kind, x, None, other) of a comparison of floats, or None.

        The number or the other stands on the right.
        """
        if op.type not in COMPARISONS or op.tensor.op.inputs[0].dtype != tf.float32:
            return None
        kind, (x, other) = COMPARISONS[op.type], operands_of(op)
        if not isinstance(x, Op):
            x, other = other, x
            kind = kind.translate(TURNED)
        if x.shape != op.shape:
            return None
        if isinstance(other, Constant) and (number := _number(other)) is not None:
            return kind, x, number, None
        return kind, x, None, other

    def again(self, side, x, other):
        """A side that is computed of x, number by number, computed of another tensor."""
        if side is x:
            return other
        if not isinstance(side, Op):
            return side if side.size == 1 else None
        if not _is_elementwise(side) or side.shape != x.shape:
            return None
        found = [self.again(one, x, other) for one in side.inputs]
        if None in found or not all(isinstance(one, Op) for one in found):
            return None
        if any(one.size != 1 for one in side.constants.values()):
            return None
        tensor = copied(side, operands(side, found, side.constants, side.attrs), {})
        return self.append(Op(side.type, tensor, found, side.constants, side.attrs))

    def step(self, x, number):
        """1 where x is larger than the number."""
        tensor = tf.cast(x.tensor > number, tf.float32)
        return self.append(Op("Step", tensor, [x], {}, {"threshold": float(number)}))

    def minus(self, x):
        return self.append(Op("Neg", tf.negative(x.tensor), [x]))

    def add(self, kind, x, y):
        """An op of two operands, each an op, a constant or a number."""
        sides = {"x": x, "y": y}
        for role, side in sides.items():
            if isinstance(side, float):
                sides[role] = Constant(tf.constant(side), self.trace)
        tensor = getattr(tf.raw_ops, kind)(**{role: side.tensor for role, side in sides.items()})
        inputs = [side for side in sides.values() if isinstance(side, Op)]
        constants = {role: side for role, side in sides.items() if isinstance(side, Constant)}
        return self.append(Op(kind, tensor, inputs, constants))

    def append(self, op):
        self.made.append(op)
        return op


def _shape(tensor):
    return tuple(tensor.shape) if tensor.shape.is_fully_defined() else None


def _is_elementwise(op):
    record = OPS.get(op.type)
    return (
        record is not None
        and record.layout is layout_rules.elementwise
        and op.tensor.op.type == op.type
    )


def _slope(op, x):
    """The number by which x is multiplied; None if it is not."""
    if isinstance(op, Constant) or op.type != "Mul" or op.inputs != [x]:
        return None
    (factor,) = op.constants.values()
    return float(factor.value().reshape(())) if factor.size == 1 else None


def _value(side, x, number):
    """What a side is where x is this number."""
    if side is x:
        return number
    if isinstance(side, Constant):
        return _number(side)
    raw, given = side.tensor.op, iter(side.inputs)
    names = operand_names(OPS[side.type].operands, len(raw.inputs))
    values = [
        _number(side.constants[name]) if name in side.constants else _value(next(given), x, number)
        for name in names
    ]
    arguments = [argument.name for argument in raw.op_def.input_arg]
    many = raw.op_def.input_arg[0].number_attr
    with context.eager_mode():
        values = [tf.constant(value, tf.float32) for value in values]
        fed = {arguments[0]: values} if many else dict(zip(arguments, values, strict=True))
        return float(getattr(tf.raw_ops, side.type)(**fed, **side.attrs))


def _number(constant):
    """The one number that a constant holds, however often; None if it holds several."""
    value = np.asarray(constant.value())
    return float(value.flat[0]) if value.size and (value == value.flat[0]).all() else None


def _meet(first, second):
    return np.isclose(first, second, rtol=MEETS, atol=MEETS)


def _both(choices, x, y):
    return choices.add("Mul", x, y)


def _either(choices, x, y):
    apart = [choices.add("Sub", 1.0, one) for one in (x, y)]
    return choices.add("Sub", 1.0, choices.add("Mul", *apart))


# TensorFlow op -> how it compares; what stands on the left as it stands on the right.
COMPARISONS = {
    "Equal": "==", "Greater": ">", "GreaterEqual": ">=", "Less": "<", "LessEqual": "<=",
    "NotEqual": "!=",
}  # fmt: skip
TURNED = str.maketrans("<>", "><")

LOGIC = {
    "LogicalAnd": _both,
    "LogicalNot": lambda choices, x: choices.add("Sub", 1.0, x),
    "LogicalOr": _either,
}
CHOICES = ("Select", "SelectV2", "Sign")
