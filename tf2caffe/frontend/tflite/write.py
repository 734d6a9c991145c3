"""A part of a `.tflite` file written in TensorFlow's nodes, as a `Trace`."""

import re

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from tf2caffe.failure import Failure, first_line, listed
from tf2caffe.frontend import loops
from tf2caffe.frontend.inline import inlined
from tf2caffe.frontend.tflite.file import MISSING, indices, name
from tf2caffe.frontend.tflite.ops import BUILDERS, Op
from tf2caffe.frontend.tflite.part import plain_name
from tf2caffe.frontend.trace import Trace

v1 = tf.compat.v1


class Writer:
    """Writes a `Part` into `graph`, with inputs of these `sizes`, {name: shape}.

    `tensors` has TensorFlow's tensor of each of the file's, {index: tensor}, `variables` the
    weights, as in a `Trace`, `written` the indices of what each op gives, and `depths` how many ops
    lie on the longest way to each. `before` has what an op's fused activation is applied to.
    """

    def __init__(self, part, sizes):
        self.part, self.sizes = part, sizes
        self.graph, self.tensors, self.variables, self.written = tf.Graph(), {}, {}, []
        self.before, self.depths, self.values = {}, {}, dict(part.values)

    def write(self):
        """Write every op; return self. Raises `Failure` that names what cannot be written."""
        self._refuse_unknown()
        with self.graph.as_default():
            for key, at in self.part.inputs.items():
                dtype = self.part.dtype(at)
                self.tensors[at] = v1.placeholder(dtype, self.sizes[key], sanitised(key))
        for op in self.part.ops:
            self._write(op)
        return self

    def _refuse_unknown(self):
        found = [self.part.shown(op) for op in self.part.ops if self.part.kind(op) not in BUILDERS]
        if found:
            said = f"{self.part.file.path} has {len(found)} op(s) that cannot be converted"
            raise Failure(listed(f"{said}; --inputs and --outputs cut the network", found))

    def _write(self, op):
        """Write an op; one of constants is computed instead, and so is the shape of anything."""
        read, outputs = indices(op.inputs), indices(op.outputs)
        source = self.tensors.get(read[0]) if self.part.kind(op) == "SHAPE" else None
        if source is not None and source.shape.is_fully_defined():
            dtype = self.dtype(outputs[0]).as_numpy_dtype
            self.values[outputs[0]] = np.array(source.shape.as_list(), dtype)
            return
        if all(at == MISSING or at in self.values for at in read):
            built = zip(outputs, self._built(op), strict=False)
            self.values |= {at: value.numpy() for at, value in built}
            return
        with self.graph.as_default(), tf.name_scope(f"{self._scope(outputs[0])}/"):
            self.tensors |= zip(outputs, self._built(op), strict=False)
        self.written.append(outputs)
        depth = 1 + max((self.depths.get(at, 0) for at in indices(op.inputs)), default=0)
        self.depths |= dict.fromkeys(outputs, depth)

    def _built(self, op):
        """TensorFlow's tensors of what an op gives."""
        kind = self.part.kind(op)
        try:
            given = BUILDERS[kind](Op(op, kind, self))
        except Exception as error:  # TensorFlow raises whatever the settings make it stumble over
            raise Failure(
                f"{self.part.file.path}: {self.part.shown(op)}: {first_line(error)}"
            ) from None
        return given if isinstance(given, (list, tuple)) else [given]

    def _scope(self, at):
        """The layer that an op belongs to: its tensor's name, without an op's at the end.

        What the converter calls after a call is an output of the whole: that one's name is taken.
        """
        path = sanitised(plain_name(name(self.part.tensors[at]))).split("/")
        path = [step for step in path if not CALL.match(step)]
        if not path:
            ends = {self.part.same.get(end, end): key for key, end in self.part.outputs.items()}
            path = [sanitised(ends.get(at, "output"))]
        if len(path) > 1 and _is_op(path[-1]):
            path.pop()
        return "/".join(path)

    def tensor(self, at):
        """TensorFlow's tensor of one of the file's."""
        if at in self.values and tf.executing_eagerly():
            return tf.constant(self.values[at])
        if at not in self.tensors:
            if at not in self.values:
                raise Failure(f"it reads tensor {at}, which nothing makes")
            self.tensors[at] = self._constant(self.values[at], name(self.part.tensors[at]))
        return self.tensors[at]

    def static(self, at):
        """A constant as an array, or what is known of a tensor; else None."""
        if at in self.values:
            return self.values[at]
        return tf.get_static_value(self.tensors[at]) if at in self.tensors else None

    def weight(self, at, change):
        if at in self.values:
            value = change(self.values[at])
            if tf.executing_eagerly():
                return tf.constant(value)
            return self._constant(value, name(self.part.tensors[at]))
        return change(self.tensor(at))

    def _constant(self, value, text):
        """A tensor of a constant: floats are a placeholder, whose value the trace has apart."""
        if value.dtype != np.float32 or value.ndim == 0:
            with tf.name_scope(""):
                return tf.constant(value, name="constants")
        with tf.name_scope(""):
            tensor = v1.placeholder(value.dtype, value.shape, f"weights/{sanitised(text)}")
        self.variables[tensor.op.name] = plain_name(text), value
        return tensor

    def dtype(self, at):
        return self.part.dtype(at)

    def trace(self):
        """The `Trace` of what was written, with the outputs in the file's order."""
        with self.graph.as_default():
            outputs = {
                key: tf.identity(self.tensor(at), "output") if at not in self.tensors
                else self.tensors[at]
                for key, at in self.part.outputs.items()
            }  # fmt: skip
        graph_def = inlined(self.graph.as_graph_def())
        inputs = {key: self.tensors[at].name for key, at in self.part.inputs.items()}
        ends = {key: tensor.name for key, tensor in outputs.items()}
        if loops.found(graph_def.node):
            library = self.graph.as_graph_def().library
            names = [*inputs.values(), *ends.values()]
            graph_def = loops.unrolled(graph_def, names, library, inlined)
        return Trace(graph_def, inputs, ends, dict(self.variables))


def _is_op(text):
    """Whether the last part of a name is an op's, not a layer's."""
    bare = re.sub(r"_\d+$", "", text)
    return any(
        op_def_registry.get(kind) is not None or kind in LOWER
        for kind in (bare, bare[:-1], bare[:-2])  # the converter adds a number: MatMul2
        if bare[len(kind) :].isdigit() or kind == bare
    )


def sanitised(text):
    """A name as TensorFlow allows it."""
    parts = [re.sub(r"[^A-Za-z0-9_.\\-]", "_", part) for part in text.split("/") if part]
    plain = "/".join(parts) or "tensor"
    return plain if re.match(r"[A-Za-z0-9.]", plain) else f"t{plain}"


CALL = re.compile(r"(Stateful)?PartitionedCall(_\d+)*(_u?int\d+)?$")

# Names of ops that are spelt otherwise than their types.
LOWER = {"convolution", "separable_conv2d", "depthwise", "add", "mul", "sub", "truediv", "conv"}
