"""Every kind of model file to a `Trace`: Keras files, SavedModels, frozen graphs, TF1 checkpoints."""

import importlib.util

import tensorflow as tf
from google.protobuf.message import DecodeError

from tf2caffe import checkpoint
from tf2caffe.stage import Failure, first_line
from tf2caffe.trace import Trace, function_trace, inlined, keras_trace, placeholder

FREE = ("NoOp", "Assert", "Const", "SaveV2", "RestoreV2", "MergeV2Checkpoints")


class Stored:
    """A value in a TF1 checkpoint, read when it is asked for."""

    def __init__(self, reader, name):
        self.reader, self.name = reader, name
        self.dtype = reader.get_variable_to_dtype_map()[name]
        self.shape = tf.TensorShape(reader.get_variable_to_shape_map()[name])

    def numpy(self):
        return self.reader.get_tensor(self.name)


def load(path, args):
    """The trace of the model at `path`; `args` are the options that steps 3 and 4 share."""
    if not path.exists():
        raise Failure(f"{path} does not exist")
    if args.custom:
        register(args.custom)
    for fits, loader in LOADERS.items():
        if path.suffix == fits or (path.is_dir() and fits == "/"):
            return loader(path, args)
    kinds = "a .keras, .h5, .pb or .meta file, or a SavedModel folder"
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


def load_keras(path, args):
    return keras_trace(checkpoint.keras_model(path), args.shape)


def load_saved_model(path, args):
    """The signature called --signature, `serving_default` or the only one, with fixed shapes."""
    if not (path / "saved_model.pb").exists():
        raise Failure(f"{path} is a folder without saved_model.pb, so not a SavedModel")
    try:
        loaded = tf.saved_model.load(str(path))
    except (OSError, ValueError, KeyError, tf.errors.OpError, DecodeError) as error:
        raise Failure(f"{path}: not a whole SavedModel ({first_line(error)})") from None
    signatures = list(loaded.signatures)
    key = args.signature or ("serving_default" if len(signatures) != 1 else signatures[0])
    if key not in signatures:
        known = ", ".join(signatures) or "none"
        raise Failure(f"{path} has no signature {key!r} (--signature); it has: {known}")
    signature = loaded.signatures[key]
    specs = {
        name: tf.TensorSpec(fixed(name, spec.shape, args.shape), spec.dtype, name=name)
        for name, spec in signature.structured_input_signature[1].items()
    }

    def call(*tensors):
        return signature(**dict(zip(specs, tensors, strict=True)))

    function = tf.function(call, autograph=False).get_concrete_function(*specs.values())
    function.loaded = loaded  # the variables live as long as what was loaded
    inputs = dict(zip(specs, function.inputs, strict=False))
    return function_trace(function, inputs, function.structured_outputs)


def fixed(name, shape, given):
    """The fixed shape of an input: batch 1, or what --shape says."""
    if given is not None:
        return list(given)
    if shape.rank is None or None in shape[1:]:
        raise Failure(f"input {name} has no fixed size {shape}; give one with --shape")
    return [1, *shape[1:]]


def load_frozen(path, args):
    graph_def = parsed(tf.compat.v1.GraphDef(), path)
    return graph_trace(graph_def, {}, args, path)


def parsed(message, path):
    try:
        message.ParseFromString(path.read_bytes())
    except DecodeError:
        raise Failure(f"{path} is damaged, or not what its name says") from None
    return message


def load_checkpoint(path, args):
    """A TF1 checkpoint: the graph in `.meta`, often of the training, the values beside it."""
    graph_def = parsed(tf.compat.v1.MetaGraphDef(), path).graph_def
    try:
        reader = tf.train.load_checkpoint(str(path.with_suffix("")))
        names = reader.get_variable_to_shape_map()
        values = {name: Stored(reader, name) for name in names}
    except (ValueError, KeyError, tf.errors.OpError) as error:
        raise Failure(f"{path}: its values cannot be read ({first_line(error)})") from None
    return graph_trace(graph_def, values, args, path)


