"""Steps 3 to 6 in one process: a Keras model or a TensorFlow function, proven in a runtime."""

import numpy as np
import tensorflow as tf

from tf2caffe import api
from tf2caffe.caffe import forms
from tf2caffe.frontend import trace, weights
from tf2caffe.frontend.source import open_model
from tf2caffe.proof import verdict

TOLERANCE = 1e-5


class Converted:
    """A model taken through steps 3 to 5 in `folder`; `rows(runtime)` is step 6."""

    def __init__(self, model, folder, images=2, seed=1, inputs=None, target="portable"):
        source = open_model(model, name="net", folder=folder)
        self.handoff = source.handoff
        weights.save(source.graph, self.handoff.weights)
        self.trace, self.graph, self.tensors = source.trace, source.graph, source.tensors
        self.inputs = {
            name: inputs[name] if inputs else random_input((images, *shape[1:]), seed)
            for name, shape in self.graph.inputs.items()
        }
        count = len(next(iter(self.inputs.values())))
        self.kept = api.computed(source, self.inputs, [str(at) for at in range(count)])
        self.layers = self.kept.layers
        self.net, self.fitted = rebuilt(self.handoff, target)

    def rows(self, runtime):
        """Each layer on both sides."""
        return self.proof(runtime).rows

    def proof(self, runtime):
        """What step 6 finds."""
        found = verdict.load(self.handoff.name, self.handoff.root, kept=self.kept)
        return verdict.judge(found, runtime).proof


def rebuilt(handoff, target="portable"):
    """Step 5 on what lies in the hand-off folder: the network as mapped, and as it fits.

    It need not be what the target takes: Log has no portable equal.
    """
    built = forms.unchecked(handoff, target)
    forms.write_all(built.forms)
    return built.mapped, built.forms[0].net


def traced(model):
    return trace.keras_trace(model)


def function_trace(function, *shapes):
    """The trace of a plain TensorFlow function of inputs x0, x1, ... of these shapes."""
    specs = [tf.TensorSpec(shape) for shape in shapes]
    concrete = tf.function(function).get_concrete_function(*specs)
    inputs = {f"x{at}": tensor for at, tensor in enumerate(concrete.inputs[: len(specs)])}
    outputs = {f"y{at}": tensor for at, tensor in enumerate(concrete.outputs)}
    return trace.function_trace(concrete, inputs, outputs)


def graph_trace(function, *shapes):
    """The same of a function that is called as it is written, however many stand on one line."""
    return function_trace(tf.autograph.experimental.do_not_convert(function), *shapes)


def random_input(shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def randomise(model, seed=1, but="seed"):
    """Random weights and random BatchNorm statistics, so that no parameter is at its default.

    What has `but` in its name, or draws random numbers, stays as it is.
    """
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if "seed" in variable.path or but in variable.path:
            continue
        shape, name = variable.shape, variable.path.rpartition("/")[2]
        value = random.normal(size=shape) / np.sqrt(max(1, np.prod(shape[:-1])))
        if name in ("moving_variance", "gamma"):
            value = random.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            value = random.normal(size=shape) * 0.3
        variable.assign(value.astype(np.float32))
    return model


def assert_equal(model, folder, runtime, tolerance=TOLERANCE):
    """Every layer of the model within the tolerance; return the conversion."""
    converted = Converted(model, folder)
    for row in converted.rows(runtime):
        assert row.error <= tolerance, f"{row.name} ({row.blob}): {row.error:.1e}"
        assert row.own <= tolerance, f"{row.name} ({row.blob}) alone: {row.own:.1e}"
        assert (row.probed or 0) <= tolerance, f"{row.name} on probes: {row.probed:.1e}"
    return converted
