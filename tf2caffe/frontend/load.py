"""Every kind of model file to a `Trace`: Keras, SavedModels, frozen graphs, checkpoints, TFLite."""

import atexit
import difflib
import importlib.util
import re
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf
from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from tf2caffe import files
from tf2caffe.failure import Failure, first_line
from tf2caffe.frontend import keras_file, loops, original, part, tf_import, training_graph
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

    `weights` is the file that holds those of a .json, `switches` are values of placeholders.
    `dequantise` takes a quantised `.tflite` as floats.
    """

    shape: list | None = None
    signature: str | None = None
    inputs: list | None = None
    outputs: list | None = None
    weights: Path | None = None
    switches: dict | None = None
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
    if path.suffix in ARCHIVES:
        return load(unpacked(path), **wanted)
    if path.name == ".meta" or re.search(r"\.data-\d+-of-\d+$", path.name):
        loader = load_checkpoint if path.name == ".meta" else load_values
        return loader(path, Wanted(**wanted))
    for fits, loader in LOADERS.items():
        if path.suffix == fits or (path.is_dir() and fits == "/"):
            wanted = Wanted(**wanted)
            traced = loader(path, wanted)
            return (
                traced if loader in GRAPHS else part.between(traced, wanted.inputs, wanted.outputs)
            )
    kinds = "a .keras, .h5, .json, .pb, .pbtxt, .meta or .tflite file, or a SavedModel folder"
    raise Failure(f"{path} is not {kinds}")


def unpacked(path):
    """The model in a .zip or .tar.gz, unpacked into a folder that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tf2caffe-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    damage = files.damage(path) if path.suffix == ".zip" else None
    if damage:
        raise Failure(f"{path}: {damage}")
    try:
        if path.suffix == ".zip":
            shutil.unpack_archive(path, folder, "zip")
        else:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
    except (OSError, EOFError, tarfile.TarError, shutil.ReadError, zlib.error) as error:
        raise Failure(f"{path}: a damaged archive ({first_line(error)})") from None
    found = [file.parent for file in folder.rglob("saved_model.pb*")]
    found = found or [file for file in folder.rglob("*") if file.suffix in LOADERS]
    if len(found) != 1:
        names = ", ".join(sorted(str(file.relative_to(folder)) for file in found)[:8]) or "none"
        raise Failure(f"{path} must hold one model; it holds {names}: unpack it and give one")
    return found[0]


def register(file):
    """Run the user's file, which registers the custom layers of the model."""
    if not file.exists():
        raise Failure(f"--custom {file} does not exist")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        keras_file.register(vars(module), file.stem)
    except Exception as error:  # whatever the user's own code raises
        raise Failure(f"--custom {file}: {type(error).__name__}: {first_line(error)}") from None


def load_keras(path, wanted):
    version, config = keras_file.written(path)
    if not version.startswith(keras_file.OLD):
        return keras_trace(keras_file.keras_model(path), wanted.shape)
    from tf2caffe.frontend import keras2_file

    with keras_file.checked(path):
        return keras2_file.old_trace(path, config, version, wanted.shape)


def load_json(path, wanted):
    """A model without weights, as `to_json` leaves it, and the file beside it that has them."""
    text = path.read_text(encoding="utf-8", errors="replace")
    version = keras_file.architecture(path, text)
    weights = wanted.weights or keras_file.weights_beside(path)
    if not Path(weights).exists():
        raise Failure(f"--weights {weights} does not exist")
    if not version.startswith(keras_file.OLD):
        return keras_trace(keras_file.json_model(path, text, weights), wanted.shape)
    from tf2caffe.frontend import keras2_file

    return keras2_file.old_trace(path, text, version, wanted.shape, weights)


def load_saved_model(path, wanted):
    """The signature called --signature, `serving_default` or the only one, with fixed shapes."""
    path = folder_of(path)
    tags = refuse_harm(path)
    loaded = loaded_folder(path, tags)
    if loaded is None:
        return by_old_loader(path, tags, wanted)
    signature = chosen(loaded.signatures, wanted.signature, path)
    # sorted, since their order in the file is another one each time
    given = dict(sorted(signature.structured_input_signature[1].items()))
    switches = {name: tf.constant(False) for name, spec in given.items() if is_switch(name, spec)}
    switches |= switched(given, wanted.switches or {}, path)
    given = {name: spec for name, spec in given.items() if name not in switches}
    sizes = fixed({name: spec.shape for name, spec in given.items()}, wanted.shape)
    specs = {name: tf.TensorSpec(sizes[name], spec.dtype, name) for name, spec in given.items()}

    def call(*tensors):
        return signature(**dict(zip(specs, tensors, strict=True)), **switches)

    traced = signature_trace(call, specs, loaded, path)
    traced.original = original.of_function(call, specs)
    return traced


