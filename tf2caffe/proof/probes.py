"""Numbers that leave no part of a layer in the dark: what each layer is fed alone, for the proof.

On random numbers or photos half of a network may stay dark: a clip at 6 that nothing reaches, a
kernel behind a ReLU that is 0 everywhere. A probe is dense: no number is 0, no channel is dead. Its
numbers lie on both sides of every bend of the ops that read it (0 and 6 of a ReLU6, the bounds of
a clip), around the mean of a BatchNorm, and where an op is defined (a logarithm's are positive).

A tensor's probe is described by *regions*, an array (P, R, 2, C or 1): for each of P images R
stretches from a start, the bend, to an end, in each channel or the same in all. Step 3 writes the
regions down, and what TensorFlow makes of the probes; step 6 makes the same probes of the regions.
"""

from dataclasses import dataclass
from math import prod
from zlib import crc32

import numpy as np

from tf2caffe.graph.demands import WIDTH, Demand
from tf2caffe.graph.ops import OPS, of_kind

BLOCK = 4  # rows and columns that lie in one region, so that a whole window may be negative
VERSION = 1  # of the probes that are made of the same regions
STEP = 2.0**-10  # by which inputs are moved, to see how large the terms of a sum are,
STEPS, FEW = 8, 16  # and how often, where an output has fewer places than this
FAR = 64.0  # times the width and the like part of it, where ops only cut and choose,
EVERY = 8  # each in every eighth channel
NEAR = 0.1  # of a region is left free on the side of a bend: rounding decides nothing there

TERMS = 1024  # in a sum
REST = 64  # an op without weights may err by the tolerance of this part of its largest number

SHAPING = of_kind("shape")
SUMMING = of_kind("products", "total")  # the sum may be far smaller than its terms


@dataclass
class Probes:
    """What step 3 leaves for step 6.

    `regions` describe the probe of each tensor that is fed, {name: (P, R, 2, C or 1)}, `outputs`
    are what TensorFlow's ops make of their probes, {name: (P, ...)}, and `floors` what the error of
    a channel is measured by if that is more than its largest number, {name: (P, C or 1)}. Tensors
    that one op reads have as many images P.
    """

    regions: dict
    outputs: dict
    floors: dict

    @property
    def images(self):
        """The largest number of images of a probe."""
        return max(len(array) for array in self.regions.values())

    def fed(self, name, shape):
        """The probe of a tensor of this shape (batch first), (P, *shape[1:])."""
        if name in self.regions:
            return make(name, self.regions[name], shape)
        return self.outputs[name]


def computed(graph, trace, tensors):
    """The `Probes` of a traced network; `tensors` has the trace's tensor of each op and input."""
    nodes = [node for node in graph.nodes if trace.is_float(tensors[node.name])]
    regions = plan(graph, lambda node, role: node.weights[role].source.value())
    regions = {name: array for name, array in regions.items() if trace.is_float(tensors[name])}
    shapes = graph.inputs | {node.name: node.shape for node in nodes}
    inputs = {name: make(name, array, shapes[name]) for name, array in regions.items()}
    apart = trace.cut({name: tensors[name] for name in regions})
    counts = _counts(graph, inputs)
    run = _Runner(apart, tensors, counts)
    outputs = run(nodes, inputs)
    squares = dict.fromkeys(outputs, 0.0)
    few = [node for node in nodes if node.op in SUMMING and prod(node.shape[1:-1]) < FEW]
    for at in range(STEPS if few else 1):
        stepped = {name: moved(name, array, at) for name, array in inputs.items()}
        for name, output in run(few if at else nodes, stepped).items():
            squares[name] = squares[name] + squared(outputs[name], output)
    times = dict.fromkeys((node.name for node in few), STEPS)
    means = {name: square / times.get(name, 1) for name, square in squares.items()}
    floors = {
        node.name: _floor(node, shapes, outputs[node.name], means[node.name]) for node in nodes
    }
    return Probes(regions, outputs, floors)


class _Runner:
    """Runs ops on probes, image by image, because the trace has batch 1."""

    def __init__(self, apart, tensors, counts):
        self.apart, self.tensors, self.counts = apart, tensors, counts
        self.functions = {}  # to make one takes longer than to run it

    def __call__(self, nodes, inputs):
        """What the ops make of the inputs, {name: (P, ...)}."""
        names = tuple(node.name for node in nodes)
        again = tuple(name for name in names if self.counts[name] > 1)
        found, shapes = {name: [] for name in names}, {node.name: node.shape for node in nodes}
        for at in range(max((self.counts[name] for name in names), default=0)):
            alive = again if at else names
            one = {name: array[at % len(array)][None] for name, array in inputs.items()}
            for name, output in zip(alive, self.function(alive)(one), strict=True):
                found[name].append(output.reshape(shapes[name] or 1))
        return {name: np.concatenate(found[name][: self.counts[name]]) for name in names}

    def function(self, names):
        if names not in self.functions:
            self.functions[names] = self.apart.function([self.tensors[name] for name in names])
        return self.functions[names]


