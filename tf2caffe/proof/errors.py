"""How far Caffe's tensors are from TensorFlow's, relative to their scale."""

import numpy as np

from tf2caffe.graph.ops import of_kind
from tf2caffe.proof.probes import largest as largest_by_channel

CANCELLED = 1 / 16  # a sum is measured by this part of its terms, where less of them is left
SUMS = of_kind("sum", "total")
JOINS = of_kind("sum", "total", "join")  # they read other tensors next to a remainder


def relative_error(tf, caffe, scale=None):
    """max |caffe - tf| / max |tf|, or / `scale`; infinite where either side is not finite."""
    if not (np.isfinite(tf).all() and np.isfinite(caffe).all()):
        return float("inf")
    difference = largest(caffe - tf)
    scale = largest(tf) if scale is None else scale
    if difference == 0:
        return 0.0
    return float(difference / scale) if scale else float("inf")


def largest(tensor):
    return max(float(tensor.max()), -float(tensor.min()))


def scales(ops, tensors):
    """What the errors of each op are relative to: (alone, from the input on), each by name.

    Mostly the op's largest value. But the mean of what was just normalised is 0, but for rounding,
    and both sides have their own; so sums and means are measured by a part of their terms, where
    that is more, and, from the input on, what is made of such a remainder in the same proportion.
    `ops` are in order, `tensors` TensorFlow's by name.
    """
    sizes = {name: largest(tensor) for name, tensor in tensors.items()}
    alone, whole = {}, dict(sizes)
    for op in ops:
        reads = [name for name in op.reads if name in sizes]
        if reads and op.name in sizes:
            alone[op.name] = max(sizes[op.name], _of_terms(op, reads, sizes, tensors))
            remainders = [name for name in reads if whole[name] > sizes[name]]
            passed = [_passed_on(op, name, sizes, whole) for name in remainders]
            whole[op.name] = max([alone[op.name], *passed])
    return sizes | alone, whole


def _of_terms(op, reads, sizes, tensors):
    """By what a sum is measured, if less than that is left of its terms."""
    if op.op not in SUMS:
        return 0
    part = CANCELLED * max(sizes[name] for name in reads)
    if op.op == "Sum":
        return part * max(tensors[name].size for name in reads) / tensors[op.name].size
    if op.op == "SquaredDifference":  # of a difference d that is wrong by e: 2 d e + e e
        return part * (2 * sizes[op.name] ** 0.5 + 1e-5 * part)
    return part


def _passed_on(op, name, sizes, whole):
    """By what `op` is measured, since it reads the remainder `name`."""
    if op.op in JOINS or not sizes[name]:
        return whole[name]
    return whole[name] * sizes[op.name] / sizes[name]


def by_channel(tf, caffe, floor):
    """(the largest error of a channel relative to that channel's scale, which channel).

    The scale is the channel's largest number in the image, or `floor` (images, C), if more.
    """
    if not (np.isfinite(tf).all() and np.isfinite(caffe).all()):
        return float("inf"), 0
    difference = largest_by_channel(caffe - tf)
    scale = np.maximum(largest_by_channel(tf), floor)
    error = np.where(difference > 0, np.inf, 0.0)
    np.divide(difference, scale, out=error, where=scale > 0)
    worst = np.unravel_index(error.argmax(), error.shape)
    return abs(float(error[worst])), int(worst[1])
