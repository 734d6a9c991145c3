"""From a traced TensorFlow model to the graph on disk: what is read, recognised and named.

Only ops that depend on the input are kept; whatever else there is in a traced model folds to a
constant. What TensorFlow or Keras takes apart and Caffe has as one is put together again (see
RECOGNISERS): BatchNorm, which Keras 3 lowers to Rsqrt, Mul, Sub, AddV2; biases; dilated kernels.
"""

import operator
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations
from math import prod

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from tf2caffe.failure import Failure, listed
from tf2caffe.frontend import batch, linear, products
from tf2caffe.frontend.tf_import import uncollected
from tf2caffe.frontend.trace import Trace, ancestors, is_random, known_size
from tf2caffe.graph.graph import Graph, Node, Weight, file_stem
from tf2caffe.graph.ops import unfit_attrs, unfit_weights


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
    last, when it is known which ops there are.
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

    def become(self, other, **constants):
        """Take the place of the op before this one: its type and operands, and more constants."""
        self.type, self.inputs, self.attrs = other.type, other.inputs, other.attrs
        self.computed = other.computed
        self.constants = {**other.constants, **constants}

    def replace(self, other):
        """Be another op, which computes the same: whatever reads this one reads that."""
        self.become(other)
        self.former, self.tensor = self.former or self.tensor, other.tensor


@uncollected()
def read(trace, name, names=None, classes=()):
    """The `Graph` of a traced model, and the name of each node's tensor in the trace.

    Weights are not fetched: `Weight.source` holds the `Constant`. `names` maps layers to what
    Caffe shall call them. Raises `Failure` that lists every op that cannot be read.
    """
    inputs, ops, outputs = _extract(trace)
    every = [*trace.unused, *(op.name for op in inputs)]
    inputs = _live(inputs, outputs.values())  # OpenCV runs no network with one that is not read
    _refuse_unfit(trace, inputs, _live(ops, outputs.values()), outputs)
    for recognise in RECOGNISERS:
        ops = _live(ops, outputs.values())
        recognise(ops)
    _linear(ops, trace)
    ops = _expanded(ops, trace)
    _divide_no_nan(ops)
    ops = batch.lift(_live(ops, outputs.values()), Op)
    trace.graph_def = _rerouted(trace.graph.as_graph_def(), ops)
    _name(ops, trace, outputs)
    problems = _unknown(ops, OPS) + _other_types(ops) + _infinite(ops) + _misplaced(ops)
    _refuse(problems + _unprintable(inputs + ops))
    _together(trace, [constant for op in ops for constant in op.constants.values()])
    nodes = [_node(op) for op in ops]
    _refuse([f"{node.name} ({node.op}): {why}" for node in nodes for why in unfit_attrs(node)])
    shapes = {op.name: op.shape for op in inputs}
    found = {name: op.name for name, op in outputs.items()}
    graph = Graph(name, shapes, nodes, found, list(classes), names or {})
    graph.unused = [name for name in every if name not in shapes]
    _name_files(graph)
    trace.known = {op.tensor.op.name: op.name for op in ops}
    return graph, {op.name: op.tensor.name for op in [*inputs, *ops]}


def _extract(trace):
    """Inputs, ops that depend on them, and outputs by name; everything else as constants."""
    made = {}
    for name, tensor in trace.inputs.items():
        made[tensor] = Op("Placeholder", trace.graph.get_tensor_by_name(tensor), name=name)
    inputs = list(made.values())
    rounds = _rounds(trace, made)
    made, ops = made | {op.tensor.name: op for op in rounds}, rounds
    for raw in trace.graph.get_operations():
        if raw.outputs and raw.outputs[0].name in made:
            continue
        operands = [made.get(tensor.name) or Constant(tensor, trace) for tensor in raw.inputs]
        for output, result in _results(raw, operands, trace):
            made[output.name] = result
            if isinstance(result, Op) and result.tensor is output:
                ops.append(result)
    outputs = {name: made[tensor] for name, tensor in trace.outputs.items()}
    return inputs, ops, outputs


def _rounds(trace, made):
    """What TF1's loops hand to their next round, which is read before it is computed."""
    found = [raw for raw in trace.graph.get_operations() if raw.type in NEXT]
    inputs = {op.tensor.op.name for op in made.values()}
    return [
        Op(raw.type, raw.outputs[0])
        for raw in found
        if inputs & {op.name for op in ancestors(raw.outputs[:1])}
    ]