def _counts(graph, inputs):
    """How many images each op is run on, {name: count}: as many as what it reads has."""
    counts = {name: len(array) for name, array in inputs.items()}
    made = {}
    for node in graph.nodes:
        made[node.name] = max(counts[name] for name in node.inputs)
        counts.setdefault(node.name, made[node.name])
    return made


def _floor(node, shapes, output, square):
    """The least by which an op's errors are measured, (P, C or 1).

    Of a sum that is the size of its terms (`square` is its mean square): so much of them is lost to
    rounding, however little is left. Constants that differ from channel to channel (a BatchNorm's,
    a kernel's) leave channels of very different sizes, each with an error in proportion. All
    channels of an op without weights are alike, so that a part of the largest number will do.
    """
    floor = np.zeros((len(output), 1))
    if node.op in SUMMING:
        floor = np.sqrt(square) * max(1.0, np.sqrt(_terms(node, shapes) / TERMS))
    if not node.weights:
        floor = np.maximum(floor, largest(output).max(1, keepdims=True) / REST)
    if {"mean", "variance"} <= node.weights.keys():
        floor = np.maximum(floor, _cancelled(node) / REST)
    return floor.astype(np.float32)


def _cancelled(node):
    """What a BatchNorm's beta and its mean, scaled, have in common, (1, C): of an input that is
    almost 0, its output is what is left of these two, and their rounding.
    """
    mean, variance = (node.weights[role].source.value() for role in ("mean", "variance"))
    shift = mean / np.sqrt(variance + node.attrs["epsilon"])
    gamma, beta = (
        node.weights[role].source.value() if role in node.weights else other
        for role, other in (("gamma", 1.0), ("beta", 0.0))
    )
    return np.minimum(np.abs(shift * gamma), np.abs(beta)).reshape(1, -1)


def _terms(node, shapes):
    """How many terms an op adds up for each number.

    A plain sum of K terms in float32 is off by about a third of 2^-24 sqrt(K) of its size: each
    partial sum, of sqrt(k) terms' size, is rounded. The worst of a million numbers is off by five
    times that, so beyond TERMS of them the size of the terms is not enough.
    """
    if "kernel" in node.weights:
        return prod(node.weights["kernel"].source.shape) / node.shape[-1]
    return prod(shapes[node.inputs[0]]) / prod(node.shape)


def make(name, regions, shape):
    """The probe (P, *shape[1:]), float32, of the tensor `name` whose shape is `shape`."""
    size = tuple(shape[1:])
    channels = size[-1] if size else 1
    # at random: in turn, all that one lane of a processor adds up would have the same sign
    first = np.random.default_rng(crc32(name.encode())).integers(0, 60, channels)
    places = _blocks(size[:-1])[..., None] + first
    probe = np.empty((len(regions), *size), np.float32)
    for at, (start, end) in enumerate(regions.swapaxes(1, 2)):
        random = np.random.default_rng([crc32(name.encode()), at])
        share = random.random((*size[:-1], channels), np.float32)
        which = (places + at) % len(start)
        start, end = _chosen(start, which), _chosen(end, which)
        probe[at] = (start + (end - start) * share).reshape(size)
    return probe


def _blocks(size):
    """The number of the block in which each place of an image lies; neighbours differ by one."""
    blocks = np.zeros(size, np.int64)
    for axis, length in enumerate(size):
        steps = np.arange(length) // BLOCK
        blocks += steps.reshape([-1 if at == axis else 1 for at in range(len(size))])
    return blocks


def _chosen(values, which):
    """values (R, C or 1) of the regions `which` (..., C)."""
    if values.shape[1] == 1:
        return values[:, 0][which]
    return values[which, np.arange(values.shape[1])]


def moved(name, probe, at):
    """The probe with each number a STEP of itself larger or smaller, in the `at`-th way."""
    random = np.random.default_rng([crc32(name.encode()), len(probe), at])
    sign = random.integers(0, 2, probe.shape, np.int8).astype(np.float32) * 2 - 1
    return probe * (1 + np.float32(STEP) * sign)


def squared(first, second):
    """The mean square of the terms that an output was summed up of, for each channel: (P, C).

    `second` is the output with its inputs moved: it differs by STEP of each term, up or down.
    """
    channels = first.shape[-1] if first.ndim > 1 else 1
    difference = (second.astype(np.float64) - first) / STEP
    return np.square(difference).reshape(len(first), -1, channels).mean(1)


def largest(tensor):
    """The largest size in each image's channel: (P, ..., C) -> (P, C)."""
    channels = tensor.shape[-1] if tensor.ndim > 1 else 1
    flat = tensor.reshape(len(tensor), -1, channels)
    return np.maximum(flat.max(1), -flat.min(1))


def plan(graph, value):
    """The regions of every tensor that is fed, {name: (P, R, 2, C or 1)}.

    `value(node, role)` is a weight as TensorFlow has it. Ops that only give tensors another shape
    pass their probe on.
    """
    shapes = graph.inputs | {node.name: node.shape for node in graph.nodes}
    fed = [*graph.inputs, *(node.name for node in graph.nodes if node.op not in SHAPING)]
    readers, demands = _readers(graph), {}
    for name in reversed(fed):
        asked = [_demand(*reader, shapes[name], value) for reader in readers.get(name, ())]
        demands[name] = asked + _handed_back(readers.get(name, ()), demands)
    found = {name: _regions(demands[name], shapes[name]) for name in fed}
    counts = {name: _images(regions, shapes[name]) for name, regions in found.items()}
    for group in _together(graph, readers, fed):
        count = max(counts[name] for name in group)
        for name in group:
            found[name] = np.broadcast_to(found[name], (count, *found[name].shape[1:]))
    return found


