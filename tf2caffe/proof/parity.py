"""The proof: every layer of Caffe's against TensorFlow's, relative to the layer's scale.

Three times: from the network's input to the layer; the layer alone, on TensorFlow's own input to
it, which tells a layer's own error from what it inherited; and the layer alone on the probes (see
`probes`), by channel, because a user's input leaves much of a network in the dark.
"""

from dataclasses import dataclass, field

import numpy as np

from tf2caffe.failure import Failure
from tf2caffe.proof import apart, on_probes
from tf2caffe.proof.activations import statistics
from tf2caffe.proof.errors import relative_error, scales
from tf2caffe.proof.reach import Reach
from tf2caffe.proof.runtimes import Network

SHALLOW = 16  # layers
NOTHING = None, None, 0.0, 0.0, 0  # of a `Row` that is about the probes alone


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

    @property
    def scale(self):
        """What `error` is relative to."""
        difference = float(np.abs(self.caffe - self.tf).max())
        known = 0 < self.error < np.inf and np.isfinite(difference)
        return difference / self.error if known else float(np.abs(self.tf).max())


@dataclass
class Proof:
    """The rows of all layers; `reach`: how many numbers of the caffemodel the probes met.

    Two more lists of rows are about the probes alone: the layers of the form that the network was
    held against, `before`, and blobs `within` an op of TensorFlow's.
    """

    rows: list
    reach: Reach = field(repr=False)
    before: list = field(default_factory=list, repr=False)
    within: list = field(default_factory=list, repr=False)

    def first_stray(self, tolerance):
        """The first row that is not equal, and why; (None, None) if all are."""
        return first_stray([*self.before, *self.rows, *self.within], tolerance)

    @property
    def unprobed(self):
        """The layers that were run on the user's input alone; it may leave them in the dark."""
        blobs = {row.blob for row in self.rows if row.probed is not None}
        return [row.name for row in self.rows if row.blob not in blobs]


def prove(runtime, prototxt, caffemodel, table, kept, reference=None):
    """Run the network in `runtime` and compare it: a `Proof` with a `Row` for each layer.

    `kept` are TensorFlow's `Activations`; `prototxt` is a path or a `Network`, `caffemodel` a path.
    A layer of the
    deploy form may stand for several, of which only the inspectable form tells what they make of
    the probes: `reference` is that form (its two paths and its table).
    """
    network, before = Network.of(prototxt), {}
    expected = on_probes.as_blobs(table, kept.inputs | kept.layers)
    makers = on_probes.makers(table)
    by_blob = {blob: expected[entry] for blob, entry in makers.items()}
    wanted = list(dict.fromkeys(entry.blob for entry in table.layers))
    inputs = {entry.blob: expected[entry] for entry in table.inputs}
    whole = runtime.run(network, caffemodel, inputs, wanted)
    _check_shapes(expected, whole)
    files = network.net, caffemodel, network.path
    if reference:
        beside = Network.of(reference[0])
        theirs = beside.net, reference[1], beside.path
        alone, _ = apart.run(runtime, *files, by_blob)
        found = on_probes.beside(runtime, files, theirs, reference[2], kept.probes, table.aliases)
        errors, reach, before = found
    else:
        alone, errors, reach = on_probes.alone(runtime, files, table, kept.probes, by_blob)
    own = {blob: array[: len(kept.images)] for blob, array in alone.items()}
    depths = _depths(network.net, {entry.blob for entry in table.layers})
    measures = scales(table.ops, kept.inputs | kept.layers)
    rows = [_row(entry, expected[entry], whole, own, depths, measures) for entry in table.layers]
    for row, entry in zip(rows, table.layers, strict=True):
        if makers[entry.blob] == entry and entry.blob in errors:
            row.probed, row.channel = errors[entry.blob]
    return Proof(rows, reach, _before(reference, before), _within(errors, rows))


def _before(reference, errors):
    """A row for each layer of the inspectable form, which was run on the probes alone."""
    return [
        Row(f"{entry.name} in the inspectable form", entry.blob, *NOTHING, *errors[entry.blob])
        for entry in (reference[2].layers if reference else ())
        if entry.blob in errors
    ]


def _within(errors, rows):
    """A row for each blob within an op of TensorFlow's, which no other row is about."""
    known = {row.blob for row in rows}
    return [
        Row(f"a part of {blob}", blob, *NOTHING, *error)
        for blob, error in errors.items()
        if blob not in known
    ]


def _check_shapes(expected, whole):
    """Raise `Failure` unless each blob has the shape that TensorFlow's tensor has in Caffe."""
    for entry, tf in expected.items():
        caffe = whole.get(entry.blob, tf)  # the inputs are not among them
        if caffe.shape != tf.shape:
            raise Failure(
                f"{entry.name}: Caffe's blob {entry.blob} is {caffe.shape}, not {tf.shape}"
            )


def _row(entry, tf, whole, alone, depths, measures):
    caffe, own = whole[entry.blob], alone[entry.blob]
    plain = relative_error(tf, caffe), relative_error(tf, own)
    of_own, of_error = (scale[entry.name] for scale in measures)
    error, own = relative_error(tf, caffe, of_error), relative_error(tf, own, of_own)
    to_tf, depth = entry.layout.to_tf, depths[entry.blob]
    return Row(entry.name, entry.blob, to_tf(tf), to_tf(caffe), error, own, depth, plain=plain)


def _depths(net, compared):
    """How many of the compared blobs lie on the longest way to each blob, itself included."""
    depths = {}
    for layer in net.layer:
        before = max((depths.get(bottom, 0) for bottom in layer.bottom), default=0)
        for top in layer.top:
            depths[top] = before + (top in compared and top not in layer.bottom)
    return depths


def allowed(depth, tolerance):
    """The bound for a layer that lies `depth` layers deep, from the network's input on.

    What each layer rounds is passed on to the next, and at worst it adds up: every layer beyond
    the first SHALLOW is allowed to add the tolerance of one. (A fault shows in the own error, which
    has no such allowance.)
    """
    return tolerance * max(1, depth - SHALLOW + 1)


def first_stray(rows, tolerance):
    """The first row that is not equal, and why; (None, None) if all are."""
    found = ((row, fault(row, tolerance)) for row in rows)
    return next(((row, why) for row, why in found if why), (None, None))


def fault(row, tolerance):
    """Why a row is not equal; None if it is.

    Equal is: alone, within the tolerance, on TensorFlow's own input and on the probes; from the
    network's input on, within what is `allowed`.
    """
    bound = allowed(row.depth, tolerance)
    if not row.own <= tolerance:
        why = f"by {row.own:.1e} of its scale on TensorFlow's own input"
        return f"{why}, {tolerance:g} is allowed"
    if row.probed is not None and not row.probed <= tolerance:
        why = f"by {row.probed:.1e} of the scale of its channel {row.channel} on the probes"
        return f"{why}, {tolerance:g} is allowed"
    if not row.error <= bound:
        return f"by {row.error:.1e} of its scale, {bound:.1g} is allowed {row.depth} deep"
    return None


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
