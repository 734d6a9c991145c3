"""The network on disk: `graph.json`, small and readable, and one `.npy` file per weight.

It holds TensorFlow's semantics (op types, NHWC shapes, attributes); the weights alone are stored
as Caffe lays them out. Step 4 writes it, step 5 reads it.
"""

import json
import re
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from tf2caffe import files, records
from tf2caffe.failure import Failure
from tf2caffe.graph import layout, ops
from tf2caffe.graph.layout import Layout, plain, usual
from tf2caffe.records import ANY, SIZE

VERSION = 3
STEM = 200  # bytes of a file's name
LARGEST = 2**31 - 1  # numbers in a Caffe blob


@dataclass
class Weight:
    """A weight's file (a `.npy` beside graph.json, float32) and its shape in Caffe's layout.

    `source` is the TensorFlow constant in step 4, `array` the contents of the file in step 5.
    """

    file: str
    shape: tuple
    source: object = field(default=None, repr=False)
    array: np.ndarray | None = field(default=None, repr=False)


@dataclass
class Node:
    """One TensorFlow op.

    `name` is the op's (`conv1/Conv2D`), `layer` what the user calls it (`conv1`), `inputs` the
    names of the ops or inputs it reads, `shape` its output's, batch first and channels last;
    `weights` maps the op's own names for them (`kernel`, `bias`, ...) to arrays, and `layout` tells
    how the output lies in its Caffe blob, by which the arrays are laid out: step 4 finds it.
    """

    name: str
    layer: str
    op: str
    inputs: list
    shape: tuple
    attrs: dict = field(default_factory=dict)
    weights: dict = field(default_factory=dict)
    layout: Layout | None = None

    def array(self, role):
        return self.weights[role].array


@dataclass
class Graph:
    """Inputs (name -> NHWC shape), ops in topological order, and the outputs, in the model's order.

    `outputs` maps the model's names for them to the ops (or inputs) that compute them; on the
    `unused` inputs of the model none of them depends. `names` are the Caffe names that differ from
    the layers' own, `classes` the labels of the answers, if the network has any, `source` tells
    which state of the model this was.
    """

    name: str
    inputs: dict
    nodes: list
    outputs: dict
    classes: list = field(default_factory=list)
    names: dict = field(default_factory=dict)
    source: str = ""
    unused: list = field(default_factory=list)

    @property
    def layouts(self):
        """How every input and op lies in its Caffe blob, {name: Layout}."""
        return self.input_layouts() | {node.name: node.layout for node in self.nodes}

    def input_layouts(self):
        """How the inputs lie: channels first, wherever TensorFlow has them."""
        first = self.channels_first()
        return {
            name: (plain if name in first else usual)(shape[1:])
            for name, shape in self.inputs.items()
        }

    def channels_first(self):
        """The names of the inputs and ops that are images with channels first in TensorFlow too.

        Their readers, or they themselves, are transposes that the front end made.
        """
        turned = [node for node in self.nodes if node.attrs.get("data_format") == "NCHW"]
        turned = [node for node in turned if node.op == "Transpose" and len(node.shape) == 4]
        return {node.inputs[0] if node.attrs["perm"][-1] == 1 else node.name for node in turned}

    def caffe_name(self, layer):
        return self.names.get(layer, layer)

    def print_unused(self):
        for name in self.unused:
            print(f"input {name} is left out: no output depends on it")

    def weights(self):
        return [weight for node in self.nodes for weight in node.weights.values()]


def file_stem(layer):
    """A layer's name as the beginning of its weights' file names, which file systems limit."""
    return re.sub(r"[^\w.-]", ".", layer).encode()[:STEM].decode(errors="ignore")