def _results(raw, operands, trace):
    """What each output of a TensorFlow op is to us: an op, a constant, or what it passes on."""
    if raw.type in PASSED_ON:
        return list(zip(raw.outputs, operands, strict=False))
    dynamic = any(isinstance(operand, Op) for operand in operands) or _is_fed(raw, trace)
    if not dynamic or known_size(raw) is not None:
        return [(output, Constant(output, trace)) for output in raw.outputs]
    same = _unchanged(raw, operands)
    if same is not None:
        return [(raw.outputs[0], same)]
    return [(output, _op(raw, output, operands)) for output in raw.outputs]


def _is_fed(raw, trace):
    """Whether an op without dynamic operands is not a constant either: random, or from outside."""
    if raw.type == "Placeholder":
        return raw.name not in trace.variables
    return _is_stateful(raw.type) or is_random(raw.type)


@cache
def _is_stateful(type):
    definition = op_def_registry.get(type)
    return definition is None or definition.is_stateful


def _unchanged(raw, operands):
    """The operand that the op gives back as it is: x * 1, x + 0, max(x, -inf), a cast."""
    if raw.type == "Cast" and raw.get_attr("SrcT") == raw.get_attr("DstT"):
        return operands[0]
    neutral = NEUTRAL.get(raw.type)
    if neutral is None or raw.outputs[0].shape != next(
        tensor.shape
        for tensor, operand in zip(raw.inputs, operands, strict=True)
        if isinstance(operand, Op)
    ):
        return None
    first, second = operands
    if isinstance(second, Constant) and second.is_number(neutral):
        return first
    if raw.type not in ("RealDiv", "Sub") and isinstance(first, Constant):
        return second if first.is_number(neutral) else None
    return None


def _op(raw, output, operands):
    """An op as a draft: its operands by name, its attributes as plain values."""
    names, attrs = (OPS | OPS_ON_THE_WAY).get(raw.type, ((), ()))
    names = [*names, *(f"operand{at}" for at in range(len(names), len(operands)))]
    draft = Op(raw.type, output, attrs={key: _plain(raw.get_attr(key)) for key in attrs})
    if output.value_index and raw.type in OPS:
        draft.type = f"{raw.type}:{output.value_index}"  # which no table knows
    for name, operand in zip(_operand_names(raw, names), operands, strict=False):
        if not isinstance(operand, Op):
            draft.constants[name] = operand
            continue
        if operand.tensor.dtype.is_floating or not is_random(raw.type):  # seeds say no more
            draft.inputs.append(operand)
        if name.endswith("!") or name in WEIGHTS:
            draft.computed.append(name.rstrip("!"))
    return draft


def _operand_names(raw, names):
    """ConcatV2 takes any number of operands, the axis after them."""
    if raw.type == "ConcatV2":
        return [f"values{at}" for at in range(len(raw.inputs) - 1)] + ["axis!"]
    return names


def _plain(value):
    if isinstance(value, float):
        return float(str(np.float32(value)))  # 0.001, not 0.0010000000474974513
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


def _live(ops, outputs):
    """The ops that the outputs depend on, in order."""
    found, waiting = set(), list(outputs)
    while waiting:
        op = waiting.pop()
        if id(op) not in found:
            found.add(id(op))
            waiting += op.inputs if isinstance(op, Op) else []
    return [op for op in ops if id(op) in found]


def _together(trace, constants):
    """Let the constants that must be computed be computed at once."""
    trace.together |= {constant.tensor.name for constant in constants if constant.is_computed()}


def _settings(ops):
    """Operands that are settings become attributes, spelt as the mapping takes them."""
    for op in ops:
        settings = [constant for name, constant in op.constants.items() if name.endswith("!")]
        if settings:
            _together(settings[0].trace, settings)
    for op in ops:
        for name in [name for name in op.constants if name.endswith("!")]:
            op.attrs[name.rstrip("!")] = op.constants.pop(name).value().tolist()
        if op.type in SETTLED:
            SETTLED[op.type](op)
        if op.type == "StridedSlice" and _takes_all(op):
            op.type, op.attrs = "Reshape", {"shape": list(op.shape)}


def _takes_all(op):
    """Whether a slice leaves nothing out: x[:, None, None, :] only adds axes."""
    sizes, strides = op.attrs["sizes"], op.attrs["strides"]
    forward = all(step == 1 or size == 1 for size, step in zip(sizes, strides, strict=True))
    return forward and sizes == list(op.inputs[0].shape)


