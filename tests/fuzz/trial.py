"""What becomes of a random network: equal, refused for a true reason, or a bug."""

import atexit
import re
import tempfile
import traceback
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tests.deployed import Deployed
from tests.fuzz.forms import TRACES
from tests.fuzz.specs import Network, Unfit, label
from tests.harness import TOLERANCE, Converted
from tf2caffe.caffe import blobs, outputs, schema
from tf2caffe.failure import Failure
from tf2caffe.proof import errors, parity, runtimes


class Outcome(NamedTuple):
    """`kind` is equal, refused, unfit, died (TensorFlow on its own graph) or bug; `reasons` lines.

    `outputs` tells how many values each step gave.
    """

    kind: str
    reasons: tuple = ()
    outputs: tuple = ()

    def signature(self):
        """What is the same for the same bug in another network."""
        return self.kind, tuple(
            sorted({re.sub(r"\S*/|\d[\d.]*(e[+-]?\d+)?", "#", r) for r in self.reasons})
        )


@lru_cache(8)
def parsed(text, path):
    return parse(text, path)


def copied(text, path):
    """What `schema.parse` gives; a network's text is read a dozen times here."""
    net = schema.NetParameter()
    net.CopyFrom(parsed(text, path))
    return net


@cache
def engines():
    """Both runtimes, started once."""
    found = [runtimes.OpenCV(), runtimes.choose("pycaffe")]
    for engine in found:
        atexit.register(engine.close)
    return found


def tried(spec):
    """The `Outcome` of a spec, in both forms and on both runtimes."""
    try:
        network = Network(spec)
    except Unfit as error:
        return Outcome("unfit", (str(error),), (1,) * len(spec.steps))
    return outcome(network)._replace(outputs=tuple(network.made))


def outcome(network):
    with tempfile.TemporaryDirectory() as folder:
        try:
            folder, target = Path(folder), network.spec.target
            deployed = Deployed(converted(network, folder), folder, target=target)
        except Failure as failure:
            return refused(network.spec, str(failure))
        except tf.errors.OpError as error:
            return Outcome("died", (crash(error),))
        except Exception as error:
            return Outcome("bug", (crash(error),))
        reasons = tuple(sorted({*unfit(deployed.converted)}))
        if reasons:
            return Outcome("unfit", reasons)
        faults = tuple(strays(network, deployed))
    return Outcome("bug", faults) if faults else EQUAL


def unfit(converted):
    """Why no one could compare the network: what lies within it was not seen when it was drawn."""
    for node in converted.graph.nodes:
        scale = np.abs(converted.layers[node.name]).max()
        if node.op == "Conv2D" and mistaken_by_tensorflow(node, converted.graph):
            yield "Conv2D that TensorFlow is wrong on"
        elif not np.isfinite(scale):
            yield f"{node.op} is not finite"
        elif 0 < scale < SMALLEST.get(node.op, 1e-30):
            yield f"{node.op} of nothing larger than {SMALLEST.get(node.op, 1e-30):g}"


def mistaken_by_tensorflow(node, graph):
    """Whether TensorFlow 2.21 with oneDNN gives whatever lies in memory.

    It does for one channel, a stride along the width alone, and an output of one column: in 196 of
    372 such convolutions that were tried, and in none of 10,860 others.
    """
    shapes = {other.name: other.shape for other in graph.nodes} | graph.inputs
    height, width = node.attrs["strides"][1:3]
    return height == 1 < width and node.shape[2] == 1 == shapes[node.inputs[0]][3]