def switched(specs, values, path):
    """The inputs of a signature that --set gives a value."""
    for name in values:
        if name not in specs:
            raise Failure(f"{path} has no input {name}; --set takes one of {', '.join(specs)}")
    return {name: tf.fill([n or 1 for n in specs[name].shape], tf.cast(value, specs[name].dtype))
            for name, value in values.items()}  # fmt: skip


def folder_of(path):
    """The SavedModel's folder: this one, or the only one below it that is such."""
    if any((path / f"saved_model.{end}").exists() for end in ("pb", "pbtxt", "cpb")):
        return path
    below = sorted(file.parent for file in path.glob("*/saved_model.pb*"))
    if len(below) == 1:
        return below[0]
    if below:
        names = ", ".join(str(one) for one in below)
        raise Failure(f"{path} holds several SavedModels; give one of {names}")
    inside = [one for end in ("*.keras", "*.h5", "*.meta", "*.pb") for one in path.glob(end)]
    hint = f"; it holds {', '.join(str(one) for one in sorted(inside)[:4])}" if inside else ""
    raise Failure(f"{path} is a folder without saved_model.pb, so not a SavedModel{hint}")


def by_old_loader(path, tags, wanted):
    """The signature's part of the graph, as TensorFlow 1's loader gives it."""
    from tf2caffe.frontend import old_saved_model

    graph_def, stored, signatures = old_saved_model.opened(path, tags)
    signature = chosen(signatures, wanted.signature, path)
    inputs = [info.name for _, info in sorted(signature.inputs.items())]
    named = sorted(signature.outputs.items(), key=lambda item: counted(item[0]))
    outputs = {name: info.name for name, info in named}
    wanted = wanted._replace(inputs=inputs, outputs=outputs)
    return graph_trace(graph_def, stored, wanted, path)


def loaded_folder(path, tags):
    """What TensorFlow makes of a SavedModel's folder; None where only TensorFlow 1's loader can."""
    try:
        with tf_import.log():
            return tf.saved_model.load(str(path), tags)
    except AttributeError as error:
        if "add_slot" in str(error):
            return None
        raise Failure(f"{path}: not a whole SavedModel ({first_line(error)})") from None
    except Exception as error:  # TensorFlow raises whatever the files make it stumble over
        raise Failure(f"{path}: not a whole SavedModel ({first_line(error)})") from None


def signature_trace(call, specs, loaded, path):
    """The trace of a call of a signature of what was loaded, with inputs of these specs."""
    try:
        with tf_import.log():  # it warns of each variable of TensorFlow 1
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
    """The tags of the graph that is taken; loading a SavedModel runs what initialises it."""
    if (path / "saved_model.cpb").exists():
        raise Failure(f"{path} is a SavedModel in pieces (.cpb); save it as one")
    file, saved = path / "saved_model.pb", saved_model_pb2.SavedModel()
    saved = parsed(saved, file) if file.exists() else parsed_text(saved, path / "saved_model.pbtxt")
    graphs = [meta.graph_def for meta in saved.meta_graphs]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for graph in graphs for call in graph.library.function for node in call.node_def]
    for node in nodes:
        if REACHES.search(node.op):
            raise Failure(f"{path}: {node.name} ({node.op}) reaches out of it; it is not loaded")
    tags = [list(meta.meta_info_def.tags) for meta in saved.meta_graphs]
    return min(tags, key=lambda tags: ("serve" not in tags, "train" in tags)) if tags else None


def parsed_text(message, path):
    """A message of protobuf's from its text form."""
    try:
        return text_format.Parse(path.read_text(encoding="utf-8", errors="replace"), message)
    except text_format.ParseError as error:
        raise Failure(
            f"{path} is damaged, or not what its name says ({first_line(error)})"
        ) from None


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
    listed = ", ".join(f"{one} ({', '.join(_inputs(signatures[one]))})" for one in names)
    near = difflib.get_close_matches(key, names, 1) if name else []
    hint = f"; did you mean {near[0]}?" if near else ""
    raise Failure(f"{path} has no signature {key}; choose one with --signature: {listed}{hint}")


def _inputs(signature):
    """The inputs of a signature, as TensorFlow 2 or 1 has it, each with its shape."""
    if hasattr(signature, "structured_input_signature"):
        specs = signature.structured_input_signature[1]
        return [f"{name} {spec.shape}" for name, spec in sorted(specs.items())]
    shapes = {name: info.tensor_shape for name, info in signature.inputs.items()}
    return [f"{name} {tf.TensorShape(shape)}" for name, shape in sorted(shapes.items())]


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
    return graph_trace(graph_def, stored_in(str(path).removesuffix(".meta"), path), wanted, path)