def _settle_slice(op):
    """begin, sizes, strides for every axis of the input, out of TensorFlow's masks.

    New axes, and axes of one element that are dropped, are left to the output's shape.
    """
    attrs, given = op.attrs, list(range(len(op.attrs["begin"])))
    masks = {name: attrs[f"{name}_mask"] for name in ("ellipsis", "new_axis")}
    given = [at for at in given if masks["ellipsis"] >> at & 1 or not masks["new_axis"] >> at & 1]
    missing = len(op.inputs[0].shape) - sum(1 for at in given if not masks["ellipsis"] >> at & 1)
    axes = []
    for at in given:
        axes += [None] * missing if masks["ellipsis"] >> at & 1 else [at]
    axes += [None] * (len(op.inputs[0].shape) - len(axes))
    ranges = [
        _sliced(attrs, at, length) for at, length in zip(axes, op.inputs[0].shape, strict=True)
    ]
    op.attrs = {
        "begin": [chosen.start for chosen in ranges],
        "sizes": [len(chosen) for chosen in ranges],
        "strides": [chosen.step for chosen in ranges],
    }


def _sliced(attrs, at, length):
    """The indices that one axis of a StridedSlice keeps; `at` is None where nothing is said."""
    if at is None:
        return range(length)
    first = None if attrs["begin_mask"] >> at & 1 else attrs["begin"][at]
    last = None if attrs["end_mask"] >> at & 1 else attrs["end"][at]
    if attrs["shrink_axis_mask"] >> at & 1:
        first = attrs["begin"][at] % length
        last = first + 1
    return range(*slice(first, last, attrs["strides"][at]).indices(length))


def _settle_split(op):
    """One output of a Split is a slice."""
    axis = op.attrs["axis"] % len(op.shape)
    outputs = op.tensor.op.outputs
    at = op.tensor.value_index
    begin, strides = [0] * len(op.shape), [1] * len(op.shape)
    begin[axis] = sum(output.shape[axis] for output in outputs[:at])
    op.type = "StridedSlice"
    op.attrs = {"begin": begin, "sizes": list(op.shape), "strides": strides}


def _settle_unpack(op):
    """One output of an Unpack is a slice without its axis."""
    shape = op.inputs[0].shape
    axis = op.attrs["axis"] % len(shape)
    begin, sizes = [0] * len(shape), list(shape)
    begin[axis], sizes[axis] = op.tensor.value_index, 1
    op.type = "StridedSlice"
    op.attrs = {"begin": begin, "sizes": sizes, "strides": [1] * len(shape)}


def _settle_old_slice(op):
    shape = op.inputs[0].shape
    sizes = [
        length - first if size == -1 else size
        for length, first, size in zip(shape, op.attrs["begin"], op.attrs["size"], strict=True)
    ]
    op.type = "StridedSlice"
    op.attrs = {"begin": op.attrs["begin"], "sizes": sizes, "strides": [1] * len(shape)}


def _linear(ops, trace):
    """Whatever is linear along its axes, as matrices."""
    for op in ops:
        if op.type in linear.AXES and len(op.inputs) == 1 and not op.computed:
            linear.settle(op, _constants(trace))


def _constants(trace):
    """What makes a constant of an array, or of a tensor."""

    def constant(value):
        with trace.graph.as_default():
            return Constant(tf.convert_to_tensor(value), trace)

    return constant


def _expanded(ops, trace):
    """Ops that are several others, which TensorFlow then computes for the proof."""
    found = []
    for op in ops:
        if op.type in EXPANDED:
            scope = op.tensor.op.name.rpartition("/")[0]
            with trace.graph.as_default(), tf.name_scope(f"{scope}/" if scope else ""):
                found += EXPANDED[op.type](op, trace)
        found.append(op)
    return found


def _rerouted(graph_def, ops):
    """TensorFlow's graph, in which what read an op's former tensor reads its new one."""
    names = {op.former.op.name: op.tensor.op.name for op in ops if op.former is not None}
    for node in graph_def.node if names else ():
        for at, name in enumerate(node.input):
            node.input[at] = names.get(name, name)
    return graph_def


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


def _divide_no_nan(ops):
    """DivNoNan(x, c) -> RealDiv(x, c), where no number of c is 0."""
    for op in ops:
        if op.type == "DivNoNan" and "y" in op.constants and op.constants["y"].value().all():
            op.type = "RealDiv"


def _by(expand):
    """An expansion that is told how drafts and constants are made."""
    return lambda op, trace: expand(op, Op, _constants(trace))


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


EXPANDED = {
    **dict.fromkeys(
        ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "MatMul"),
        _by(products.weighted),
    ),
    "BroadcastTo": _by(linear.broadcast),
    "Pack": _pack,
    "Pad": _by(linear.pad_number),
    "SelectV2": _select,
}


