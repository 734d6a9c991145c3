"""Any TensorFlow model as one thing: a `GraphDef` without weights, and a table of their values.

The model is traced with a fixed batch; each variable it reads becomes a placeholder whose value is
fetched only when it is asked for. (Freezing the weights into the graph costs minutes and gigabytes
on a large network.) Only this module and `reader` know TensorFlow; steps 5 and 6 import neither.
"""

from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from tf2caffe.stage import Failure


@dataclass
class Trace:
    """A traced model.

    `inputs` and `outputs` map the model's own names to tensors' names (`x:0`), `variables` a
    placeholder's name to (the variable's name, the variable or its value). `layers` are the names
    of the Keras layers, where there are any.
    """

    graph_def: tf.compat.v1.GraphDef
    inputs: dict
    outputs: dict
    variables: dict
    layers: frozenset = frozenset()
    graph: tf.Graph = field(init=False, repr=False)

    def __post_init__(self):
        self.graph = tf.Graph()
        with self.graph.as_default():
            tf.graph_util.import_graph_def(self.graph_def, name="")

    def values(self, tensors):
        """The values of tensors (names) that do not depend on the input, as arrays."""
        return self.function(tensors)({})

    def function(self, tensors):
        """A function from the inputs, {name: array}, to the values of the tensors, as arrays."""
        wanted = [self.graph.get_tensor_by_name(name) for name in tensors]
        read = [op.outputs[0] for op in ancestors(wanted) if op.type == "Placeholder"]

        def imported(*arguments):
            return tf.graph_util.import_graph_def(
                self.graph_def,
                input_map=dict(zip((tensor.name for tensor in read), arguments, strict=True)),
                return_elements=list(tensors),
                name="",
            )

        signature = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in read]
        function = tf.compat.v1.wrap_function(imported, signature)
        variables = {f"{name}:0": value for name, (_, value) in self.variables.items()}

        def call(inputs):
            fed = variables | {self.inputs[name]: array for name, array in inputs.items()}
            arguments = [_tensor(fed[tensor.name]) for tensor in read]
            return [value.numpy() for value in function(*arguments)]

        return call


def _tensor(value):
    """A variable as it is; what is only stored in a file is read now."""
    readable = isinstance(value, (tf.Variable, tf.Tensor, np.ndarray))
    return tf.convert_to_tensor(value if readable else value.numpy())


def ancestors(tensors):
    """Every op that the tensors depend on."""
    found, waiting = {}, [tensor.op for tensor in tensors]
    while waiting:
        op = waiting.pop()
        if op.name not in found:
            found[op.name] = op
            waiting += [tensor.op for tensor in op.inputs]
    return list(found.values())


def keras_trace(model, shape=None):
    """Trace a Keras model with batch 1; `shape` (batch first) stands in for an unknown size."""
    specs = _specs(model, shape)
    structure = model.input if getattr(model, "inputs", None) else specs[0]

    def call(*inputs):
        return model(tf.nest.pack_sequence_as(structure, inputs), training=False)

    function = tf.function(call, autograph=False).get_concrete_function(*specs)
    inputs = dict(zip((spec.name for spec in specs), function.inputs, strict=False))
    layers = {layer.name for layer in model._flatten_layers(include_self=False)}
    outputs = _named(function.structured_outputs, getattr(model, "output_names", None))
    return function_trace(function, inputs, outputs, frozenset(layers))


def _specs(model, shape):
    """A fixed shape for each input. Raises `Failure` where a size is unknown."""
    if not getattr(model, "inputs", None):  # a subclassed model does not tell
        if shape is None:
            raise Failure(f"model {model.name} does not tell its input's size; give --shape")
        return [tf.TensorSpec(shape, tf.float32, "input")]
    specs = []
    for tensor in model.inputs:
        size = [1, *tensor.shape[1:]] if shape is None else list(shape)
        name = tensor._keras_history.operation.name
        if None in size:
            raise Failure(
                f"input {name} has no fixed size {tuple(tensor.shape)}; give one with --shape"
            )
        specs.append(tf.TensorSpec(size, tensor.dtype, name))
    return specs


