"""The model as it was loaded, run beside its trace: what the front end rewrites is proven too.

A Keras model is called as its user calls it, a SavedModel by its signature, a frozen graph or a TF1
checkpoint as the graph in the file, with the stored values: image by image, as the trace is.
"""

import contextlib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import rewriter_config_pb2

from tf2caffe.failure import Failure, first_line
from tf2caffe.frontend import tf_import
from tf2caffe.graph.ops import PASSED_ON

v1 = tf.compat.v1
TOLERANCE = 1e-5  # of an output's largest value


class DoesNotRun(Exception):
    """The model as it was loaded cannot be run, for this reason."""


class Original:
    """`start()` is a context of a function of one image, {input: array}, to {output: array}.

    `specs` are the `tf.TensorSpec`s of the inputs by name, also of those that no output depends on.
    """

    def __init__(self, start, specs):
        self.start, self.specs = start, specs

    def taken(self, inputs):
        """The inputs as the model can take them, as floats: whole numbers within its range."""
        return {name: cast(array, self.specs[name].dtype).astype(np.float32)
                for name, array in inputs.items()}  # fmt: skip

    def allowed(self, output):
        """The bound of an output's error, relative to its largest value."""
        return TOLERANCE

    def remarks(self, inputs, expected):
        """What is to be said beside that the outputs are the same."""
        return ""

    def __call__(self, inputs):
        """The outputs of every image, {name: (images, ...)}."""
        others = {name: np.zeros(spec.shape) for name, spec in self.specs.items()}
        with self.start() as run:
            return stacked(
                run({name: cast(array, self.specs[name].dtype) for name, array in fed.items()})
                for fed in (others | image for image in images(inputs))
            )


def cast(array, dtype):
    if dtype.is_integer:
        array = np.rint(np.clip(array, dtype.min, dtype.max))
    return array.astype(dtype.as_numpy_dtype)


def images(inputs):
    """The inputs of each image, with batch 1."""
    for at in range(len(next(iter(inputs.values())))):
        yield {name: array[at : at + 1] for name, array in inputs.items()}


def stacked(results):
    """What several images give, {name: array} each, as one."""
    results = list(results)
    return {name: np.stack([np.asarray(result[name]) for result in results]) for name in results[0]}


def of_function(function, specs):
    """The `Original` of a function of tensors that returns {output: tensor}; `specs` by name."""

    def run(image):
        try:
            with tf_import.unfused():
                return function(*(tf.constant(image[name]) for name in specs))
        except Exception as error:  # whatever the model's own code raises
            raise DoesNotRun(first_line(error)) from None

    return Original(lambda: contextlib.nullcontext(run), specs)


@dataclass
class Session:
    """Starts the graph of a file between `inputs`, {name: tensor's}, and `outputs`, {name: tensor}.

    `values` are those of large constants, which the graph has placeholders for, `stored` those of
    variables, `off` the placeholders that tell training from use.
    """

    graph: tf.Graph
    inputs: dict
    outputs: dict
    values: dict
    stored: dict
    off: list

    @contextlib.contextmanager
    def __call__(self):
        known = {f"{name}:0": np.asarray(value) for name, (_, value) in self.values.items()}
        known |= {f"{name}:0": False for name in self.off}
        config = v1.ConfigProto(allow_soft_placement=True)
        config.graph_options.rewrite_options.remapping = rewriter_config_pb2.RewriterConfig.OFF
        with v1.Session(graph=self.graph, config=config) as session, self.graph.as_default():
            self.restore(session)
            yield lambda image: self.run(session, known, image)

    def restore(self, session):
        """Give the variables that the outputs depend on their stored values."""
        for op in self.needed():
            key = op.type in VARIABLES and (op.get_attr("shared_name").decode() or op.name)
            if key in self.stored:
                value = self.stored[key]
                fed = v1.placeholder(value.dtype, value.shape)
                handle = op.outputs[0]
                if op.type == "VarHandleOp":
                    assign = tf.raw_ops.AssignVariableOp(resource=handle, value=fed)
                else:
                    assign = tf.raw_ops.Assign(ref=handle, value=fed).op
                session.run(assign, {fed: value.numpy()})

    def needed(self):
        """The ops that run for the outputs."""
        found = {self.graph.get_tensor_by_name(name).op for name in self.inputs.values()}
        waiting = [tensor.op for tensor in self.outputs.values()]
        while waiting:
            op = waiting.pop()
            if op not in found:
                found.add(op)
                waiting += [*(tensor.op for tensor in op.inputs), *op.control_inputs]
        return found

    def run(self, session, known, image):
        """The outputs for one image; where the graph has a fixed batch, for as many equal ones."""
        fed, batch = dict(known), 1
        for name, tensor in self.inputs.items():
            shape = self.graph.get_tensor_by_name(tensor).shape
            batch = (shape.rank and shape[0]) or 1
            fed[tensor] = np.repeat(image[name], batch, 0)
        try:
            results = session.run(self.outputs, fed)
        except tf.errors.OpError as error:
            raise DoesNotRun(first_line(error)) from None
        return {name: _first(array, batch) for name, array in results.items()}