def _products(ops):
    """Products of two computed tensors as equations."""
    for op in ops:
        if op.type in (*PRODUCTS, "MatMul") and len(op.inputs) == 2:
            products.settle(op)
            op.computed = []


def _settle_batch_matmul(op):
    """A product with a constant matrix is a dense layer."""
    second = op.constants.get("b")
    if second is not None and len(second.shape) == 2:
        op.type = "MatMul"
        op.attrs = {"transpose_a": op.attrs["adj_x"], "transpose_b": op.attrs["adj_y"]}


def _settle_einsum(op):
    """...i, io -> ...o with a constant matrix is a dense layer over the last axis."""
    second = op.constants.get("b")
    left, arrow, result = op.attrs["equation"].replace(" ", "").partition("->")
    if any(len(set(part)) < len(part) for part in left.replace("...", "").split(",")):
        op.type = "EinsumDiagonal"
        return
    first, comma, matrix = left.partition(",")
    plain = arrow and comma and "." not in left and len(set(first + matrix)) == len(first) + 1
    dense = len(matrix) == 2 and first[-1:] == matrix[0] and result == first[:-1] + matrix[1]
    if second is not None and plain and dense:
        op.type, op.attrs = "MatMul", {"transpose_a": False, "transpose_b": False}


def _settle_norm(op):
    """The batch's own statistics are for training; what is exported has the moving ones."""
    op.type = "FusedBatchNormV3"
    if not op.attrs.pop("is_training"):
        return
    op.attrs["training"] = True


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
    centred = _bare(shift.tensor)
    beta, product = None, centred
    if centred.op.type == "Sub":
        beta, product = centred.op.inputs
    if root is None or _bare(product).op.type != "Mul":
        return None
    mean, again = _bare(product).op.inputs
    negated = _bare(mean).op.type == "Neg"
    if _bare(again) is not _bare(factor.tensor) or negated == (beta is not None):
        return None
    variance, epsilon = root
    mean = _bare(mean).op.inputs[0] if negated else mean
    tensors = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    parts = {
        role: Constant(_bare(tensor), factor.trace)
        for role, tensor in tensors.items()
        if tensor is not None
    }
    if any(part.tensor.shape.num_elements() != channels[0] for part in parts.values()):
        return None
    return {**parts, "epsilon": epsilon}


def _root_of_variance(tensor):
    """((variance, epsilon), gamma) of gamma * rsqrt(variance + epsilon); gamma may be None."""
    tensor, gamma = _bare(tensor), None
    if tensor.op.type == "Mul":
        tensor, gamma = tensor.op.inputs
    root = _bare(tensor)
    if root.op.type != "Rsqrt" or _bare(root.op.inputs[0]).op.type not in ADD:
        return None, None
    for variance, epsilon in permutations(_bare(root.op.inputs[0]).op.inputs):
        value = tf.get_static_value(epsilon)
        if value is not None and value.ndim == 0:
            return (variance, _plain(float(value))), gamma
    return None, None


def _bare(tensor):
    """The tensor before ops that only rename or reshape it."""
    while tensor.op.type in (*PASSED_ON, "Reshape", "ExpandDims", "Squeeze"):
        tensor = tensor.op.inputs[0]
    return tensor


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
                op.attrs = {"alpha": _plain(alpha)}


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
            op.become(source, bias=Constant(_bare(vector.tensor), vector.trace))


def _refuse(problems):
    if problems:
        raise Failure(listed(f"{len(problems)} thing(s) cannot be taken to Caffe", problems))


def _refuse_unfit(trace, inputs, ops, outputs):
    """Raise `Failure`, before anything is recognised, where there is nothing sound to look at."""
    problems = [
        f"{op.name} ({op.tensor.dtype.name} input): an op reads it as such, Caffe's inputs are "
        "floats; let the model take float32, or cast it to float32 first"
        for op in inputs
        if op.tensor.dtype != tf.float32
    ]
    problems += [
        f"{name} (output): it does not depend on the input; leave it out of the outputs"
        for name, output in outputs.items()
        if isinstance(output, Constant)
    ]
    if problems or any(_is_unsound(op) for op in ops):
        _name(ops, trace, outputs)
        known = OPS | OPS_ON_THE_WAY | dict.fromkeys(GUARDS)
        unshaped = [_told(op, DYNAMIC) for op in _unshaped(ops, known)]
        _refuse(problems + _unknown(ops, known) + unshaped)


def _is_unsound(op):
    """Whether no recogniser can look at an op: its shape or a setting is not known."""
    settings = [name for name in op.computed if name not in WEIGHTS]
    return bool(settings) or not op.tensor.shape.is_fully_defined()


