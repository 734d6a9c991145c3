"""Step 6: the files of steps 3 and 5 read, run and compared; the verdict in words and as JSON."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tf2caffe.caffe import blobs, outputs
from tf2caffe.caffe.blobs import Table
from tf2caffe.failure import Failure
from tf2caffe.paths import Handoff
from tf2caffe.proof import activations, parity, record
from tf2caffe.proof.activations import Activations
from tf2caffe.proof.parity import Proof
from tf2caffe.proof.runtimes import Network

TOLERANCE = 1e-5  # a right mnistcls differs by 1e-6 at most, one with Caffe's epsilon by 5e-4


@dataclass
class Found:
    """What step 6 reads of one form: the parsed prototxt, the table, TensorFlow's activations.

    `reference` is the inspectable form's (prototxt, caffemodel, table) where this is the deploy
    form, which is held against it.
    """

    handoff: Handoff
    network: Network
    table: Table
    kept: Activations
    reference: tuple | None = None


@dataclass
class Verdict:
    """What was found: the `proof`, in which `runtime`, and up to which `tolerance` is equal.

    `equal` tells whether every layer, every output and every answer agree, `why` what does not, in
    one line (None if equal), `note` how the runtime ran what it does not have. `rows` has a
    `parity.Row` for each layer.
    """

    proof: Proof = field(repr=False)
    found: Found = field(repr=False)
    runtime: str
    tolerance: float
    note: str | None = None

    @property
    def rows(self):
        return self.proof.rows

    @property
    def equal(self):
        return self.why is None

    @cached_property
    def why(self):
        table, kept, prototxt = self.found.table, self.found.kept, self.found.network
        stray, why = self.proof.first_stray(self.tolerance)
        if stray:
            return f"{stray.name} (Caffe: {stray.blob}) is the first layer that differs: {why}"
        differ = outputs.difference(table, outputs.of_prototxt(prototxt.net))
        if differ:
            return f"the outputs of {prototxt.path} are not the model's: {differ}"
        wrong = parity.disagreements(self.rows, table.answers, self.tolerance)
        wrong += outputs.wrong_labels(table, self.rows, kept.layers, self.tolerance)
        if wrong:
            names = ", ".join(f"{kept.images[image]} ({answer})" for image, answer in wrong)
            return f"the answers differ for {names}"
        return None

    def __str__(self):
        """The last line of a proof: EQUAL and the largest errors, or NOT EQUAL and why."""
        if not self.equal:
            return f"NOT EQUAL: {self.why}"
        rows, count = self.rows, len(self.found.kept.images)
        alone, whole = (max(rows, key=key) for key in (lambda row: row.own, lambda row: row.error))
        answers = f", {count} equal answer{'s' * (count > 1)}" if self.found.table.answers else ""
        return (
            f"EQUAL: all {len(rows)} layers within {self.tolerance:g} of their scale "
            f"(worst: {alone.blob}, {alone.own:.1e}; from the input on: {whole.blob}, "
            f"{whole.error:.1e}){answers}"
        )

    def remarks(self):
        """What there is to say besides, a line each."""
        if self.found.kept.original:
            yield f"the model as it was loaded, {self.found.kept.original}"
        yield f"{self.proof.reach}"
        if self.note:
            yield self.note
        if self.proof.unprobed:
            names = ", ".join(self.proof.unprobed)
            yield f"compared on your input only, because they read no blob that can be fed: {names}"
        if summed := parity.by_allowance(self.rows, self.tolerance):
            names = ", ".join(summed)
            yield f"measured against the terms of their sums, which nearly cancel: {names}"

    @cached_property
    def record(self):
        """What `NAME.parity.json` contains (see docs/proof.md)."""
        return record.of(self)

    def save(self):
        """Write `NAME.parity.json`; return its path."""
        path = self.found.handoff.parity
        record.write(path, self.record)
        return path


def load(name, folder=".", deploy=False, kept=None):
    """What step 6 reads of a network's form; `kept` are its activations, if not in their file.

    Raises `Failure` where files are missing or damaged, or come from two states of the model.
    """
    handoff = Handoff(folder, name, deploy)
    if deploy and not handoff.blobs.exists():
        raise Failure(f"{handoff.blobs} does not exist; build_caffe.py --deploy makes it")
    table = blobs.load(handoff.blobs)
    kept = kept or activations.load(handoff.activations)
    if table.source != kept.source:
        raise Failure(
            f"{handoff.activations} and {handoff.caffemodel} come from two different states of the "
            "model; run tf_predict.py (step 3), save_weights.py and build_caffe.py again"
        )
    found = Found(handoff, Network(Path(handoff.prototxt)), table, kept)
    if deploy:
        beside = Handoff(folder, name)
        files = Network(beside.prototxt), beside.caffemodel
        found.reference = *files, blobs.load(beside.blobs)
    return found


def judge(found, runtime, tolerance=TOLERANCE):
    """The `Verdict` on what was found, run in `runtime` (see `runtimes.choose`)."""
    files = found.network, found.handoff.caffemodel
    proof = parity.prove(runtime, *files, found.table, found.kept, found.reference)
    return Verdict(proof, found, str(runtime), tolerance, runtime.note(found.network))