def _handed_back(readers, demands):
    """Where what is added to numbers, or multiplied by one, must be positive, so must they be.

    The deploy form has both ops in one layer, and is fed before the first of them.
    """
    affine = [node for node, _, _ in readers if node.op in ("Add", "AddV2", "Mul")]
    affine = [node for node in affine if len(node.inputs) == 1 and node.attrs.keys() & {"x", "y"}]
    asked = [demand for node in affine for demand in demands.get(node.name, ())]
    return [demand for demand in asked if demand.domain == "positive"]


def _images(regions, shape):
    """How many images it takes until each channel has been in each region."""
    count = regions.shape[1]
    return count if _blocks(shape[1:-1]).max() + 1 < count else 1


def _together(graph, readers, fed):
    """Groups of tensors that some op reads together, and so need as many images.

    An op with a constant array may get that from the first input: a blob whatever the image is.
    """
    groups = {name: {name} for name in fed}
    first, reads = next(iter(graph.inputs)), {}
    for name, found in readers.items():
        for node, _, _ in found:
            reads.setdefault(node.name, set()).add(name)
            if node.weights.keys() & {"x", "y"} or node.op == "ConcatV2" and node.weights:
                reads[node.name].add(first)
    for names in reads.values():
        merged = set().union(*(groups[name] for name in names))
        groups |= dict.fromkeys(merged, merged)
    return {id(group): group for group in groups.values()}.values()


def _readers(graph):
    """{tensor: [(node, which of its inputs, whether it reads the tensor as it is)]}."""
    nodes = {node.name: node for node in graph.nodes}
    readers = {}
    for node in graph.nodes:
        if node.op in SHAPING:
            continue
        for at, name in enumerate(node.inputs):
            source = name
            while source in nodes and nodes[source].op in SHAPING:
                source = nodes[source].inputs[0]
            readers.setdefault(source, []).append((node, at, source == name))
    return readers


def _demand(node, at, direct, shape, value):
    """The demand of one reader of a tensor."""
    rule = OPS[node.op].probe
    if isinstance(rule, Demand):
        return rule
    return rule(node, at, lambda role: _number(node, role, direct, shape, value)) or Demand()


def _number(node, role, direct, shape, value):
    """An operand as one number, or as one for each channel (C,); None if the node has none."""
    if role in node.attrs:
        return np.float64(node.attrs[role])
    if role not in node.weights:
        return None
    array = np.asarray(value(node, role), np.float64)
    if direct and array.size == shape[-1] and shape[-1] in array.shape[-1:]:
        return array.reshape(-1)
    return np.float64(np.median(array))


def _regions(demands, shape):
    """The regions that serve all demands, (1, R, 2, C or 1), of a tensor of this shape."""
    domains = {demand.domain for demand in demands}
    if "positive" in domains:
        return _as_regions([(1.0, 0.05), (1.0, 4.0)])
    if "apart" in domains:
        return _as_regions([(0.5, 2.0), (-0.5, -2.0)])
    bends = _merged([bend for demand in demands for bend in demand.bends])
    widths = [demand.width for demand in demands] or [WIDTH]
    width = np.min(np.broadcast_arrays(*widths), 0)
    if demands and all(demand.cuts for demand in demands):
        channels = np.arange(shape[-1]) % EVERY
        width = width * np.where(channels == EVERY - 1, FAR, np.where(channels == 3, 1 / FAR, 1))
    return _between(bends, width)


def _merged(bends):
    """The bends as (K, C or 1), in order; of those that are alike one, and at most three."""
    bends = [np.atleast_1d(bend) for bend in bends] or [np.zeros(1)]
    rows = np.sort(np.stack(np.broadcast_arrays(*bends)), 0)
    kept = rows[:1]
    for row in rows[1:]:
        if np.any(row - kept[-1] > 1e-3 * np.maximum(1, np.abs(row))):
            kept = np.concatenate([kept, row[None]])
    return kept if len(kept) < 4 else kept[[0, 1, -1]]


def _between(bends, width):
    """Below the first bend, between the bends, above the last: (1, R, 2, C or 1)."""
    near = NEAR * width
    middle = [
        (low + NEAR * (high - low), high - NEAR * (high - low))
        for low, high in zip(bends, bends[1:], strict=False)
    ]
    below, above = (bends[0] - near, bends[0] - width), (bends[-1] + near, bends[-1] + width)
    return _as_regions([below, *middle, above])


def _as_regions(pairs):
    ends = np.broadcast_arrays(*[np.atleast_1d(np.float32(end)) for pair in pairs for end in pair])
    return np.stack(ends).reshape(1, len(pairs), 2, -1)