def _unshaped(ops, known):
    """The ops, of known types, that make outputs of unknown shape out of inputs of known shape."""
    return [
        op
        for op in ops
        if op.type in known and not op.tensor.shape.is_fully_defined()
        if all(part.tensor.shape.is_fully_defined() for part in op.inputs)
    ]


def _unknown(ops, known):
    """What is wrong with ops that cannot be written to graph.json."""
    problems, drawn = [], _drawn(ops)
    for op in ops:
        if op.tensor.dtype == tf.resource or id(op) in drawn:
            continue  # a table's handle, a mask of random numbers: what reads or draws it is told
        if op.type in known and op.computed:
            problems.append(_told(op, COMPUTED.format(" and ".join(op.computed))))
        elif op.type not in known:
            problems.append(_told(op, _why(op)))
        elif op.attrs.get("training"):
            problems.append(_told(op, IN_TRAINING))
    return problems


def _drawn(ops):
    """The ops that depend on random numbers alone, and the choices between tensors by them."""
    drawn, choices = {id(op) for op in ops if is_random(op.tensor.op.type)}, set()
    told = set(drawn)
    for op in ops:
        reads = [id(source) for source in op.inputs]
        if reads and drawn.issuperset(reads):
            drawn.add(id(op))
        elif op.type in CHOICES and reads and reads[0] in drawn:
            choices.add(id(op))
    return drawn - told | choices


def _why(op):
    """Why an op of an unknown type is refused."""
    if op.type in PRODUCTS and any(not name.endswith("!") for name in op.constants):
        return OTHER_PRODUCT
    if ":" in op.type:
        return OTHER_OUTPUT
    return RANDOM if is_random(op.tensor.op.type) else WHY.get(op.type, NO_EQUAL)


def _unprintable(ops):
    """Names that no line can hold."""
    strange = [op.name for op in ops if not op.name.isprintable()]
    return [f"{name!r}: the name has characters that cannot be printed" for name in strange]


def _misplaced(ops):
    """What is wrong with ops that compute what tf2caffe takes as a weight, or the reverse."""
    problems = []
    for op in ops:
        weights = {ROLES.get(name, name): None for name in _arrays(op)}
        draft = Node(op.name, op.layer, op.type, [], op.shape, {}, weights)
        missing, surplus = unfit_weights(draft) if op.type in OPS else ([], [])
        problems += [_told(op, f"its {name} is computed, which {TAKEN}") for name in missing]
        if not missing:
            problems += [_told(op, f"its {name} is a constant, which {TAKEN}") for name in surplus]
    return problems


def _other_types(ops):
    """Computing in half or double precision, told once for each type."""
    found = {}
    for op in ops:
        if op.tensor.dtype not in (tf.float32, tf.int32, tf.int64) and op.type in OPS:
            found.setdefault(op.tensor.dtype.name, []).append(op)
    return [
        _told(ops[0], f"it{_and_more(ops)} in {name}; Caffe computes in float32: build the model "
              "in float32 (its weights may stay as they are)")
        for name, ops in found.items()
    ]  # fmt: skip


def _infinite(ops):
    """Ops with a number that is not finite: no blob that it makes could be compared."""
    problems = []
    for op in ops:
        numbers = [op.attrs["constant_values"]] if op.attrs.get("constant_values") else []
        numbers += [
            float(constant.value().reshape(()))
            for name, constant in op.constants.items()
            if name in ("x", "y") and constant.tensor.shape.num_elements() == 1
        ]
        found = [number for number in numbers if not np.isfinite(number)]
        why = PADS_INFINITE if op.type == "Pad" else INFINITE
        problems += [_told(op, why.format(number)) for number in found]
    return problems


def _and_more(ops):
    return f" and {len(ops) - 1} more compute" if len(ops) > 1 else " computes"


def _told(op, why):
    return f"{op.name} ({op.tensor.op.type}): {why}"


def _name(ops, trace, outputs):
    """Give each op the name that the user knows: the layer's for its main op, `layer/Op` else."""
    places = (_layers if trace.layers else _scopes)(ops, trace)
    groups = {}
    for op in ops:
        scope, path, own = places[id(op)]
        groups.setdefault(scope, (path, []))[1].append((op, own))
    keys = {id(op): key for key, op in outputs.items()}
    taken = Counter(name for name in trace.inputs)
    for path, members in groups.values():
        if not path:
            for op, own in members:
                key = keys.get(id(op), own)
                op.layer = _unique(own if key.endswith(f"/{own}") else key, taken)
                op.name = op.layer if op.layer == own else f"{op.layer}/{op.short}"
            continue
        path = _unique(path, taken)
        main = _main([op for op, _ in members], trace.layers)
        for op, own in members:
            op.name = _unique(f"{path}/{own}", taken)
            op.layer = path if op is main else op.name


