"""Every kind of model file to a `Trace`: Keras, SavedModels, frozen graphs, checkpoints, TFLite."""

import difflib
import importlib.util
import re
from typing import NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tf2caffe.failure import Failure, first_line
from tf2caffe.frontend import keras_file, loops, original, training_graph
from tf2caffe.frontend.inline import TRAINING
from tf2caffe.frontend.tflite.load import load_tflite
from tf2caffe.frontend.trace import (
    REACHES,
    Trace,
    ancestors,
    fixed,
    function_trace,
    imported,
    inlined,
    keras_trace,
    placeholder,
)  # fmt: skip


class Wanted(NamedTuple):
    """What is wanted of a file: the input's size, a signature, the names of inputs and outputs.

    `dequantise` takes a quantised `.tflite` as floats.
    """

    shape: list | None = None
    signature: str | None = None
    inputs: list | None = None
    outputs: list | None = None
    dequantise: bool = False


class Stored:
    """A value in a TF1 checkpoint, read when it is asked for."""

    def __init__(self, reader, name, shape=None):
        self.reader, self.name = reader, name
        self.dtype = reader.get_variable_to_dtype_map()[name]
        self.shape = tf.TensorShape(shape or reader.get_variable_to_shape_map()[name])

    def reshaped(self, shape):
        return Stored(self.reader, self.name, shape)

    def numpy(self):
        try:
            return self.reader.get_tensor(self.name).reshape(self.shape)
        except (IndexError, RuntimeError, ValueError, tf.errors.OpError) as error:
            raise Failure(f"variable {self.name} cannot be read ({first_line(error)})") from None


def load(path, custom=None, **wanted):
    """The trace of the model at `path`; `wanted` are the fields of `Wanted`.

    The file `custom` is run first. Raises `Failure` where the model cannot be loaded.
    """
    if not path.exists():
        raise Failure(f"{path} does not exist")
    if custom:
        register(custom)
    for fits, loader in LOADERS.items():
        if path.suffix == fits or (path.is_dir() and fits == "/"):
            return loader(path, Wanted(**wanted))
    kinds = "a .keras, .h5, .pb, .meta or .tflite file, or a SavedModel folder"
    raise Failure(f"{path} is not {kinds}")


def register(file):
    """Run the user's file, which registers the custom layers of the model."""
    if not file.exists():
        raise Failure(f"--custom {file} does not exist")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    try:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except Exception as error:  # whatever the user's own code raises
        raise Failure(f"--custom {file}: {type(error).__name__}: {first_line(error)}") from None


def load_keras(path, wanted):
    return keras_trace(keras_file.keras_model(path), wanted.shape)


def load_saved_model(path, wanted):
    """The signature called --signature, `serving_default` or the only one, with fixed shapes."""
    loaded = loaded_folder(path)
    signature = chosen(loaded.signatures, wanted.signature, path)
    # sorted, since their order in the file is another one each time
    given = dict(sorted(signature.structured_input_signature[1].items()))
    switches = {name: tf.constant(False) for name, spec in given.items() if is_switch(name, spec)}
    given = {name: spec for name, spec in given.items() if name not in switches}
    sizes = fixed({name: spec.shape for name, spec in given.items()}, wanted.shape)
    specs = {name: tf.TensorSpec(sizes[name], spec.dtype, name) for name, spec in given.items()}

    def call(*tensors):
        return signature(**dict(zip(specs, tensors, strict=True)), **switches)

    traced = signature_trace(call, specs, loaded, path)
    traced.original = original.of_function(call, specs)
    return traced


def loaded_folder(path):
    """What TensorFlow makes of a SavedModel's folder."""
    if not (path / "saved_model.pb").exists():
        raise Failure(f"{path} is a folder without saved_model.pb, so not a SavedModel")
    refuse_harm(path)
    try:
        return tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises whatever the files make it stumble over
        raise Failure(f"{path}: not a whole SavedModel ({first_line(error)})") from None


def signature_trace(call, specs, loaded, path):
    """The trace of a call of a signature of what was loaded, with inputs of these specs."""
    try:
        function = tf.function(call, autograph=False).get_concrete_function(*specs.values())
    except (ValueError, TypeError, tf.errors.OpError) as error:
        sizes = {name: spec.shape.as_list() for name, spec in specs.items()}
        raise Failure(f"{path} cannot be traced at {sizes}: {first_line(error)}") from None
    function.loaded = loaded  # the variables live as long as what was loaded
    inputs = dict(zip(specs, function.inputs, strict=False))
    outputs = function.structured_outputs
    ordered = {name: outputs[name] for name in sorted(outputs, key=counted)}
    return with_old_variables(function_trace(function, inputs, ordered), path)


