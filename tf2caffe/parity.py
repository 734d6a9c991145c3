"""The proof: every layer of Caffe's against TensorFlow's, relative to the layer's scale."""

import json
from dataclasses import dataclass

import numpy as np

from tf2caffe.activations import statistics
from tf2caffe.handoff import replacing
from tf2caffe.stage import Failure


@dataclass
class Row:
    """One layer on both sides, in TensorFlow's layout (N, ...), and its relative error."""

    name: str
    blob: str
    tf: np.ndarray
    caffe: np.ndarray
    error: float


def relative_error(tf, caffe):
    """max |caffe - tf| / max |tf|; infinite where either side is not finite."""
    if not (np.isfinite(tf).all() and np.isfinite(caffe).all()):
        return float("inf")
    difference = np.abs(caffe.astype(np.float64) - tf).max()
    scale = np.abs(tf.astype(np.float64)).max()
    if difference == 0:
        return 0.0
    return float(difference / scale) if scale else float("inf")


def compare(table, layers, blobs):
    """A row for each layer of the table; `layers` are TensorFlow's outputs, `blobs` Caffe's."""
    rows = []
    for entry in table.layers:
        if entry.name not in layers:
            raise Failure(
                f"{entry.name} is not among TensorFlow's activations; run tf_predict.py (step 3)"
            )
        tf, blob = layers[entry.name], blobs[entry.blob]
        expected = (len(tf), *entry.layout.caffe_shape)
        if tf.shape[1:] != entry.layout.tf_shape or blob.shape != expected:
            raise Failure(
                f"{entry.name}: TensorFlow made {tf.shape}, Caffe's {entry.blob} {blob.shape}; "
                "run steps 3 to 5 again, on the same model"
            )
        caffe = entry.layout.to_tf(blob)
        rows.append(Row(entry.name, entry.blob, tf, caffe, relative_error(tf, caffe)))
    return rows


def first_stray(rows, tolerance):
    """The first row that is not within the tolerance, or None."""
    return next((row for row in rows if not row.error <= tolerance), None)


def disagreements(rows, answers, tolerance):
    """(image, answer) pairs where Caffe's label is not TensorFlow's, nor as good within tolerance."""
    found = []
    for row in rows:
        if row.name in answers:
            scale = np.abs(row.tf).max()
            for image, (tf, caffe) in enumerate(zip(row.tf, row.caffe, strict=True)):
                if not tf.max() - tf[caffe.argmax()] <= tolerance * scale:
                    found.append((image, row.name))
    return found


def print_table(rows, shown):
    """Both sides next to each other: mean and variance of image `shown`, error over all images."""
    lines = [("TensorFlow", "Caffe blob", "mean", "", "variance", "", "error")]
    for row in rows:
        (tf_mean, tf_var), (mean, var) = statistics(row.tf[shown]), statistics(row.caffe[shown])
        lines.append((row.name, row.blob, tf_mean, mean, tf_var, var, f"{row.error:.1e}"))
    widths = [max(len(line[at]) for line in lines) for at in range(7)]
    for line in lines:
        cells = [
            f"{cell:<{width}}" if at < 2 else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def save(path, rows, runtime, tolerance, verdict):
    """Write `NAME.parity.json`."""
    record = {
        "verdict": verdict,
        "tolerance": tolerance,
        "runtime": runtime,
        "layers": [
            {"tensorflow": row.name, "caffe": row.blob, "error": finite(row.error)} for row in rows
        ],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def finite(error):
    """JSON knows no infinity."""
    return error if np.isfinite(error) else None