def _main(ops, layers):
    """The op that bears the layer's name: the last with weights. In a mere scope of several
    convolutions none does."""
    weighted = [op for op in ops if _arrays(op)]
    return None if len(weighted) > 1 and not layers else (weighted or ops)[-1]


def _layers(ops, trace):
    """Where each op is: (its Keras layer as TensorFlow spells it, as the user does, the op)."""
    return {id(op): (*_scope(op.tensor.op.name, trace.layers), op.short) for op in ops}


def _scopes(ops, trace):
    """Where each op is, by the scopes that it was made in; what is common to all is left out."""
    paths = {id(op): [p for p in op.tensor.op.name.split("/") if not CALL.match(p)] for op in ops}
    scoped = [path for path in paths.values() if len(path) > 1]
    decorated = bool(scoped) and all(KERAS.search(path[0]) for path in scoped)
    root = _common(list(paths.values()))
    decorated &= all(KERAS.search(path[root]) for path in scoped if len(path) > root + 1)
    places = {}
    for op in ops:
        *scope, own = paths[id(op)][root:]
        if scope[-1:] == ["batchnorm"]:  # the scope that tf.nn.batch_normalization opens
            scope.pop()
        shown = [KERAS.sub("", part) for part in scope] if decorated else scope
        told = own if not scope or (own != op.type == op.tensor.op.type) else op.short
        places[id(op)] = "/".join(scope), "/".join(shown), op.short if decorated else told
    return places


def _common(paths):
    """How many leading scopes all the paths share; a path's last part is the op itself."""
    root = 0
    while all(len(path) > root + 1 for path in paths) and len({p[root] for p in paths}) == 1:
        root += 1
    return root


def _scope(name, layers):
    """The scope that the layer's ops share, as TensorFlow spells it and as the user knows it.

    Keras opens each layer's scope twice, which makes TensorFlow add `_1` to it, `_3` when the
    layer is called again.
    """
    parts = name.split("/")[:-1]
    known = [(at, _layer_of(part, layers)) for at, part in enumerate(parts)]
    known = [(at, layer) for at, layer in known if layer]
    if not known:
        return "", ""
    return "/".join(parts[: known[-1][0] + 1]), "/".join(layer for _, layer in known)


def _layer_of(part, layers):
    bare = re.sub(r"_\d+$", "", part)
    if bare != part and bare in layers:
        return bare
    return part if part in layers else None


def _unique(name, taken):
    taken[name] += 1
    return name if taken[name] == 1 else _unique(f"{name}_{taken[name] - 1}", taken)


def _arrays(op):
    """The constants that are weights, not single numbers."""
    return {
        name: constant
        for name, constant in op.constants.items()
        if name not in ("x", "y") or constant.tensor.shape.num_elements() != 1
    }


def _node(op):
    arrays = _arrays(op)
    attrs = dict(op.attrs)
    for name, constant in op.constants.items():
        if name not in arrays:
            attrs[name] = _plain(float(constant.value().reshape(())))
    weights = {ROLES.get(name, name): Weight("", (), constant) for name, constant in arrays.items()}
    inputs = [source.name for source in op.inputs]
    return Node(op.name, op.layer, op.type, inputs, batch.shape(op), attrs, weights)


def _name_files(graph):
    """Name the weights' files after the Caffe layers that they are for."""
    taken = Counter()
    for node in graph.nodes:
        for role, weight in node.weights.items():
            norm = role in ("mean", "variance")
            layer = graph.caffe_name(f"{node.layer}_norm" if norm else node.layer)
            stem = file_stem(layer)
            suffix = "var" if role == "variance" else role
            weight.file = _unique(f"{stem}-{suffix}", taken) + ".npy"


# Passed on without a trace: they change nothing once the network is trained.
PASSED_ON = (
    "CheckNumerics", "EnsureShape", "Identity", "IdentityN", "PlaceholderWithDefault",
    "PreventGradient", "Print", "Snapshot", "StopGradient",
)  # fmt: skip

ADD = ("Add", "AddV2")

# The operands that Caffe has as weights.
WEIGHTS = ("b", "beta", "filter", "gamma", "mean", "variance")

TINY = float(np.finfo(np.float32).tiny)

# What a recogniser takes away.
GUARDS = ("Bitcast", "BitwiseAnd", "Equal", "Greater", "IsFinite", "Less", "LogicalAnd", "SelectV2")

# What a round of TF1's loops hands to the next.
NEXT = ("NextIteration", "RefNextIteration")