def _first(array, batch):
    """The part of an array that belongs to the first of a batch of equal images."""
    array = np.asarray(array)
    return array[: len(array) // batch] if array.ndim and len(array) % batch == 0 else array


def compared(source, inputs, layers):
    """Compare the outputs of a traced model with the model's own; return what is to be said of it.

    `inputs` and `layers` are what the trace was run on and gave, {name: (images, ...)}. Raises
    `Failure` that names the first output in which the two differ.
    """
    told, note = _compared(source, inputs, layers), source.trace.note
    if source.trace.widened:
        note = f"computed in {source.trace.widened}, here and in Caffe in float32; {note}"
        note = note.removesuffix("; ")
    return f"{told} ({note})" if note else told


def _compared(source, inputs, layers):
    trace = source.trace
    if trace.original is None or "16" in trace.widened:
        reason = "its own numbers are rounded" if trace.widened else trace.reason
        return f"not compared: {reason}"
    taken = trace.original.taken(inputs)
    same = all(np.array_equal(taken[name], inputs[name]) for name in inputs)
    traced = _traced(source, taken, inputs | layers if same else {})
    try:
        expected = _expected(trace.original, taken)
    except DoesNotRun as reason:
        return f"not compared: it does not run by itself ({reason})"
    traced |= _left(trace, taken, expected)
    errors = {
        name: _error(trace, tensor, taken, traced[name], expected[name])
        for name, tensor in trace.outputs.items()
        if name in traced
    }
    _refuse_wrong(errors, trace.original)
    worst = max(errors.values(), default=0.0)
    told = f"compared: each output {f'within {worst:.1e} of its scale' if worst else 'the same'}"
    return told + trace.original.remarks(taken, expected)


def _left(trace, inputs, expected):
    """The outputs whose end is left to the caller, as the trace has them; whole numbers are not
    compared: next to a tie either may come first."""
    names = [name for name in trace.left if expected[name].dtype.kind == "f"]
    if not names:
        return {}
    function = trace.function([trace.outputs[name] for name in names])
    return stacked(dict(zip(names, function(image), strict=True)) for image in images(inputs))


def _refuse_wrong(errors, model):
    for name, error in errors.items():
        allowed = model.allowed(name)
        if not error <= allowed:
            raise Failure(
                f"{name} (output): what was traced is off by {error:.1e} of its scale from what "
                f"the model itself gives, {allowed:g} is allowed; tf2caffe rewrote the model "
                "wrongly: please report it"
            )


def _expected(original, inputs):
    """The model's own outputs. Raises `Failure` where the first image gives others at the end."""
    again = {name: np.concatenate([array, array[:1]]) for name, array in inputs.items()}
    with tf_import.log():
        results = original(again)
    for name, array in results.items():
        if not difference(array[0], array[-1]) <= TOLERANCE:
            raise Failure(
                f"{name} (output): the model gives another answer each time, since it changes its "
                "variables or draws random numbers; Caffe's networks do neither: save it without"
            )
    return {name: array[:-1] for name, array in results.items()}


def _traced(source, inputs, known):
    """What the graph has as each output, of each image; computed, unless all are known by now."""
    names = source.graph.outputs
    tensors = {
        output: source.trace.graph.get_tensor_by_name(source.tensors[name])
        for output, name in names.items()
    }
    shaped = all(tensor.shape.is_fully_defined() for tensor in tensors.values())
    if shaped and known.keys() >= set(names.values()):
        arrays = {output: known[name] for output, name in names.items()}
        return {output: array.reshape(len(array), *tensors[output].shape)
                for output, array in arrays.items()}  # fmt: skip
    function = source.trace.function([tensor.name for tensor in tensors.values()])
    return stacked(dict(zip(tensors, function(image), strict=True)) for image in images(inputs))


def _error(trace, tensor, inputs, traced, expected):
    """The largest difference relative to the largest value; of labels, in what they choose from."""
    error = difference(traced, expected)
    if error and traced.shape == expected.shape and expected.dtype.kind in "iu":
        return _tie(trace, tensor, inputs, traced, expected)
    return error


def difference(traced, expected, scale=0.0):
    """The largest, relative to the largest value, or to `scale`, if that is more.

    Infinite where anything but floats differs.
    """
    if traced.shape != expected.shape:
        return np.inf
    if expected.dtype.kind != "f":
        return 0.0 if (traced == expected).all() else np.inf
    known = np.isfinite(expected)
    if not np.array_equal(traced[~known], expected[~known], equal_nan=True):
        return np.inf
    difference = np.abs(traced[known].astype(np.float64) - expected[known]).max(initial=0)
    scale = np.abs(expected[known].astype(np.float64)).max(initial=scale)
    return difference / scale if difference else 0.0


def _tie(trace, tensor, inputs, *labels):
    """By how much of the scale the values differ that two labels choose; infinite if no labels."""
    made = trace.graph.get_tensor_by_name(tensor)
    while made.op.type in (*PASSED_ON, "Cast") and made.op.inputs:
        made = made.op.inputs[made.value_index]
    op = made.op
    if op.type != "ArgMax":
        return np.inf
    function, axis = trace.function([op.inputs[0].name]), int(tf.get_static_value(op.inputs[1]))
    values = np.stack([function(image)[0] for image in images(inputs)])
    axis = axis % (values.ndim - 1) + 1
    chosen = [
        np.take_along_axis(values, np.expand_dims(label.astype(np.int64), axis), axis)
        for label in labels
    ]
    return np.abs(chosen[0] - chosen[1]).max() / np.abs(values).max()


VARIABLES = ("VarHandleOp", "Variable", "VariableV2")
