"""What becomes of a random network: it is equal, it is refused for a true reason, or it is a bug."""

import atexit
import re
import tempfile
import traceback
from functools import cache
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tests.fuzz.specs import Network
from tests.harness import TOLERANCE, Converted, function_trace
from tests.test_deploy import Deployed
from tf2caffe import parity, runtimes, trace
from tf2caffe.stage import Failure


class Outcome(NamedTuple):
    """`kind` is equal, refused, unfit or bug; `reasons` are lines.

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


@cache
def engines():
    """Both runtimes, started once."""
    found = [runtimes.OpenCV(), runtimes.choose("pycaffe")]
    for engine in found:
        atexit.register(engine.close)
    return found


def tried(spec):
    """The `Outcome` of a spec, in both forms and on both runtimes."""
    network = Network(spec)
    return outcome(network)._replace(outputs=tuple(network.made))


def outcome(network):
    with tempfile.TemporaryDirectory() as folder:
        try:
            deployed = Deployed(converted(network, Path(folder)), Path(folder))
        except Failure as failure:
            return refused(network.spec, str(failure))
        except Exception as error:
            return Outcome("bug", (crash(error),))
        if not all(np.isfinite(layer).all() for layer in deployed.converted.layers.values()):
            return Outcome("unfit", ("something within it is not finite",))
        faults = tuple(strays(network, deployed))
    return Outcome("bug", faults) if faults else EQUAL


def crash(error):
    """An exception, and where it was raised, in one line."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    line = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"{line} ({Path(at.filename).name}, {at.name})"


def converted(network, folder):
    inputs = {f"x{at}": x for at, x in enumerate(network.inputs)}
    return Converted(TRACES[network.spec.form](network, folder), folder, inputs=inputs)


def strays(network, deployed):
    """What is wrong, a line each."""
    graph, layers = deployed.converted.graph, deployed.converted.layers
    layers = layers | deployed.converted.inputs
    for name, expected in zip(graph.outputs, network.expected(), strict=True):
        if layers[name].shape != expected.shape:
            yield f"output: {layers[name].shape} is read, {expected.shape} is given"
        elif layers[name].dtype == np.float32:
            error = parity.relative_error(expected, layers[name])
            if error > TOLERANCE:
                yield f"output: what is read is off by {error:.1e}"
    for form, rows in (("inspectable", deployed.converted.rows), ("deploy", deployed.rows)):
        for engine in engines():
            yield from stray(form, engine, rows)


def stray(form, engine, rows):
    try:
        row, why = parity.first_stray(rows(engine), TOLERANCE)
    except Failure as failure:
        row, why = None, str(failure)
    if why:
        yield f"{form} {engine.name}: {row.name + ' ' if row else ''}{why}"


def refused(spec, text):
    summary, *lines = text.split("\n  ")
    return Outcome("refused", tuple(lines or [summary]))


def told(spec):
    outcome = tried(spec)
    return "\n".join([outcome.kind, *outcome.reasons])


def traced(network, folder):
    shapes = [(1, *shape) for shape, _ in network.spec.inputs]
    return function_trace(tf.autograph.experimental.do_not_convert(network), *shapes)


class Step(keras.layers.Layer):
    """A step of a network as a layer."""

    def __init__(self, call, **settings):
        super().__init__(**settings)
        self.function = call

    def call(self, *values):
        return self.function(*values)


def keras_traced(network, folder):
    """The steps as layers, those of Keras themselves; one that is applied again is shared."""
    values = [
        keras.Input(batch_shape=(1, *shape), name=f"x{at}")
        for at, (shape, _) in enumerate(network.spec.inputs)
    ]
    inputs, made = list(values), []
    for at, (step, weights) in enumerate(zip(network.steps, network.weights, strict=True)):
        if step.op == "again":
            layer = made[step.args["step"]]
        elif step.op.startswith("keras") and weights.kept:
            layer = weights.kept[0]
        else:
            layer = Step(called(network, step, weights), name=f"{step.op}{at}")
        made.append(layer)
        values += tf.nest.flatten(layer(*(values[read] for read in step.reads)))
    return trace.keras_trace(keras.Model(inputs, [values[at] for at in network.outputs()]))


def called(network, step, weights):
    return lambda *reads: network.call(step, weights, reads)


EQUAL = Outcome("equal")

TRACES = {
    "constants": traced,
    "captured": traced,
    "variables": traced,
    "keras": keras_traced,
}