# Products of two tensors.
PRODUCTS = ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum")

# A scope that is a function's call, and one to which Keras 3 has added a number.
CALL, KERAS = re.compile(r"(Stateful)?PartitionedCall(_\d+)?$"), re.compile(r"_\d*[13579]$")

BIASED = ("Conv2D", "Conv2DBackpropInput", "DepthwiseConv2dNative", "MatMul")

# Op -> the number with which it changes nothing.
NEUTRAL = {
    "Add": 0, "AddV2": 0, "Maximum": -np.inf, "Minimum": np.inf, "Mul": 1, "RealDiv": 1, "Sub": 0,
}  # fmt: skip

# Put together again what TensorFlow or Keras takes apart, in this order.
RECOGNISERS = (
    _settings, _products, _plain_argmax, _finite, _computed_bias, _dilation, _padded_pool,
    _pixelwise_dense, _repeat, _elu, _batch_norm, _bias,
)  # fmt: skip

# What graph.json calls the operands that are weights.
ROLES = {"filter": "kernel", "b": "kernel"}

CONVOLUTION = ("strides", "padding", "dilations", "explicit_paddings", "data_format")
POOLING = ("ksize", "strides", "padding", "data_format")
NORM = (("x", "gamma", "beta", "mean", "variance"), ("epsilon", "data_format", "is_training"))
REDUCTION = (("input", "axis!"), ("keep_dims",))
RESIZE = (("images", "size!"), ("align_corners", "half_pixel_centers"))
MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
UNARY, BINARY = (("x",), ()), (("x", "y"), ())

# TensorFlow op -> its operands (those with ! are settings) and the attributes that change numbers.
OPS = {
    **dict.fromkeys(
        ("Abs", "Elu", "Erf", "Erfc", "Exp", "Expm1", "Log", "LogSoftmax", "Neg", "Reciprocal",
         "Relu", "Relu6", "Rsqrt", "Selu", "Sigmoid", "Softmax", "Softplus", "Softsign", "Sqrt",
         "Square", "Tanh"), UNARY,
    ),
    **dict.fromkeys(
        ("Add", "AddV2", "Maximum", "Minimum", "Mul", "Pow", "RealDiv",
         "SquaredDifference", "Sub"), BINARY,
    ),
    **dict.fromkeys(("Max", "Mean", "Min", "Sum"), REDUCTION),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), NORM),
    **dict.fromkeys(("ResizeBilinear", "ResizeNearestNeighbor"), RESIZE),
    "AddN": ((), ()),
    "Along": (("x",), ()),
    "ArgMax": (("input", "dimension!"), ()),
    "AvgPool": (("value",), POOLING),
    "BiasAdd": (("x", "y"), ("data_format",)),
    "ConcatV2": ((), ()),
    "Conv2D": (("input", "filter"), CONVOLUTION),
    "Conv2DBackpropInput": (("input_sizes!", "filter", "out_backprop"), CONVOLUTION),
    "DepthToSpace": (("input",), ("block_size", "data_format")),
    "DepthwiseConv2dNative": (("input", "filter"), CONVOLUTION),
    "Einsum": (("a", "b"), ("equation",)),
    "ExtractImagePatches": (("images",), ("ksizes", "strides", "rates", "padding")),
    "ExpandDims": (("input", "dim!"), ()),
    "LRN": (("input",), ("depth_radius", "bias", "alpha", "beta")),
    "LeakyRelu": (("features",), ("alpha",)),
    "MatMul": (("a", "b"), ("transpose_a", "transpose_b")),
    "MaxPool": (("input",), (*POOLING, "explicit_paddings")),
    "Pad": (("input", "paddings!", "constant_values!"), ()),
    "Reshape": (("tensor", "shape!"), ()),
    "SpaceToDepth": (("input",), ("block_size", "data_format")),
    "Squeeze": (("input",), ()),
    "StridedSlice": (("input", "begin!", "end!", "strides!"), MASKS),
    "Transpose": (("x", "perm!"), ()),
}  # fmt: skip

# Ops that a recogniser turns into one of the above, and what it needs of them.
OPS_ON_THE_WAY = {
    **dict.fromkeys(
        ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"),
        (("a", "b"), ("adj_x", "adj_y")),
    ),
    "BatchToSpaceND": (("input", "block_shape!", "crops!"), ()),
    "PadV2": (("input", "paddings!", "constant_values!"), ()),
    "Slice": (("input", "begin!", "size!"), ()),
    "SpaceToBatchND": (("input", "block_shape!", "paddings!"), ()),
    "Split": (("axis!", "value"), ()),
    "SplitV": (("value", "size_splits!", "axis!"), ()),
    **{op: (operands, ()) for op, operands in linear.OPERANDS.items()},
    "DivNoNan": (("x", "y"), ()),
    "Pack": ((), ("axis",)),
    "Unpack": (("value",), ("axis",)),
}