def dump(graph):
    """The text of graph.json: one line for each op."""
    head = {
        "version": VERSION,
        "name": graph.name,
        "inputs": graph.inputs,
        "unused": graph.unused,
        "outputs": graph.outputs,
        "classes": graph.classes,
        "names": graph.names,
        "source": graph.source,
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    nodes = [f"    {json.dumps(_record(node))}" for node in graph.nodes]
    return "\n".join(["{", *lines, '  "nodes": [', ",\n".join(nodes), "  ]", "}", ""])


def _record(node):
    weights = {
        role: {"file": weight.file, "shape": weight.shape} for role, weight in node.weights.items()
    }
    record = vars(node) | {"weights": weights, "layout": layout.record(node.layout)}
    return {key: value for key, value in record.items() if value or key == "inputs"}


def load(path):
    """Read graph.json (without the arrays). Raises `Failure` where it is missing or damaged."""
    return records.load(Path(path), FORM, _graph, "run save_weights.py (step 4) again")


def _check_nodes(graph):
    shapes = dict(graph.inputs)
    for node in graph.nodes:
        try:
            _check_node(node, shapes)
        except ValueError as error:
            raise ValueError(f"{node.name}: {error}") from None
        shapes[node.name] = node.shape


def _check_node(node, shapes):
    """Raise `ValueError` unless a node is as its op's record says, and lies as its shape is."""
    if node.op in ops.OPS:  # the mapping lists the others
        ops.check(node, [shapes[name] for name in node.inputs])
    if node.layout.tf_shape != node.shape[1:] or node.shape[:1] not in ((), (1,)):
        raise ValueError(f"its layout is of {(1, *node.layout.tf_shape)}, not {node.shape}")


def _graph(record):
    if record["version"] != VERSION:
        raise ValueError(f"version {record['version']} is not {VERSION}")
    nodes = [_node(node) for node in record["nodes"]]
    inputs = {name: tuple(shape) for name, shape in record["inputs"].items()}
    rest = {key: value for key, value in record.items() if key != "version"}
    graph = Graph(**rest | {"inputs": inputs, "nodes": nodes})
    _check(graph)
    return graph


def _node(record):
    weights = {
        role: Weight(weight["file"], tuple(weight["shape"]))
        for role, weight in record.get("weights", {}).items()
    }
    found = layout.parsed(record["layout"])
    shape = tuple(record.get("shape", ()))
    return Node(**record | {"shape": shape, "weights": weights, "layout": found})


def _check(graph):
    """Raise `ValueError` unless every name is known before it is read and every field is sound."""
    for check in (_check_texts, _check_sizes, _check_reads, _check_files, _check_nodes):
        check(graph)


def _check_texts(graph):
    texts = [graph.name, graph.source, *graph.classes, *graph.unused]
    texts += [*graph.names, *graph.names.values(), *graph.outputs, *graph.outputs.values()]
    for node in graph.nodes:
        texts += [node.name, node.layer, node.op, *node.inputs, *node.attrs, *node.weights]
    if not all(text.isprintable() for text in texts):
        raise ValueError("a name has characters that cannot be printed")


def _check_sizes(graph):
    shapes = [*graph.inputs.values(), *(node.shape for node in graph.nodes)]
    if not all(graph.inputs.values()):
        raise ValueError("an input has no axes")
    if max(map(prod, shapes)) > LARGEST:
        raise ValueError("a tensor has more numbers than a blob can")


def _check_reads(graph):
    known = set(graph.inputs)
    for node in graph.nodes:
        strange = [name for name in node.inputs if name not in known]
        if strange or not node.inputs or node.name in known:
            raise ValueError(f"op {node.name} reads {strange or 'nothing'} or is named twice")
        known.add(node.name)
    if not graph.outputs or not set(graph.outputs.values()) <= known:
        raise ValueError("there is no output, or one is not the name of an op")


def _check_files(graph):
    for weight in graph.weights():
        if not re.fullmatch(r"[^/]{1,250}\.npy", weight.file) or not weight.file.isprintable():
            raise ValueError(f"not a plain file name of a weight: {weight.file!r}")


def load_weights(graph, folder):
    """Map every weight's file into memory. Missing, surplus, misshapen, bad: all told at once."""
    folder = Path(folder)
    wanted = {weight.file: weight for weight in graph.weights()}
    found = {path.name for path in folder.glob("*.npy")}
    problems = [f"missing: {name}" for name in sorted(wanted.keys() - found)]
    problems += [f"surplus: {name}" for name in sorted(found - wanted.keys())]
    for name in sorted(wanted.keys() & found):
        problems += _load(wanted[name], folder / name)
    if problems:
        raise Failure(
            f"{folder}: {'; '.join(problems)}; run save_weights.py (step 4) again, or mend the file"
        )


def _load(weight, path):
    """Map one file into memory; return what is wrong with it, as a list of one or no line."""
    try:
        array = files.mapped(path)
    except files.Damaged as error:
        return [f"{path.name} is not a whole .npy file ({error})"]
    if array.dtype != np.float32:
        return [f"{path.name} is not an array of float32"]
    if array.shape != weight.shape:
        return [f"misshapen: {path.name} is {array.shape}, not {weight.shape}"]
    if not _finite(array):
        return [f"{path.name} holds NaN or infinity"]
    weight.array = array
    return []


def _finite(array, step=1 << 22):
    flat = array.reshape(-1)
    return all(np.isfinite(flat[at : at + step]).all() for at in range(0, flat.size, step))


WEIGHT = {"file": str, "shape": [SIZE]}
NODE = {
    "name": str, "layer": str, "op": str, "inputs": [str], "shape?": [SIZE], "attrs?": {str: ANY},
    "weights?": {str: WEIGHT}, "layout": layout.FORM,
}  # fmt: skip
FORM = {
    "version": int,
    "name": str,
    "inputs": {str: [SIZE]},
    "unused": [str],
    "outputs": {str: str},
    "classes": [str],
    "names": {str: str},
    "source": str,
    "nodes": [NODE],
}
