"""From a traced model's graph to drafts: what depends on the input, the rest as constants."""

from functools import cache

import numpy as np
from tensorflow.python.framework import op_def_registry

from tf2caffe.frontend.draft import Constant, Op, plain
from tf2caffe.frontend.settings import KNOWN
from tf2caffe.frontend.trace import ancestors, is_random, known_size
from tf2caffe.graph.ops import FORMS, OPS, PASSED_ON, WEIGHTS


def extract(trace):
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
    record = KNOWN.get(raw.type)
    attributes = record.attributes if record else ()
    draft = Op(raw.type, output, attrs={key: plain(raw.get_attr(key)) for key in attributes})
    if output.value_index and raw.type in (*OPS, *FORMS):
        draft.type = f"{raw.type}:{output.value_index}"  # which no record has
    names = operand_names(record.operands if record else (), len(operands))
    for name, operand in zip(names, operands, strict=True):
        if not isinstance(operand, Op):
            draft.constants[name] = operand
            continue
        if operand.tensor.dtype.is_floating or not is_random(raw.type):  # seeds say no more
            draft.inputs.append(operand)
        if name.endswith("!") or name in WEIGHTS:
            draft.computed.append(name.rstrip("!"))
    return draft


def operand_names(names, count):
    """A name for each of an op's operands: `values*` of ConcatV2 is values0, values1, ..."""
    many = count - len(names) + 1
    found = []
    for name in names:
        found += [name.replace("*", str(at)) for at in range(many)] if "*" in name else [name]
    return [*found, *(f"operand{at}" for at in range(len(found), count))][:count]


# What a round of TF1's loops hands to the next.
NEXT = ("NextIteration", "RefNextIteration")

# Op -> the number with which it changes nothing.
NEUTRAL = {
    "Add": 0, "AddV2": 0, "Maximum": -np.inf, "Minimum": np.inf, "Mul": 1, "RealDiv": 1, "Sub": 0,
}  # fmt: skip