# Op -> what turns it into its final form once its settings are known.
SETTLED = {
    **dict.fromkeys(("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _settle_batch_matmul),
    "Einsum": _settle_einsum,
    "FusedBatchNorm": _settle_norm,
    "FusedBatchNormV2": _settle_norm,
    "FusedBatchNormV3": _settle_norm,
    "PadV2": lambda op: setattr(op, "type", "Pad"),
    "Slice": _settle_old_slice,
    "Split": _settle_split,
    "SplitV": _settle_split,
    "StridedSlice": _settle_slice,
    "Unpack": _settle_unpack,
}

NO_EQUAL = "tf2caffe does not convert it; build the model without it, or end the network before it"
TAKEN = "tf2caffe does not convert yet; end the network before it"
DYNAMIC = "its output's shape is known only when it runs, Caffe's are fixed; end the network before"
INFINITE = (
    "it computes with {}, and Caffe's blobs must be finite to be compared; take a large finite "
    "number, such as -1e9 in a mask before a softmax"
)
PADS_INFINITE = (
    "it pads with {}, which Caffe can only before a max pool (padding VALID, windows larger than "
    "the padding); pad with a large finite number"
)
IN_TRAINING = (
    "it takes the statistics of the batch, and nothing tells its moving averages; export the model "
    "for inference"
)

RANDOM = (
    "random numbers, Caffe's networks have none; save the model for inference, or cut them off: "
    "end the network before them, or make them an input"
)

COMPUTED = (
    "it computes its {} from the input; Caffe's weights and settings are fixed: make it a "
    "constant, or end the network before it"
)
OTHER_OUTPUT = "only its first output has an equal in Caffe; build the model without the others"
OTHER_PRODUCT = (
    "a product with a constant that is no matrix of weights from the right, which " + TAKEN
)
CHOICES = ("Select", "SelectV2")

# Why an op is refused, where more can be said than that it is not converted.
WHY = {
    **dict.fromkeys(
        ("Enter", "Exit", "If", "LoopCond", "Merge", "RefEnter", "RefExit", "RefMerge", "RefSwitch",
         "StatelessIf", "StatelessWhile", "Switch", "While", *NEXT),
        "control flow is not converted: tf2caffe unrolls no loop yet, Caffe has no branches; "
        "unroll it (unroll=True), or decide it (training? which branch?) before the model is saved",
    ),
    **dict.fromkeys(
        PRODUCTS,
        "a product of two computed tensors (attention), which " + TAKEN,
    ),
    **dict.fromkeys(
        ("Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "NotEqual", "Select", "SelectV2",
         "Where"),
        "a choice that depends on the data; say it with relu, maximum or minimum",
    ),
    **dict.fromkeys(
        ("AvgPool3D", "Conv3D", "Conv3DBackpropInputV2", "MaxPool3D"),
        "tf2caffe converts windows of two dimensions only; end the network before it",
    ),
    **dict.fromkeys(
        ("FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVars",
         "FakeQuantWithMinMaxVarsPerChannel", "QuantizeAndDequantizeV2", "QuantizeAndDequantizeV3",
         "QuantizeAndDequantizeV4"),
        "it rounds to a few bits, Caffe computes in float32; save the model without quantisation",
    ),
    **dict.fromkeys(
        ("Dequantize", "QuantizeV2", "QuantizedConv2D", "QuantizedMatMul", "QuantizedRelu"),
        "it computes in integers, Caffe in float32; save the model before it is quantised",
    ),
    **dict.fromkeys(
        ("HashTableV2", "LookupTableFindV2"),
        "a table of strings or integers; end the network before it, or begin it after",
    ),
    **dict.fromkeys(
        ("ReadVariableOp", "VarHandleOp", "Variable", "VariableV2"),
        "a variable whose value is not in the file; save the model together with it",
    ),
    "EinsumDiagonal": "a product along a diagonal, which " + TAKEN,
    "Cast": "it changes the type within the network, Caffe computes in float32; leave it out",
    "GatherV2": "a lookup, which tf2caffe does not convert yet; slice, or end the network before",
    "MirrorPad": "tf2caffe does not convert mirror padding yet; build the model with zero padding",
    "Placeholder": "it is fed from outside, but is none of the inputs; name it with --inputs, or "
    "save the model with its value",
}  # fmt: skip