def load_values(path, wanted):
    """A TF1 or TF2 checkpoint that is named by one of its other files."""
    graph = path.with_name(re.sub(r"\.(index|data-\d+-of-\d+)$", "", path.name) + ".meta")
    if graph.exists():
        return load_checkpoint(graph, wanted)
    raise Failure(
        f"{path} holds a checkpoint's weights alone, no graph is beside it ({graph.name}); "
        "build the model, restore them, and save it whole (model.save, or a SavedModel)"
    )


def load_text(path, wanted):
    """A graph in protobuf's text form."""
    if path.name == "saved_model.pbtxt":
        raise Failure(f"{path} is part of a SavedModel; give its folder: {path.parent}")
    return graph_trace(parsed_text(tf.compat.v1.GraphDef(), path), {}, wanted, path)


def stored_in(prefix, path):
    """The values of a TF1 checkpoint, {variable's name: Stored}."""
    try:
        # a prefix that ends with / is that of files without a name: .meta, .index
        reader = tf.compat.v1.train.NewCheckpointReader(str(prefix))
        return {name: Stored(reader, name) for name in reader.get_variable_to_shape_map()}
    except (LookupError, RuntimeError, ValueError, tf.errors.OpError) as error:
        raise Failure(f"{path}: its values cannot be read ({first_line(error)})") from None


def graph_trace(graph_def, stored, wanted, path):
    """The trace of a graph whose variables are `stored`, between its inputs and outputs."""
    guessed = training_graph.settle_switches(graph_def, wanted.switches or {}, path)
    variables = training_graph.take_weights(graph_def)
    graph, graph_def = checked(graph_def, path)
    values = dict(variables)
    names = wanted.outputs or [only_result(graph, path)]
    if not isinstance(names, dict):
        names = {part.plain(name): name for name in names}
    wanted_names = *(wanted.inputs or ()), *names.values()
    if any(known_tensor(graph, name) is None for name in wanted_names):
        return part_between(graph_def, stored, wanted, path, variables)
    outputs = {name: tensor_of(graph, tensor, path) for name, tensor in names.items()}
    ends = marked(graph_def, outputs)
    with graph.as_default():  # where the functions are that others call
        nodes, replaced = training_graph.used(
            graph_def, stored, variables, graph, wanted.inputs or ()
        )
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
    traced.note = guessed
    traced.named = frozenset(node.name for node in graph_def.node)
    traced.reason = replaced.reason(ends.values(), map(training_graph.source, specs))
    if not traced.reason:
        session = original.Session(graph, named(fed, specs), outputs, values, stored, off(graph))
        traced.original = original.Original(session, named(fed, specs.values()))
    return traced


def known_tensor(graph, name):
    """The tensor that a user calls `x` or `x:0`; None where a graph has none."""
    try:
        return graph.get_tensor_by_name(name if ":" in name else f"{name}:0")
    except (KeyError, ValueError):
        return None


def part_between(graph_def, stored, wanted, path, variables):
    """The part of a graph between names that are not TensorFlow's: those that step 3 prints."""
    for node in graph_def.node:  # again as they were
        if node.name in variables:
            value = variables[node.name][1]
            node.CopyFrom(tf.compat.v1.NodeDef(name=node.name, op="Const"))
            node.attr["dtype"].type = value.dtype.as_datatype_enum
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    try:
        whole = graph_trace(graph_def, stored, wanted._replace(inputs=None, outputs=None), path)
    except Failure as reason:
        graph, _ = checked(graph_def, path)
        for name in (*(wanted.inputs or ()), *(wanted.outputs or ())):
            tensor_of(graph, name, path)
        raise reason from None
    return part.between(whole, wanted.inputs, wanted.outputs and list(wanted.outputs))


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
    """The `tf.Graph` of a graph that came from a file, and its `GraphDef`.

    What is beside the network may be broken: shapes of another time, gradients without their ops.
    """
    reason = None
    for repaired in (None, training_graph.without_notes, training_graph.without_broken):
        graph_def = repaired(graph_def) if repaired else graph_def
        try:
            return imported(graph_def), graph_def
        except (ValueError, KeyError, TypeError, tf.errors.OpError) as error:
            reason = reason or first_line(error)
    raise Failure(f"{path}: TensorFlow refuses its graph ({reason})")