def counted(name):
    """By what a signature's outputs are sorted: output_2 before output_10.

    Their order is in no SavedModel. (Keras calls those of a list output_0, output_1, ...)
    """
    parts = re.split(r"(\d+)", name)
    return [int(part) if at % 2 else part for at, part in enumerate(parts)]


def refuse_harm(path):
    """Loading a SavedModel runs what initialises it."""
    if (path / "saved_model.cpb").exists():
        raise Failure(f"{path} is a SavedModel in pieces (.cpb); save it as one")
    saved = parsed(saved_model_pb2.SavedModel(), path / "saved_model.pb")
    graphs = [meta.graph_def for meta in saved.meta_graphs]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for graph in graphs for call in graph.library.function for node in call.node_def]
    for node in nodes:
        if REACHES.search(node.op):
            raise Failure(f"{path}: {node.name} ({node.op}) reaches out of it; it is not loaded")


def with_old_variables(traced, path):
    """TF1's ref variables, which the loader leaves in the graph, with the values in the folder."""
    old = [node for node in traced.graph_def.node if node.op in ("VariableV2", "Variable")]
    if not old:
        return traced
    stored, variables = stored_in(path / "variables" / "variables", path), dict(traced.variables)
    for node in old:  # under the names of the calls that they are in
        keys = [key for key in stored if f"/{node.name}".endswith(f"/{key}")]
        if keys:
            key = max(keys, key=len)
            node.CopyFrom(placeholder(node.name, stored[key]))
            variables[node.name] = (f"{key}:0", stored[key])
    return Trace(traced.graph_def, traced.inputs, traced.outputs, variables)


def chosen(signatures, name, path):
    """The signature of that name, else `serving_default`, else the only one."""
    names = list(signatures)
    key = name or (names[0] if len(names) == 1 else "serving_default")
    if key in signatures:
        return signatures[key]
    if not names:
        raise Failure(f"{path} has no signature; save it with tf.saved_model.save(signatures=...)")
    raise Failure(f"{path} has no signature {key}; choose one with --signature: {', '.join(names)}")


def is_switch(name, spec):
    """Whether an input only tells training from use."""
    return spec.dtype == tf.bool and spec.shape.rank == 0 and TRAINING.search(name)


def load_frozen(path, wanted):
    if path.name == "saved_model.pb":
        raise Failure(f"{path} is part of a SavedModel; give its folder: {path.parent}")
    return graph_trace(parsed(tf.compat.v1.GraphDef(), path), {}, wanted, path)


def parsed(message, path):
    try:
        message.ParseFromString(path.read_bytes())
    except DecodeError:
        raise Failure(f"{path} is damaged, or not what its name says") from None
    return message


def load_checkpoint(path, wanted):
    """A TF1 checkpoint: the graph in `.meta`, often of the training, the values beside it."""
    graph_def = parsed(tf.compat.v1.MetaGraphDef(), path).graph_def
    return graph_trace(graph_def, stored_in(path.with_suffix(""), path), wanted, path)


def stored_in(prefix, path):
    """The values of a TF1 checkpoint, {variable's name: Stored}."""
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        return {name: Stored(reader, name) for name in reader.get_variable_to_shape_map()}
    except (LookupError, RuntimeError, ValueError, tf.errors.OpError) as error:
        raise Failure(f"{path}: its values cannot be read ({first_line(error)})") from None


def graph_trace(graph_def, stored, wanted, path):
    """The trace of a graph whose variables are `stored`, between its inputs and outputs."""
    variables = training_graph.take_weights(graph_def)
    graph = checked(graph_def, path)
    values = dict(variables)
    outputs = {
        name.removesuffix(":0"): tensor_of(graph, name, path)
        for name in wanted.outputs or [only_result(graph, path)]
    }
    ends = marked(graph_def, outputs)
    nodes, replaced = training_graph.used(graph_def, stored, variables, graph, wanted.inputs or ())
    inputs = wanted.inputs or sources(training_graph.needed(nodes, ends.values()), variables, path)
    tensors = {name: tensor_of(graph, name, path) for name in inputs}
    sizes = fixed({name: tensor.shape for name, tensor in tensors.items()}, wanted.shape)
    specs = {
        tensor.name: tf.TensorSpec(sizes[name], tensor.dtype) for name, tensor in tensors.items()
    }
    fed = training_graph.cut(nodes, specs)
    try:
        traced = flat_trace(nodes, fed, ends, variables, graph_def)
    except ValueError as error:
        raise Failure(f"{path} cannot take {sizes}: {first_line(error)}") from None
    traced.named = frozenset(node.name for node in graph_def.node)
    traced.reason = replaced.reason(ends.values(), map(training_graph.source, specs))
    if not traced.reason:
        session = original.Session(graph, named(fed, specs), outputs, values, stored, off(graph))
        traced.original = original.Original(session, named(fed, specs.values()))
    return traced


