"""The proof: every layer of Caffe's against TensorFlow's, relative to the layer's scale.

Twice: from the network's input to the layer, and the layer alone, on TensorFlow's own input to it.
The second tells a layer's own error from what it inherited, which grows with depth.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tf2caffe import caffe_schema
from tf2caffe.activations import statistics
from tf2caffe.handoff import replacing, temporary_beside
from tf2caffe.stage import Failure

SHALLOW = 16  # layers
CANCELLED = 1 / 16  # a sum is measured by this part of its terms, where less of them is left
SUMS = ("Add", "AddN", "AddV2", "AvgPool", "Mean", "SquaredDifference", "Sub", "Sum")
JOINS = (*SUMS, "ConcatV2", "Maximum", "Minimum")  # they read other tensors next to a remainder


@dataclass
class Row:
    """One layer on both sides, in TensorFlow's layout (N, ...), and its relative errors.

    `error` is from the network's input on, `own` on TensorFlow's own input to the layer, `depth`
    the number of layers on the longest way to it.
    """

    name: str
    blob: str
    tf: np.ndarray
    caffe: np.ndarray
    error: float
    own: float
    depth: int


def relative_error(tf, caffe, scale=None):
    """max |caffe - tf| / max |tf|, or / `scale`; infinite where either side is not finite."""
    if not (np.isfinite(tf).all() and np.isfinite(caffe).all()):
        return float("inf")
    difference = np.abs(caffe.astype(np.float64) - tf).max()
    scale = largest(tf) if scale is None else scale
    if difference == 0:
        return 0.0
    return float(difference / scale) if scale else float("inf")


def largest(tensor):
    return float(np.abs(tensor.astype(np.float64)).max())


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


def prove(runtime, prototxt, caffemodel, table, inputs, layers):
    """Run the network in `runtime` and compare it: a `Row` for each layer of the table.

    `inputs` and `layers` are TensorFlow's, (N, ...) by name; `prototxt` and `caffemodel` are paths.
    """
    expected = _as_blobs(table, inputs, layers)
    fed = {entry.blob: expected[entry.blob] for entry in table.inputs}
    wanted = list(dict.fromkeys(entry.blob for entry in table.layers))
    depths = _depths(prototxt, {entry.blob for entry in table.layers})
    measures = scales(table.ops, inputs | layers)
    whole = runtime.run(prototxt, caffemodel, fed, wanted)
    with temporary_beside(Path(prototxt).with_suffix(".apart.prototxt")) as apart:
        copies = taken_apart(prototxt, table, apart)
        fed |= {
            copies[entry.blob]: expected[entry.blob]
            for entry in table.layers
            if entry.blob in copies
        }
        alone = runtime.run(apart, caffemodel, fed, wanted)
    return [_row(entry, expected, whole, alone, depths, measures) for entry in table.layers]


def _as_blobs(table, inputs, layers):
    """TensorFlow's tensors as Caffe's blobs. Raises `Failure` where one is missing or misshapen."""
    found = {}
    for entry in [*table.inputs, *table.layers]:
        tensor = (inputs | layers).get(entry.name)
        if tensor is None or tensor.shape[1:] != entry.layout.tf_shape:
            shape = None if tensor is None else tensor.shape
            raise Failure(
                f"{entry.name} of shape {entry.layout.tf_shape} is expected among TensorFlow's "
                f"activations, {shape} is there; run steps 3 to 5 again, on the same model"
            )
        found[entry.blob] = entry.layout.to_caffe(tensor)
    return found


def _row(entry, expected, whole, alone, depths, measures):
    tf, caffe, own = expected[entry.blob], whole[entry.blob], alone[entry.blob]
    if caffe.shape != tf.shape:
        raise Failure(f"{entry.name}: Caffe's blob {entry.blob} is {caffe.shape}, not {tf.shape}")
    of_own, of_error = (scale[entry.name] for scale in measures)
    error, own = relative_error(tf, caffe, of_error), relative_error(tf, own, of_own)
    to_tf = entry.layout.to_tf
    return Row(entry.name, entry.blob, to_tf(tf), to_tf(caffe), error, own, depths[entry.blob])


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

    Returns the fed copy's name of each blob that is read.
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
    return copies


def allowed(depth, tolerance):
    """The bound for a layer that lies `depth` layers deep, from the network's input on.

    What each layer rounds is passed on to the next, and at worst it adds up: every layer beyond
    the first SHALLOW is allowed to add the tolerance of one. (A fault shows in the own error, which
    has no such allowance.)
    """
    return tolerance * max(1, depth - SHALLOW + 1)


def first_stray(rows, tolerance):
    """The first row that is not equal, and why; (None, None) if all are.

    Equal is: alone, within the tolerance; from the network's input on, within what is `allowed`.
    """
    for row in rows:
        bound = allowed(row.depth, tolerance)
        if not row.own <= tolerance:
            why = f"by {row.own:.1e} of its scale on TensorFlow's own input, {tolerance:g} is"
            return row, f"{why} allowed"
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
    lines = [("TensorFlow", "Caffe blob", "mean", "", "variance", "", "error", "own error")]
    for row in rows:
        (tf_mean, tf_var), (mean, var) = statistics(row.tf[shown]), statistics(row.caffe[shown])
        lines.append((row.name, row.blob, tf_mean, mean, tf_var, var, f"{row.error:.1e}"))
        lines[-1] += (f"{row.own:.1e}",)
    widths = [max(len(line[at]) for line in lines) for at in range(8)]
    for line in lines:
        cells = [
            f"{cell:<{width}}" if at < 2 else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def save(path, rows, runtime, tolerance, verdict, outputs=()):
    """Write `NAME.parity.json`."""
    record = {
        "verdict": verdict,
        "tolerance": tolerance,
        "runtime": runtime,
        "outputs": [vars(output) for output in outputs],
        "layers": [
            {
                "tensorflow": row.name,
                "caffe": row.blob,
                "error": finite(row.error),
                "own_error": finite(row.own),
                "depth": row.depth,
            }
            for row in rows
        ],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def finite(error):
    """JSON knows no infinity."""
    return error if np.isfinite(error) else None