def tensor_of(graph, name, path):
    """The tensor that a user calls `x` or `x:0`. Raises `Failure` where a graph has none."""
    found = known_tensor(graph, name)
    if found is None:
        known = [op.name for op in graph.get_operations()]
        near = ", ".join(difflib.get_close_matches(name, known)) or "none"
        raise Failure(f"{path} has no tensor called {name}; names like it: {near}")
    return found


def only_result(graph, path):
    """The op that computes floats from what is fed, and that no other reads."""
    found = results(graph)
    if len(found) != 1:
        known = ", ".join(found[-8:]) or "none found"
        raise Failure(f"{path}: name its outputs with --outputs NAME[,NAME]; candidates: {known}")
    return found[0]


def results(graph):
    """The ops that may be the network's outputs, by name.

    Where the graph is one of training, that is what its loss reads, and what no op reads. A
    condition's end or a moment that no op reads is a BatchNorm's, beside another result.
    """
    ops = [op for op in graph.get_operations() if op.outputs and not BESIDE.search(op.name)]
    found = []
    for op in ops:
        dtype = op.outputs[0].dtype
        readers = [reader for reader in op.outputs[0].consumers() if not BESIDE.search(reader.name)]
        passing = op.type.endswith("Grad") or op.type.startswith("Ass") or op.type in UNREAD
        last = dtype.is_floating and all(reader.type in LOSSES for reader in readers)
        if last and not passing and _is_fed(op):
            found.append(op)
    ends = [
        op for op in found if op.type not in ("Merge", "RefMerge") and "moments/" not in op.name
    ]
    return [op.name for op in ends or found]


def _is_fed(op):
    return any(one.type in FED for one in ancestors(op.outputs[:1]))


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
    strings = tf.string.as_datatype_enum
    if any(node.attr["dtype"].type == strings for node in found):
        raise Failure(f"{path}: it decodes files; name the image behind that with --inputs NAME; "
                      f"candidates: {', '.join(decoded(nodes)) or 'none found'}")  # fmt: skip
    data = [node for node in found if not is_number(node)]
    if not data or any(node.op != "Placeholder" for node in data):
        named = ", ".join(node.name for node in found) or "none found"
        raise Failure(f"{path}: name its inputs with --inputs NAME[,NAME]; candidates: {named}")
    return [node.name for node in data]


def decoded(nodes):
    """The names of the first ops that make floats of what a file was decoded to."""
    nodes = list(nodes)
    strings = {node.name for node in nodes if node.op in FED}
    for _ in range(len(nodes)):
        reached = {
            node.name
            for node in nodes
            if node.name not in strings and node.op not in FLOATING
            and strings & {training_graph.source(name) for name in node.input}
        }  # fmt: skip
        if not reached:
            break
        strings |= reached
    return [
        node.name
        for node in nodes
        if node.op in FLOATING and strings & {training_graph.source(name) for name in node.input}
    ]


def is_number(node):
    shape = node.attr["shape"].shape
    truth = node.attr["dtype"].type == tf.bool.as_datatype_enum
    return node.op == "Placeholder" and (truth or not shape.dim and not shape.unknown_rank)


# Scopes of what trains a network, saves it or reports on it.
BESIDE = re.compile(
    r"(^|/)(gradients?(_\d+)?|train(ing)?_?(op|step)?|optimizer|save(_\d+)?|summar(y|ies)|loss(es)?|"
    r"(Adam|Momentum|RMSProp|Adagrad|GradientDescent)(_\d+)?|metrics?|accuracy|eval(uation)?|"
    r"report_uninitialized_variables(_\d+)?|init(_\d+)?)(/|$)"
)
# What reads a network's answer in training, and its labels.
LOSSES = ("SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits", "ArgMax",
          "InTopK", "InTopKV2", "L2Loss", "SquaredDifference")  # fmt: skip

# What makes floats of an image's bytes.
FLOATING = ("Cast", "ResizeBilinear", "ResizeBicubic", "ResizeArea")

# What a graph is fed by.
FED = ("Placeholder", "IteratorGetNext", "QueueDequeueV2", "QueueDequeueManyV2",
       "QueueDequeueUpToV2")  # fmt: skip
UNREAD = (*FED, "Switch", "RefSwitch")  # these compute nothing, and are no results

ARCHIVES = (".zip", ".gz", ".tgz", ".tar")

# These cut by themselves.
GRAPHS = (load_frozen, load_text, load_checkpoint, load_values, load_tflite)

LOADERS = {
    ".keras": load_keras,
    ".h5": load_keras,
    ".hdf5": load_keras,
    ".json": load_json,
    ".pb": load_frozen,
    ".pbtxt": load_text,
    ".index": load_values,
    ".meta": load_checkpoint,
    ".tflite": load_tflite,
    "/": load_saved_model,
}