def _named(structure, names):
    """The outputs by name: a dictionary's keys, else the model's own names for them."""
    if isinstance(structure, dict):
        return {name: structure[name] for name in sorted(structure)}
    tensors = tf.nest.flatten(structure)
    if not names or len(names) != len(tensors) or len(set(names)) != len(names):
        names = [f"output_{at}" for at in range(len(tensors))]
    return dict(zip(names, tensors, strict=True))


def function_trace(function, inputs, outputs, layers=frozenset()):
    """The trace of a concrete function whose inputs and outputs are named."""
    with function.graph.as_default():
        graph_def = inlined(function.graph.as_graph_def())
    handles = {id(variable.handle): variable for variable in function.graph.variables}
    variables = {}
    for outside, inside in function.graph.captures:
        variable = handles.get(id(outside))
        name = variable.name if variable is not None else inside.op.name
        variables[inside.op.name] = (name, outside if variable is None else variable)
    graph_def, variables = _reads_as_placeholders(graph_def, variables)
    return Trace(
        graph_def,
        {name: tensor.name for name, tensor in inputs.items()},
        {name: tensor.name for name, tensor in outputs.items()},
        variables,
        layers,
    )


def inlined(graph_def):
    """The graph with every call of a function replaced by its body.

    TensorFlow's own inliner leaves alone what is marked to be compiled, as Keras marks grouped and
    depthwise convolutions.
    """
    library = {function.signature.name: function for function in graph_def.library.function}
    nodes, renamed = list(graph_def.node), {}
    while any(node.op in CALLS for node in nodes):
        expanded = []
        for node in nodes:
            if node.op in CALLS:
                expanded += _body(node, library, renamed)
            else:
                expanded.append(node)
        nodes = expanded
    flat = tf.compat.v1.GraphDef(versions=graph_def.versions)
    for node in nodes:
        copy = flat.node.add()
        copy.CopyFrom(node)
        inputs = [_followed(name, renamed) for name in node.input if not name.startswith("^")]
        del copy.input[:]
        copy.input.extend(inputs)
    return flat


def _body(call, library, renamed):
    """The nodes of a called function, under the call's name; what the call gives is `renamed`."""
    body = function_def_to_graph(library[call.attr["f"].func.name], include_library_functions=True)
    arguments = dict(zip((tensor.op.name for tensor in body.inputs), call.input, strict=False))
    for at, tensor in enumerate(body.outputs):
        name = arguments.get(tensor.op.name, f"{call.name}/{tensor.name}")
        renamed[f"{call.name}:{at}" if at else call.name] = name.removesuffix(":0")
    nodes = []
    for node in body.as_graph_def().node:
        if node.name not in arguments:
            copy = tf.compat.v1.NodeDef()
            copy.CopyFrom(node)
            copy.name = f"{call.name}/{node.name}"
            del copy.input[:]
            copy.input.extend(
                arguments.get(name) or f"{call.name}/{name}"
                for name in node.input
                if not name.startswith("^")
            )
            nodes.append(copy)
    return nodes


def _followed(name, renamed):
    while name in renamed:
        name = renamed[name]
    return name


def _reads_as_placeholders(graph_def, captured):
    """Replace each read of a variable by a placeholder of its shape."""
    rewritten, variables = tf.compat.v1.GraphDef(versions=graph_def.versions), {}
    for node in graph_def.node:
        source = node.input[0] if node.op == "ReadVariableOp" else node.name
        if source in captured:
            value = captured[source][1]
            resource = value.dtype == tf.resource or isinstance(value, tf.Variable)
            if node.op == "ReadVariableOp" or not resource:
                node = placeholder(node.name, value)
                variables[node.name] = captured[source]
        rewritten.node.append(node)
    return rewritten, variables


def placeholder(name, value):
    """A placeholder node for a value that has a dtype and a shape."""
    node = tf.compat.v1.NodeDef(name=name, op="Placeholder")
    node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["shape"].shape.CopyFrom(value.shape.as_proto())
    return node


CALLS = ("StatefulPartitionedCall", "PartitionedCall")
