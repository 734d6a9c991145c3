"""The draft of a graph: TensorFlow's ops that depend on the input, and their constants."""

import re
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from tf2caffe.frontend.trace import Trace
from tf2caffe.graph.ops import EITHER, PASSED_ON


@dataclass(eq=False)
class Constant:
    """A tensor that does not depend on the input; its value is fetched when it is asked for."""

    tensor: tf.Tensor
    trace: Trace

    @property
    def name(self):
        """The variable's name (`conv1/kernel:0`), or the tensor's."""
        variable = self.trace.variables.get(self.tensor.op.name)
        return variable[0] if variable else self.tensor.name

    @property
    def shape(self):
        return tuple(self.tensor.shape)

    @property
    def size(self):
        return self.tensor.shape.num_elements()

    def value(self):
        """The value as an array, from the variable itself where it is one."""
        if self.tensor.op.name in self.trace.variables:
            return self.trace.stored(self.tensor.op.name)
        value = tf.get_static_value(self.tensor)
        return self.trace.value(self.tensor.name) if value is None else value

    def is_computed(self):
        """Whether TensorFlow must be run for its value."""
        stored = self.tensor.op.name in self.trace.variables
        return not stored and tf.get_static_value(self.tensor) is None

    def is_number(self, number):
        """Whether it is this one number, written in the graph."""
        if self.tensor.shape.num_elements() != 1:
            return False
        value = tf.get_static_value(self.tensor)
        return value is not None and float(value.reshape(())) == number


@dataclass(eq=False)
class Op:
    """A draft of a node: `inputs` are ops, `constants` the operands that are not, by their names.

    `computed` are the operands that should be constants, and depend on the input. `former` is the
    tensor of TensorFlow's own op, if another op has taken its place. `name` and `layer` are given
    last, when it is known which ops there are. `lifted` tells that graph.json has
    an axis more (see `batch`).
    """

    type: str
    tensor: tf.Tensor
    inputs: list = field(default_factory=list)
    constants: dict = field(default_factory=dict)
    attrs: dict = field(default_factory=dict)
    computed: list = field(default_factory=list)
    lifted: bool = False
    former: tf.Tensor | None = None
    name: str = ""
    layer: str = ""

    @property
    def shape(self):
        return tuple(self.tensor.shape)

    @property
    def short(self):
        """The op's type without the number of its revision: AddV2 is Add."""
        return re.sub(r"V\d+$", "", self.type)

    def replace(self, other):
        """Be another op, which computes the same: whatever reads this one reads that."""
        self.become(other)
        self.former = self.tensor if self.former is None else self.former
        self.tensor = other.tensor

    def become(self, other, **constants):
        """Take the place of the op before this one: its type and operands, and more constants."""
        self.type, self.inputs, self.attrs = other.type, other.inputs, other.attrs
        self.computed = other.computed
        self.constants = {**other.constants, **constants}


def constants(trace):
    """What makes a constant of an array, or of a tensor."""

    def constant(value):
        with trace.graph.as_default():
            return Constant(tf.convert_to_tensor(value), trace)

    return constant


def live(ops, outputs):
    """The ops that the outputs depend on, in order."""
    found, waiting = set(), list(outputs)
    while waiting:
        op = waiting.pop()
        if id(op) not in found:
            found.add(id(op))
            waiting += op.inputs if isinstance(op, Op) else []
    return [op for op in ops if id(op) in found]


def compute_together(trace, constants):
    """Let the constants that must be computed be computed at once."""
    trace.together |= {constant.tensor.name for constant in constants if constant.is_computed()}


def plain(value):
    if isinstance(value, float):
        return float(str(np.float32(value)))  # 0.001, not 0.0010000000474974513
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def bare(tensor):
    """The tensor before ops that only rename or reshape it."""
    while tensor.op.type in (*PASSED_ON, "Reshape", "ExpandDims", "Squeeze"):
        tensor = tensor.op.inputs[tensor.value_index]
    return tensor


def arrays(op):
    """The constants that are weights, not single numbers."""
    return {
        name: constant
        for name, constant in op.constants.items()
        if name not in EITHER or constant.tensor.shape.num_elements() != 1
    }