def crash(error):
    """An exception, and where it was raised, in one line."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{line} ({Path(at.filename).name}, {at.name})"


def converted(network, folder):
    inputs = {f"x{at}": x for at, x in enumerate(network.inputs)}
    traced, target = TRACES[network.spec.form](network, folder), network.spec.target
    return Converted(traced, folder, inputs=inputs, target=target)


def strays(network, deployed):
    """What is wrong, a line each."""
    graph, layers = deployed.converted.graph, deployed.converted.layers
    layers = layers | deployed.converted.inputs
    for name, expected in zip(graph.outputs.values(), network.expected(), strict=True):
        if layers[name].shape != expected.shape:
            yield f"output: {layers[name].shape} is read, {expected.shape} is given"
        elif layers[name].dtype == np.float32:
            error = errors.relative_error(expected, layers[name])
            if error > READ:
                yield f"output: what is read is off by {error:.1e}"
    for form, rows in (("inspectable", deployed.converted.rows), ("deploy", deployed.rows)):
        for engine in engines():
            yield from stray(form, engine, rows)
    for form in (deployed.converted, deployed):
        yield from wrong_outputs(form.handoff, network, deployed.converted)


def wrong_outputs(handoff, network, converted):
    """Whether the files' outputs are the graph's, and hold what TensorFlow gives, in its order."""
    table = blobs.load(handoff.blobs)
    differ = outputs.difference(table, outputs.of_prototxt(schema.load(handoff.prototxt)))
    if differ or [output.name for output in table.outputs] != list(converted.graph.outputs):
        yield f"{handoff.prototxt.name}: {differ or 'other names'}"
        return
    fed = {
        entry.blob: entry.layout.to_caffe(converted.inputs[entry.name]) for entry in table.inputs
    }
    for engine in engines():
        try:
            found = engine.run(handoff.prototxt, handoff.caffemodel, fed)
        except Failure as failure:
            yield str(failure)
            continue
        for output, expected in zip(table.outputs, network.expected(), strict=True):
            why = wrong_output(output, expected, found[output.blob])
            if why:
                yield f"{handoff.prototxt.name} {engine.name}: output {why}"


def wrong_output(output, expected, found):
    """Why a blob is not TensorFlow's output, NCHW if it is an image; None if it is."""
    if output.axis is not None:
        return None  # ArgMax is the caller's, and a tie may fall either way
    expected = np.moveaxis(expected, 3, 1) if expected.ndim == 4 else expected
    if expected.shape != found.shape:
        return f"is {found.shape}, not {expected.shape}"
    error = parity.relative_error(expected, found)
    return f"is off by {error:.1e}" if error > READ else None


def stray(form, engine, rows):
    try:
        row, why = parity.first_stray(rows(engine), TOLERANCE)
    except Failure as failure:
        row, why = None, str(failure)
    if why:
        yield f"{form} {engine.name}: {row.name + ' ' if row else ''}{why}"


def refused(spec, text):
    """A refusal, if every reason is listed and the network has what it is about."""
    summary, *lines = text.split("\n  ")
    steps = {label(step, spec) for step in spec.steps}
    untrue = [line for line in lines or [summary] if not is_true(line, steps)]
    return Outcome("bug", tuple(untrue)) if untrue else Outcome("refused", tuple(lines))


def is_true(reason, steps):
    return any(
        re.search(pattern, reason) and (steps & causes) for pattern, causes in REFUSALS.items()
    )


def told(spec):
    outcome = tried(spec)
    return "\n".join([outcome.kind, *outcome.reasons])


READ = 1e-4  # so much may TensorFlow differ from itself, run step by step and as a graph

parse, schema.parse = schema.parse, copied

EQUAL = Outcome("equal")

# Below this, what a runtime computes is right to the last digit of 1, but not of the result:
# Caffe's and OpenCV's sigmoid, BNLL and tanh, TensorFlow's own Elu. What is told apart here is not
# the converter.
SMALLEST = {
    "Elu": 0.03, "Expm1": 0.03, "Selu": 0.03, "Sigmoid": 0.03, "Softplus": 0.03, "Tanh": 0.03,
}  # fmt: skip

# Steps that change the order of axes, or the number of them.
MOVING = {
    "cut", "expand", "keras:Flatten", "keras:Permute", "keras_op:ravel", "keras_op:swapaxes",
    "pick", "reduction:max", "reduction:mean", "reduction:min", "reduction:sum", "reshape",
    "shuffle", "squeeze", "transpose", "unstack",
}  # fmt: skip

# What a refusal says -> the steps, one of which the network must have for it to be true.
REFUSALS = {
    "it reduces a tensor of": MOVING,
    "only images and sequences can be padded": MOVING,
    "only vectors, sequences and images can be cut": MOVING,
    "is ArgMax alone, which is left to the caller": {"argmax"},
    r"\(Log1p\): tf2caffe does not convert it": {"positive:log1p"},
    r"\(ReverseV2\): tf2caffe does not convert it": {"keras_op:flip"},
    r"\(IsFinite\): tf2caffe does not convert it": {"keras_op:logsumexp"},
    r"\((Greater|SelectV2)\): a choice that depends": {
        "keras:ELU",
        "keras:ReLU",
        "keras_op:logsumexp",
    },
}
