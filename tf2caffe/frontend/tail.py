"""The end of a network that sorts, counts or picks by what the data are is left to the caller.

    boxes, scores -> CombinedNonMaxSuppression -> outputs

The network then ends with what such an op reads, and a line says what the caller has to compute. An
ArgMax that is an output itself is not among them: its labels are compared (see `caffe.outputs`).
"""

import re
from typing import NamedTuple

import tensorflow as tf

from tf2caffe.frontend.trace import ancestors, known_size
from tf2caffe.graph.ops import PASSED_ON


class Left(NamedTuple):
    """The first op that Caffe cannot compute, and the names of the tensors that it reads."""

    op: tf.Operation
    read: list


def cut(trace):
    """The outputs of a traced model, {name: tensor's name}; `trace.left` has those that are left.

    In the place of such a one are the tensors that its end reads.
    """
    fed, found = {tensor.removesuffix(":0") for tensor in trace.inputs.values()}, {}
    for name, tensor in trace.outputs.items():
        end = _end(trace.graph.get_tensor_by_name(tensor), fed)
        if end is None:
            found[name] = tensor
        else:
            trace.left[name] = end
            known = {*trace.outputs.values(), *found.values()}
            found |= {one.partition(":")[0]: one for one in end.read if one not in known}
    return found


def lines(trace, names):
    """What is said of the outputs that are left; `names` are the ops' by their tensors' names."""

    def named(tensor):
        return names.get(tensor, tensor.partition(":")[0])

    return [
        f"output {name} is left to the caller from {end.op.name} ({end.op.type}) on: it sorts or "
        f"picks, which Caffe cannot; it reads {', '.join(map(named, end.read))}"
        for name, end in trace.left.items()
    ]


def _end(output, fed):
    """What is `Left` of an output; None if it is computed, or a network goes on behind."""
    ops = ancestors([output])[::-1]
    reached = _behind(ops, lambda op: op.name in fed)
    picking = [op for op in ops if PICKS.match(op.type) and op.name in reached]
    if not picking or _is_label(output, picking):
        return None
    tail = _behind(ops, lambda op: op in picking)
    if any(op.type in LAYERS for op in ops if op.name in tail):
        return None
    read = {}
    for op in ops:
        if op.name in tail and known_size(op) is None:
            for tensor in op.inputs:
                read |= dict.fromkeys(_floats(tensor, tail, reached))
    return Left(picking[0], list(read)) if read else None


def _is_label(output, picking):
    """Whether an output is one ArgMax."""
    op = output.op
    while op.type in PASSED_ON:
        op = op.inputs[0].op
    return op.type == "ArgMax" and picking == [op]


def _behind(ops, chosen):
    """The names of the chosen ops and of all that depend on them."""
    found, waiting = set(), [op for op in ops if chosen(op)]
    every = {op.name for op in ops}
    while waiting:
        op = waiting.pop()
        if op.name not in found and op.name in every:
            found.add(op.name)
            waiting += [reader for output in op.outputs for reader in output.consumers()
                        if known_size(reader) is None]  # fmt: skip
    return found


def _floats(tensor, tail, reached):
    """The names of the floats that a tensor is computed of, itself if it holds such."""
    if tensor.op.name in tail or tensor.op.name not in reached:
        return []
    guard = tensor.op.type == "SelectV2" and tensor.op.inputs[0].op.type == "LogicalAnd"
    if guard and any(reader.type == "ArgMax" for reader in tensor.consumers()):
        tensor = tensor.op.inputs[2]  # Keras 3 takes the argmax of a copy, see `recognise`
    if tensor.dtype == tf.float32:
        while tensor.op.type in PASSED_ON:
            tensor = tensor.op.inputs[tensor.value_index]
        return [tensor.name]
    return [name for one in tensor.op.inputs for name in _floats(one, tail, reached)]


PICKS = re.compile(
    r"TopK(V2)?$|ApproxTopK|(Combined)?NonMaxSuppression|ArgM(ax|in)$|Where$|Unique|InTopK|Bucketize"
)

# Ops behind which a network goes on: that is no end.
LAYERS = (
    "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Conv2D", "Conv2DBackpropInput", "Conv3D",
    "DepthwiseConv2dNative", "Einsum", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3",
    "MatMul",
)  # fmt: skip
