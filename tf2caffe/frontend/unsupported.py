"""What cannot be taken to Caffe, all of it at once: a line for each op, with why and what to do."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf2caffe.failure import Unsupported, listed
from tf2caffe.frontend import batch, cut, later
from tf2caffe.frontend.draft import Constant, Op, arrays
from tf2caffe.frontend.extract import NEXT
from tf2caffe.frontend.naming import name_ops
from tf2caffe.frontend.settings import KNOWN
from tf2caffe.frontend.trace import is_random
from tf2caffe.graph.graph import Node
from tf2caffe.graph.ops import EITHER, OPS, ROLES, WEIGHTS, unfit_attrs, unfit_weights


class Problem(NamedTuple):
    """A line of a refusal, and the op that it tells of, as a draft."""

    op: Op
    line: str


def refuse(lines, advice="", graph=None):
    """Raise `Unsupported` with these lines, if there are any, and what to do behind them."""
    if lines:
        text = listed(f"{len(lines)} thing(s) cannot be taken to Caffe", lines)
        raise Unsupported(f"{text}\n{advice}" if advice else text, graph)


def refuse_unsound(trace, inputs, ops, outputs):
    """Raise `Failure`, before anything is recognised, where no recogniser could look at the ops."""
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
        name_ops(ops, trace, outputs)
        known = KNOWN | dict.fromkeys(GUARDS)
        found = _unknown(ops, known) + [_problem(op, DYNAMIC) for op in _unshaped(ops, known)]
        refuse(
            problems + [problem.line for problem in found], cut.advice(trace, ops, found, outputs)
        )


def refuse_unsupported(trace, inputs, ops, outputs, name):
    """Raise `Failure` where something of what is left cannot be written to graph.json.

    What would be refused later of the other ops, of a network called `name`, is told too.
    """
    problems = _unknown(ops, OPS) + _other_types(ops) + _infinite(ops) + _misplaced(ops)
    problems += [
        _problem(op, OF_BATCH.format(op.shape[0]))
        for op in ops
        if op.lifted and op.type in OF_ONE_IMAGE
    ]
    refused = {id(problem.op) for problem in problems}
    refused |= {id(op) for op in ops if op.type not in OPS}
    sound = [op for op in ops if id(op) not in refused]
    problems += [_problem(op, why) for op in sound for why in unfit_attrs(batch.node(op))]
    problems += _unprintable(inputs + ops)
    if problems:
        refused |= {id(problem.op) for problem in problems}
        graph = later.stand_in(name, inputs, ops, outputs, refused)
        further = later.problems(graph)
        problems += [Problem(op, further[op.name]) for op in sound if op.name in further]
        lines = [problem.line for problem in problems]
        refuse(lines, cut.advice(trace, ops, problems, outputs), graph)


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
            continue  # a table, a random mask: the op that reads or draws it is named
        if op.type in known and op.computed:
            problems.append(_problem(op, COMPUTED.format(" and ".join(op.computed))))
        elif op.type not in known:
            problems.append(_problem(op, _why(op)))
        elif op.attrs.get("training"):
            problems.append(_problem(op, IN_TRAINING))
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
    if ":" in op.type:
        return OTHER_OUTPUT
    return RANDOM if is_random(op.tensor.op.type) else WHY.get(op.type, NO_EQUAL)


def _unprintable(ops):
    """Names with characters that cannot be printed."""
    strange = [op for op in ops if not op.name.isprintable()]
    return [
        Problem(op, f"{op.name!r}: the name has characters that cannot be printed")
        for op in strange
    ]


def _misplaced(ops):
    """What is wrong with ops that compute what tf2caffe takes as a weight, or the reverse."""
    problems = []
    for op in ops:
        weights = {ROLES.get(name, name): None for name in arrays(op)}
        draft = Node(op.name, op.layer, op.type, [], op.shape, {}, weights)
        missing, surplus = unfit_weights(draft) if op.type in OPS else ([], [])
        problems += [_problem(op, f"its {name} is computed, which {TAKEN}") for name in missing]
        if not missing:
            problems += [
                _problem(op, f"its {name} is a constant, which {TAKEN}") for name in surplus
            ]
    return problems


def _other_types(ops):
    """Ops that compute in half or double precision, a line for each type."""
    found = {}
    for op in ops:
        if op.tensor.dtype not in (tf.float32, tf.int32, tf.int64) and op.type in OPS:
            found.setdefault(op.tensor.dtype.name, []).append(op)
    return [
        _problem(ops[0], f"it{_and_more(ops)} in {name}; {SINGLE}")
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
            if name in EITHER and constant.tensor.shape.num_elements() == 1
        ]
        found = [number for number in numbers if not np.isfinite(number)]
        why = PADS_INFINITE if op.type == "Pad" else INFINITE
        problems += [_problem(op, why.format(number)) for number in found]
    return problems


def _and_more(ops):
    return f" and {len(ops) - 1} more compute" if len(ops) > 1 else " computes"


def _problem(op, why):
    return Problem(op, f"{op.name} ({op.tensor.op.type}): {why}")


# What a recogniser takes away.
GUARDS = ("Bitcast", "BitwiseAnd", "Equal", "Greater", "Less", "LogicalAnd", "SelectV2")

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
# Of a batch that is a part of one image (see `batch`) these are not computed yet.
OF_ONE_IMAGE = (
    "Conv2DBackpropInput", "DepthToSpace", "ExtractImagePatches", "LRN", "ResizeBilinear",
    "ResizeNearestNeighbor", "SpaceToDepth",
)  # fmt: skip
OF_BATCH = (
    "it computes on {} images that were made of one, which tf2caffe does for convolutions, pooling "
    "and what computes number by number; end the network before it"
)
SINGLE = "Caffe computes in float32: build the model in float32 (its weights may stay as they are)"
IN_TRAINING = (
    "it takes the statistics of the batch, and the file has no moving averages for it; export the "
    "model for inference"
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
CHOICES = ("Select", "SelectV2")

# Why an op is refused, where more can be said than that it is not converted.
WHY = {
    **dict.fromkeys(
        ("If", "Merge", "RefMerge", "RefSwitch", "StatelessIf", "Switch"),
        "control flow that the data decide, Caffe has no branches; decide it (training? which "
        "branch?) before the model is saved",
    ),
    **dict.fromkeys(
        ("Enter", "Exit", "LoopCond", "RefEnter", "RefExit", *NEXT),
        "control flow of TF1 in which tf2caffe sees no loop; unroll it, or end the network before "
        "it",
    ),
    **dict.fromkeys(
        ("Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "NotEqual", "Select", "SelectV2",
         "Where"),
        "a choice that depends on the data; say it with relu, maximum or minimum",
    ),
    **dict.fromkeys(
        ("AvgPool3D", "Conv3D", "Conv3DBackpropInputV2", "MaxPool3D"),
        "of windows of three dimensions tf2caffe converts convolutions and pooling of one volume, "
        "without groups, not transposed; end the network before it",
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
    **dict.fromkeys(
        ("Cos", "Sin", "Tan"),
        "Caffe has no layer that is periodic, and sums of its layers equal none beyond a bounded "
        "range; build the model without it, or end the network before it",
    ),
    "CropAndResize": "it fills what lies beyond the image with a number, which " + TAKEN,
    "Cast": "it changes the type within the network, Caffe computes in float32; leave it out",
    "GatherV2": "a lookup with other indices for each of a batch (batch_dims), which " + TAKEN,
    "Placeholder": "it is fed from outside, but is none of the inputs; name it with --inputs, or "
    "give its value with --set NAME=VALUE",
}  # fmt: skip