def flat_trace(nodes, fed, ends, variables, graph_def):
    """The trace of what the outputs depend on; inputs that are not read are left out."""
    read = {node.name: node for node in training_graph.needed(nodes, ends.values())}
    flat = tf.compat.v1.GraphDef(node=read.values(), versions=graph_def.versions)
    inputs = {name: tensor for name, tensor in fed.items() if name in read}
    unused = [name for name in fed if name not in read]
    outputs = {name: f"{end}:0" for name, end in ends.items()}
    if loops.found(flat.node):
        tensors = [*inputs.values(), *outputs.values()]
        flat = loops.unrolled(flat, tensors, graph_def.library, inlined)
    return Trace(flat, inputs, outputs, variables, unused=unused)


def named(names, values):
    return dict(zip(names, values, strict=True))


def off(graph):
    """The names of what feeds a graph with whether it is trained, see `inline.decided`."""
    return [
        op.name
        for op in graph.get_operations()
        if op.type in ("Placeholder", "PlaceholderWithDefault")
        and is_switch(op.name, op.outputs[0])
    ]


def checked(graph_def, path):
    """The `tf.Graph` of a graph that came from a file."""
    try:
        return imported(graph_def)
    except (ValueError, KeyError, TypeError, tf.errors.OpError) as error:
        raise Failure(f"{path}: TensorFlow refuses its graph ({first_line(error)})") from None


def tensor_of(graph, name, path):
    """The tensor that a user calls `x` or `x:0`."""
    try:
        return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError):
        known = [op.name for op in graph.get_operations()]
        near = ", ".join(difflib.get_close_matches(name, known)) or "none"
        raise Failure(f"{path} has no tensor called {name}; names like it: {near}") from None


def only_result(graph, path):
    """The op that computes floats from what is fed, and that no other reads."""
    found = [
        op.name
        for op in graph.get_operations()
        if op.outputs and op.outputs[0].dtype == tf.float32 and not op.outputs[0].consumers()
        if any(part.type in FED for part in ancestors(op.outputs[:1]))
    ]
    if len(found) != 1:
        named = ", ".join(found[-8:]) or "none found"
        raise Failure(f"{path}: name its outputs with --outputs NAME[,NAME]; candidates: {named}")
    return found[0]


def marked(graph_def, outputs):
    """Add an Identity behind each output, which stays where the output falls away: its name."""
    ends = {}
    for name, tensor in outputs.items():
        node = graph_def.node.add(name=f"output/of/{name.replace(':', '_')}", op="Identity")
        node.input.append(tensor.name)
        node.attr["T"].type = tensor.dtype.base_dtype.as_datatype_enum
        ends[name] = node.name
    return ends


def sources(nodes, variables, path):
    """The placeholders among the nodes that an output depends on, but for single numbers."""
    found = [node for node in nodes if node.op in FED and node.name not in variables]
    data = [node for node in found if not is_number(node)]
    if not data or any(node.op != "Placeholder" for node in data):
        named = ", ".join(node.name for node in found) or "none found"
        raise Failure(f"{path}: name its inputs with --inputs NAME[,NAME]; candidates: {named}")
    return [node.name for node in data]


def is_number(node):
    shape = node.attr["shape"].shape
    truth = node.attr["dtype"].type == tf.bool.as_datatype_enum
    return node.op == "Placeholder" and (truth or not shape.dim and not shape.unknown_rank)


# What a graph is fed by.
FED = ("Placeholder", "IteratorGetNext", "QueueDequeueV2", "QueueDequeueManyV2",
       "QueueDequeueUpToV2")  # fmt: skip

LOADERS = {
    ".keras": load_keras,
    ".h5": load_keras,
    ".hdf5": load_keras,
    ".pb": load_frozen,
    ".meta": load_checkpoint,
    ".tflite": load_tflite,
    "/": load_saved_model,
}
