"""`NAME.parity.json`: what a proof found, for programs. docs/proof.md describes each field.

It holds no date and no path, so that the same files and the same input give the same bytes.
"""

import json
import platform

import numpy as np

import tf2caffe
from tf2caffe import files
from tf2caffe.graph.layout import described
from tf2caffe.graph.preprocessing import Preprocessing
from tf2caffe.paths import replacing
from tf2caffe.proof import parity

SCHEMA = 1  # grows when a field is renamed, removed, or gets another meaning


def of(verdict):
    """The record of a `Verdict`, as JSON has it."""
    found, proof = verdict.found, verdict.proof
    table, kept = found.table, found.kept
    return {
        "schema": SCHEMA,
        "verdict": "equal" if verdict.equal else "not equal",
        "reason": verdict.why,
        "tolerance": verdict.tolerance,
        "network": network_of(found),
        "model": {
            "file": kept.made.get("model"),
            "sha256": kept.source.partition("+")[0],  # then what is folded in
            "as_loaded": kept.original,
        },
        "files": [file_of(path) for path in (found.handoff.prototxt, found.handoff.caffemodel)],
        "versions": versions(kept),
        "runtime": verdict.runtime,
        "runtime_note": verdict.note,
        "preprocessing": prepared(found),
        "inputs": [input_of(entry) for entry in table.inputs],
        "outputs": [vars(output) for output in table.outputs],
        "images": kept.images,
        "answers": answers(verdict),
        "counts": counts(verdict),
        "numbers": {
            "in_caffemodel": proof.reach.total,
            "reached": proof.reach.reached,
            "not_reached": proof.reach.missed,
        },
        "not_on_probes": proof.unprobed,
        "layers": [layer_of(row, verdict.tolerance) for row in verdict.rows],
        "on_probes_alone": [
            probe_of(row, verdict.tolerance) for row in [*proof.before, *proof.within]
        ],
    }


def write(path, record):
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def network_of(found):
    return {
        "name": found.handoff.name,
        "form": "deploy" if found.reference else "inspectable",
        "target": found.table.target,
    }


def prepared(found):
    """What is done to images, with what to write in other tools; None if there were none."""
    given = found.kept.made.get("preprocessing")
    if given is None:
        return None
    (entry,) = found.table.inputs
    return Preprocessing.of(**given).record(entry.blob, entry.layout.caffe_shape[0])


def file_of(path):
    """A file's name, size and hash."""
    sha256 = files.checksum(files.blocks(path))
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256}


def versions(kept):
    """Of what took part; TensorFlow's and Keras's are those of step 3."""
    ours = {"tf2caffe": tf2caffe.__version__, "python": platform.python_version()}
    return ours | {"numpy": np.__version__} | kept.made.get("versions", {})


def input_of(entry):
    """An input as TensorFlow and as Caffe has it, with a batch of 1."""
    shapes = {"tensorflow": (1, *entry.layout.tf_shape), "caffe": (1, *entry.layout.caffe_shape)}
    return {
        "name": entry.name,
        "blob": entry.blob,
        "shape": list(shapes["caffe"]),
        "tensorflow_shape": list(shapes["tensorflow"]),
        "order": described(entry.layout),
    }


def answers(verdict):
    """Both sides' label of each image: the index of the largest number of each answer."""
    table, kept = verdict.found.table, verdict.found.kept
    wrong = {*parity.disagreements(verdict.rows, table.answers, verdict.tolerance)}
    return [
        {
            "image": kept.images[image],
            "layer": row.name,
            "tensorflow": int(tf.argmax()),
            "caffe": int(caffe.argmax()),
            "pass": (image, row.name) not in wrong,
        }
        for row in verdict.rows
        if row.name in table.answers
        for image, (tf, caffe) in enumerate(zip(row.tf, row.caffe, strict=True))
    ]


def counts(verdict):
    """Layers that were compared, and that passed; layers of the prototxt; images."""
    faults = [parity.fault(row, verdict.tolerance) for row in verdict.rows]
    return {
        "compared": len(faults),
        "passed": faults.count(None),
        "caffe_layers": len(verdict.found.network.net.layer),
        "images": len(verdict.found.kept.images),
    }


def layer_of(row, tolerance):
    """One compared layer: each error beside its limit."""
    why = parity.fault(row, tolerance)
    return {
        "tensorflow": row.name,
        "caffe": row.blob,
        "pass": why is None,
        "reason": why,
        "error": finite(row.error),
        "error_limit": parity.allowed(row.depth, tolerance),
        "own_error": finite(row.own),
        "probe_error": None if row.probed is None else finite(row.probed),
        "probe_channel": None if row.probed is None else row.channel,
        "limit": tolerance,
        "depth": row.depth,
    }


def probe_of(row, tolerance):
    """What was compared on the probes alone, and is no layer of TensorFlow's in this form."""
    why = parity.fault(row, tolerance)
    return {
        "name": row.name, "caffe": row.blob, "pass": why is None, "reason": why,
        "probe_error": finite(row.probed), "limit": tolerance,
    }  # fmt: skip


def finite(error):
    """JSON knows no infinity."""
    return float(error) if np.isfinite(error) else None
