"""The proof: every layer of Caffe's against TensorFlow's, relative to the layer's scale.

Three times: from the network's input to the layer; the layer alone, on TensorFlow's own input to
it, which tells a layer's own error from what it inherited; and the layer alone on the probes (see
`probes`), by channel, because a user's input leaves much of a network in the dark.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tf2caffe import caffe_schema
from tf2caffe.activations import statistics
from tf2caffe.handoff import replacing, temporary_beside
from tf2caffe.probes import SHAPING
from tf2caffe.probes import largest as largest_by_channel
from tf2caffe.reach import Reach, first_bottoms
from tf2caffe.stage import Failure

SHALLOW = 16  # layers
CANCELLED = 1 / 16  # a sum is measured by this part of its terms, where less of them is left
SUMS = ("Add", "AddN", "AddV2", "AvgPool", "Mean", "SquaredDifference", "Sub", "Sum")
JOINS = (*SUMS, "ConcatV2", "Maximum", "Minimum")  # they read other tensors next to a remainder


@dataclass
class Row:
    """One layer on both sides, in TensorFlow's layout (N, ...), and its relative errors.

    `error` is from the network's input on, `own` on TensorFlow's own input to the layer, `depth`
    the number of layers on the longest way to it. `probed` is the error on the probes, of the
    channel where it is largest; None for what has no layer of its own in Caffe. `plain` are error
    and own error without the allowance for sums (see `scales`).
    """

    name: str
    blob: str
    tf: np.ndarray
    caffe: np.ndarray
    error: float
    own: float
    depth: int
    probed: float | None = None
    channel: int = 0
    plain: tuple = (0.0, 0.0)


@dataclass
class Proof:
    """The rows of all layers; `reach`: how many numbers of the caffemodel the probes met."""

    rows: list
    reach: Reach = field(repr=False)


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
    return float(error[worst]), int(worst[1])


def prove(runtime, prototxt, caffemodel, table, kept, reference=None):
    """Run the network in `runtime` and compare it: a `Proof` with a `Row` for each layer.

    `kept` are TensorFlow's `Activations`; `prototxt` and `caffemodel` are paths. What TensorFlow
    makes of the probes is known op by op. A layer of the deploy form may stand for several, so
    there the inspectable form, `reference` (the same two paths), has to give the same.
    """
    expected = _as_blobs(table, kept.inputs | kept.layers)
    known = set() if reference else _known(table, kept.probes)
    probed = _probes_of(table, kept.probes, alike=len(known) < len(makers(table)))
    wanted = list(dict.fromkeys(entry.blob for entry in table.layers))
    inputs = {entry.blob: expected[entry] for entry in table.inputs}
    whole = runtime.run(prototxt, caffemodel, inputs, wanted)
    fed = {entry: np.concatenate([array, probed[entry]]) for entry, array in expected.items()}
    alone, reach = run_apart(runtime, prototxt, caffemodel, table, fed)
    depths = _depths(prototxt, {entry.blob for entry in table.layers})
    measures = scales(table.ops, kept.inputs | kept.layers)
    own = {blob: array[: len(kept.images)] for blob, array in alone.items()}
    rows = [_row(entry, expected[entry], whole, own, depths, measures) for entry in table.layers]
    right = _made_by_tensorflow(known, kept.probes)
    if reference:
        right = _made_by(runtime, reference, table, probed)
    for row, entry in zip(rows, table.layers, strict=True):
        if entry in right:
            made = alone[entry.blob][len(kept.images) :][: len(right[entry])]
            floor = _floor(kept.probes, entry.name, bool(reference))
            sides = entry.layout.to_tf(right[entry]), entry.layout.to_tf(made)
            sides = _defined(*sides) if reference else sides
            row.probed, row.channel = by_channel(*sides, floor)
    return Proof(rows, reach)


def _known(table, probes):
    """The entries whose layer is fed as TensorFlow's op was: all that the op reads is cut.

    In a network written by hand some of it may have no blob of its own.
    """
    entries, reads = makers(table), {op.name: op for op in table.ops}
    cut = {entry.name for entry in entries.values()} | {entry.name for entry in table.inputs}

    def sources(name):
        op = reads.get(name)
        shaped = op is not None and op.op in SHAPING and name not in cut
        return [each for read in op.reads for each in sources(read)] if shaped else [name]

    known = set()
    for entry in entries.values():
        found = (
            [each for name in reads[entry.name].reads for each in sources(name)]
            if entry.name in reads
            else []
        )
        if found and cut.issuperset(found) and entry.name in probes.outputs:
            known.add(entry)
    return known


def _probes_of(table, probes, alike):
    """The probe of each entry as a blob, {entry: array}; of as many images each if `alike`."""
    entries = [*table.inputs, *table.layers]
    shapes = {entry.name: (1, *entry.layout.tf_shape) for entry in entries}
    try:
        found = {name: probes.fed(name, shape) for name, shape in shapes.items()}
    except KeyError as missing:
        told = f"{missing} has no probes among TensorFlow's activations"
        raise Failure(f"{told}; run steps 3 to 5 again, on the same model") from None
    if alike:
        found = {
            name: array[np.arange(probes.images) % len(array)] for name, array in found.items()
        }
    return _as_blobs(table, found)


def _floor(probes, name, merged):
    """By what the error of a channel is measured at least, see `Probes`."""
    floor = probes.floors[name]
    return floor.max(0, keepdims=True) if merged else floor


def _defined(right, made):
    """Both without what neither can compute: a probe before two ops may not suit the second."""
    both = np.isfinite(right) | np.isfinite(made)
    return np.where(both, right, 0), np.where(both, made, 0)


def makers(table):
    """The entry of each blob that tells what its layer computes, {blob: entry}.

    Others tell under which other axes TensorFlow has the same numbers.
    """
    found = {}
    for entry in [*table.inputs, *table.layers]:
        found.setdefault(entry.blob, entry)
    return found


def _made_by_tensorflow(known, probes):
    """What TensorFlow makes of the probes, {entry: blob}."""
    return {entry: entry.layout.to_caffe(probes.outputs[entry.name]) for entry in known}


def _made_by(runtime, files, table, probed):
    """What the inspectable form, cut at the blobs of the table alone, makes of the probes."""
    places = [replace(entry, blob=entry.inspectable) for entry in table.layers]
    cut = replace(table, layers=places)
    fed = {entry: probed[entry] for entry in table.inputs}
    fed |= {place: probed[entry] for place, entry in zip(places, table.layers, strict=True)}
    made, _ = run_apart(runtime, *files, cut, fed)
    alone = set(makers(table).values())
    return {
        entry: made[place.blob]
        for place, entry in zip(places, table.layers, strict=True)
        if entry in alone
    }


def run_apart(runtime, prototxt, caffemodel, table, arrays):
    """Run each layer alone on what is fed, {entry: array}: (its blobs by name, a `Reach`)."""
    with temporary_beside(Path(prototxt).with_suffix(".apart.prototxt")) as apart:
        copies, layers = taken_apart(prototxt, table, apart)
        entries = makers(table)
        fed = {entry.blob: arrays[entry] for entry in table.inputs}
        fed |= {copy: arrays[entries[blob]] for blob, copy in copies.items()}
        wanted = {entry.blob for entry in table.layers} | first_bottoms(layers) - fed.keys()
        found = runtime.run(apart, caffemodel, fed, sorted(wanted))
    return found, Reach.of(layers, fed | found)


def _as_blobs(table, tensors):
    """TensorFlow's tensors as Caffe's blobs, {entry: array}.

    Raises `Failure` where one is missing or misshapen.
    """
    found = {}
    for entry in [*table.inputs, *table.layers]:
        tensor = tensors.get(entry.name)
        if tensor is None or tensor.shape[1:] != entry.layout.tf_shape:
            shape = None if tensor is None else tensor.shape
            raise Failure(
                f"{entry.name} of shape {entry.layout.tf_shape} is expected among TensorFlow's "
                f"activations, {shape} is there; run steps 3 to 5 again, on the same model"
            )
        found[entry] = entry.layout.to_caffe(tensor)
    return found


def _row(entry, tf, whole, alone, depths, measures):
    caffe, own = whole[entry.blob], alone[entry.blob]
    if caffe.shape != tf.shape:
        raise Failure(f"{entry.name}: Caffe's blob {entry.blob} is {caffe.shape}, not {tf.shape}")
    plain = relative_error(tf, caffe), relative_error(tf, own)
    of_own, of_error = (scale[entry.name] for scale in measures)
    error, own = relative_error(tf, caffe, of_error), relative_error(tf, own, of_own)
    to_tf, depth = entry.layout.to_tf, depths[entry.blob]
    return Row(entry.name, entry.blob, to_tf(tf), to_tf(caffe), error, own, depth, plain=plain)


def _depths(prototxt, compared):
    """How many of the compared blobs lie on the longest way to each blob, itself included."""
    depths = {}
    for layer in caffe_schema.load(prototxt).layer:
        before = max((depths.get(bottom, 0) for bottom in layer.bottom), default=0)
        for top in layer.top:
            depths[top] = before + (top in compared and top not in layer.bottom)
    return depths


def taken_apart(prototxt, table, path):
    """Write the network with every compared blob cut in two: one is made, the other is fed.

    Returns the fed copy's name of each blob that is read, and the layers.
    """
    net = caffe_schema.load(prototxt)
    inputs = {entry.blob for entry in table.inputs}  # fed in any case, also as a layer's output
    shapes = {entry.blob: [1, *entry.layout.caffe_shape] for entry in table.layers}
    shapes = {blob: shape for blob, shape in shapes.items() if blob not in inputs}
    last = {top: at for at, layer in enumerate(net.layer) for top in layer.top}
    copies = {}
    for at, layer in enumerate(net.layer):
        for which, bottom in enumerate(layer.bottom):
            if bottom in shapes and last[bottom] < at:
                copies[bottom] = layer.bottom[which] = f"{bottom}@tf"
    fed = [
        caffe_schema.LayerParameter(
            name=copy, type="Input", top=[copy], input_param={"shape": [{"dim": shapes[blob]}]}
        )
        for blob, copy in copies.items()
    ]
    layers = [*caffe_schema.old_inputs(net), *fed, *net.layer]
    path.write_text(caffe_schema.prototxt(net.name, layers), encoding="utf-8")
    return copies, layers


def allowed(depth, tolerance):
    """The bound for a layer that lies `depth` layers deep, from the network's input on.

    What each layer rounds is passed on to the next, and at worst it adds up: every layer beyond
    the first SHALLOW is allowed to add the tolerance of one. (A fault shows in the own error, which
    has no such allowance.)
    """
    return tolerance * max(1, depth - SHALLOW + 1)


def first_stray(rows, tolerance):
    """The first row that is not equal, and why; (None, None) if all are.

    Equal is: alone, within the tolerance, on TensorFlow's own input and on the probes; from the
    network's input on, within what is `allowed`.
    """
    for row in rows:
        bound = allowed(row.depth, tolerance)
        if not row.own <= tolerance:
            why = f"by {row.own:.1e} of its scale on TensorFlow's own input, {tolerance:g} is"
            return row, f"{why} allowed"
        if row.probed is not None and not row.probed <= tolerance:
            why = f"by {row.probed:.1e} of the scale of its channel {row.channel} on the probes"
            return row, f"{why}, {tolerance:g} is allowed"
        if not row.error <= bound:
            return row, f"by {row.error:.1e} of its scale, {bound:.1g} is allowed {row.depth} deep"
    return None, None


def disagreements(rows, answers, tolerance):
    """(image, answer) pairs where Caffe's label is not, within tolerance, TensorFlow's best."""
    found = []
    for row in rows:
        if row.name in answers:
            scale = np.abs(row.tf).max()
            for image, (tf, caffe) in enumerate(zip(row.tf, row.caffe, strict=True)):
                if not tf.max() - tf[caffe.argmax()] <= tolerance * scale:
                    found.append((image, row.name))
    return found


def print_table(rows, shown):
    """Both sides next to each other: mean and variance of image `shown`, errors over all images."""
    head = "TensorFlow", "Caffe blob", "mean", "", "variance", "", "error", "own error", "on probes"
    lines = [head]
    for row in rows:
        (tf_mean, tf_var), (mean, var) = statistics(row.tf[shown]), statistics(row.caffe[shown])
        lines.append((row.name, row.blob, tf_mean, mean, tf_var, var, f"{row.error:.1e}"))
        lines[-1] += (f"{row.own:.1e}", "" if row.probed is None else f"{row.probed:.1e}")
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    for line in lines:
        cells = [
            f"{cell:<{width}}" if at < 2 else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def by_allowance(rows, tolerance):
    """The layers that are equal only because a sum is measured by its terms (see `scales`)."""
    return [
        row.name
        for row in rows
        if row.plain[0] > allowed(row.depth, tolerance) >= row.error
        or row.plain[1] > tolerance >= row.own
    ]


def save(path, proof, runtime, tolerance, verdict):
    """Write `NAME.parity.json`."""
    record = {
        "verdict": verdict,
        "tolerance": tolerance,
        "runtime": runtime,
        "numbers": {
            "in_caffemodel": proof.reach.total,
            "reached": proof.reach.reached,
            "not_reached": proof.reach.missed,
        },
        "layers": [
            {
                "tensorflow": row.name,
                "caffe": row.blob,
                "error": finite(row.error),
                "own_error": finite(row.own),
                "probe_error": None if row.probed is None else finite(row.probed),
                "depth": row.depth,
            }
            for row in proof.rows
        ],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def finite(error):
    """JSON knows no infinity."""
    return error if np.isfinite(error) else None