def graph_trace(graph_def, values, args, path):
    """The trace of a graph whose variables have `values`, between its inputs and outputs."""
    with tf.Graph().as_default():
        try:
            tf.graph_util.import_graph_def(graph_def, name="")
        except ValueError as error:
            raise Failure(f"{path}: TensorFlow refuses its graph ({first_line(error)})") from None
        nodes = {node.name: node for node in inlined(graph_def).node}
    inputs = args.inputs or only(nodes, is_input, "input", path)
    outputs = args.outputs or only(nodes, output_test(nodes), "output", path)
    for name in [*inputs, *outputs]:
        if name.split(":")[0] not in nodes:
            raise Failure(f"{path} has no op called {name}")
    variables = {}
    for name in inputs:
        nodes[name] = as_input(nodes[name], args.shape, graph_def)
    use_moving_averages(nodes, values, variables)
    read_variables(nodes, values, variables)
    flat = tf.compat.v1.GraphDef(versions=graph_def.versions)
    flat.node.extend(needed(nodes, outputs))
    return Trace(
        flat,
        {name: f"{name}:0" for name in inputs},
        {name: name if ":" in name else f"{name}:0" for name in outputs},
        variables,
    )


def only(nodes, fits, kind, path):
    """The names of all nodes that fit; `Failure` unless it is clear which are meant."""
    found = [node.name for node in nodes.values() if fits(node)]
    if not found or (kind == "output" and len(found) > 1):
        named = ", ".join(found[:8]) or "none found"
        raise Failure(f"{path}: name its {kind}s with --{kind}s NAME[,NAME]; candidates: {named}")
    return found


def is_input(node):
    return node.op == "Placeholder" and node.attr["dtype"].type == tf.float32.as_datatype_enum


def output_test(nodes):
    """Whether no other node reads a node, and it computes something."""
    read = {source(name) for node in nodes.values() for name in node.input}
    return lambda node: node.name not in read and node.op not in FREE and node.input


def source(name):
    """The node that an input of a node names: `^a`, `a:1` and `a` are all `a`."""
    return name.lstrip("^").split(":")[0]


def as_input(node, shape, graph_def):
    """A placeholder in the node's place, with the fixed shape that it, or --shape, has."""
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")
        tensor = graph.get_tensor_by_name(f"{node.name}:0")
        size = fixed(node.name, tensor.shape, shape)
        return placeholder(node.name, tf.TensorSpec(size, tensor.dtype))


def use_moving_averages(nodes, values, variables):
    """BatchNorm in training mode takes its moving averages, found by what updates them."""
    readers = {}
    for node in nodes.values():
        for name in node.input:
            readers.setdefault(name if ":" in name else source(name), []).append(node)
    for node in list(nodes.values()):
        if node.op.startswith("FusedBatchNorm") and node.attr["is_training"].b:
            averages = [moving_average(nodes, readers, f"{node.name}:{at}") for at in (1, 2)]
            if None in averages or not set(averages) <= values.keys():
                continue  # the reader refuses it by name
            node.attr["is_training"].b = False
            del node.input[3:]
            for name in averages:
                own = f"{node.name}/{name.rpartition('/')[2]}"
                nodes[own] = placeholder(own, values[name])
                variables[own] = (f"{name}:0", values[name])
                node.input.append(own)


def moving_average(nodes, readers, statistic):
    """The variable that the first assignment after a batch's statistic updates."""
    waiting, seen = [statistic], set()
    while waiting:
        for node in readers.get(waiting.pop(0), []):
            if node.op.startswith("Assign"):
                return source(node.input[0])
            if node.name not in seen:
                seen.add(node.name)
                waiting.append(node.name)
    return None


def read_variables(nodes, values, variables):
    """Variables become placeholders whose values are in the checkpoint."""
    handles = {
        node.name: node.attr["shared_name"].s.decode() or node.name
        for node in nodes.values()
        if node.op == "VarHandleOp"
    }
    for name, node in list(nodes.items()):
        if node.op in ("VariableV2", "Variable"):
            stored = name
        elif node.op == "ReadVariableOp" and source(node.input[0]) in handles:
            stored = handles[source(node.input[0])]
        else:
            continue
        if stored in values:
            nodes[name] = placeholder(name, values[stored])
            variables[name] = (f"{stored}:0", values[stored])


def needed(nodes, outputs):
    """The nodes that the outputs depend on; losses and queues are not among them."""
    found, waiting = {}, [source(name) for name in outputs]
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in found:
            found[name] = nodes[name]
            waiting += [source(read) for read in nodes[name].input if not read.startswith("^")]
    return found.values()


LOADERS = {
    ".keras": load_keras,
    ".h5": load_keras,
    ".hdf5": load_keras,
    ".pb": load_frozen,
    ".meta": load_checkpoint,
    "/": load_saved_model,
}
