"""Which Caffe blob holds which TensorFlow output: `nets/NAME.blobs.json`, from step 5 to step 6."""

import json
from dataclasses import dataclass, field, replace

from tf2caffe import records
from tf2caffe.caffe.outputs import Output
from tf2caffe.graph.layout import Layout
from tf2caffe.records import SIZE


@dataclass(frozen=True)
class Blob:
    """TensorFlow's `name`, Caffe's `blob`, and how the one lies in the other."""

    name: str
    blob: str
    layout: Layout


@dataclass(frozen=True)
class Op:
    """TensorFlow's op `name` of type `op`, and the names of what it reads."""

    name: str
    op: str
    reads: list


@dataclass(frozen=True)
class Table:
    """The inputs and the layers in order; `answers` names the layer that gives the labels.

    Several blobs may hold the same output of TensorFlow's: that of the layer, and that which is the
    net's output. `ops` are all of TensorFlow's, those too of which Caffe has no blob; `outputs` are
    the model's, in its order; `target` is what the network was built for. `aliases` are the names
    of folded layers, {name: the layer of the inspectable form whose output it makes}.
    """

    inputs: list
    layers: list
    answers: list
    classes: list
    source: str
    ops: list
    outputs: list
    target: str = ""
    aliases: dict = field(default_factory=dict)

    @classmethod
    def of(cls, net, target=""):
        """The table of a network that was mapped from a graph for this target."""
        graph = net.graph
        entries = [Blob(name, blob, net.layouts[name]) for name, blob in net.blobs.items() if blob]
        inputs = [entry for entry in entries if entry.name in graph.inputs]
        layers = [entry for entry in entries if entry.name not in graph.inputs]
        layers += [Blob(*copy) for copy in net.copies]
        rest = graph.classes, graph.source, ops_of(graph), net.results
        return cls(inputs, layers, answers(graph, layers), *rest, target)

    def renamed(self, names, aliases):
        """The table of the network whose blobs are called otherwise now, {name: new name}."""
        layers = [replace(entry, blob=names.get(entry.blob, entry.blob)) for entry in self.layers]
        return replace(self, layers=layers, aliases=aliases)

    def write(self, path):
        """One line an entry."""
        lines = []
        for key, value in vars(self).items():
            if key in ("inputs", "layers", "ops", "outputs"):
                rows = [f"    {json.dumps(entry, default=_record)}" for entry in value]
                lines.append(f"  {json.dumps(key)}: [\n" + ",\n".join(rows) + "\n  ]")
            else:
                lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def ops_of(graph):
    return [Op(node.name, node.op, node.inputs) for node in graph.nodes]


def answers(graph, layers):
    """The ops that give labels: the outputs that are vectors."""
    vectors = {entry.name for entry in layers if len(entry.layout.tf_shape) == 1}
    ops = dict.fromkeys(op for op in graph.outputs.values() if op not in graph.inputs)
    return [op for op in ops if op in vectors]


def _record(entry):
    return {key: value for key, value in vars(entry).items() if key != "parts"}


def load(path):
    """Read the table. Raises `Failure` where it is missing or damaged."""
    return records.load(path, FORM, _table, "build_caffe.py (step 5) makes it")


def _table(record):
    entries = {key: [_blob(entry) for entry in record[key]] for key in ("inputs", "layers")}
    ops = [Op(**entry) for entry in record["ops"]]
    outputs = [Output(**entry) for entry in record["outputs"]]
    table = Table(**record | entries | {"ops": ops, "outputs": outputs})
    for entry in [*table.inputs, *table.layers]:
        _check_layout(entry)
    for output in table.outputs:
        _check_output(output, table)
    _check_names(table)
    return table


def _blob(entry):
    layout = entry["layout"]
    axes = {key: tuple(map(tuple, layout[key])) for key in ("tf", "caffe")}
    index = tuple(layout["index"]) if layout["index"] else None
    return Blob(entry["name"], entry["blob"], Layout(tuple(layout["sizes"]), **axes, index=index))


def _check_layout(entry):
    """Raise `ValueError` unless the axes are made of the atoms, each once, and the index too."""
    layout = entry.layout
    atoms, index = list(range(len(layout.sizes))), layout.index
    if sorted(layout.order) != atoms or sorted(layout.tf_order) != atoms:
        raise ValueError(f"the axes of {entry.name}")
    if index and (layout.tf_shape != (len(index),) or sorted(index) != list(range(len(index)))):
        raise ValueError(f"the index of {entry.name}")


def _check_output(output, table):
    """Raise `ValueError` unless an ArgMax's axis is one of its blob's."""
    entries = [*table.inputs, *table.layers]
    ranks = [len(entry.layout.tf) for entry in entries if entry.blob == output.blob]
    if output.axis is not None and ranks and not 1 <= output.axis <= ranks[0]:
        raise ValueError(f"the axis of {output.name}")


def _check_names(table):
    """Raise `ValueError` unless something is compared, and all of it is known."""
    if not table.inputs or not table.layers:
        raise ValueError("no inputs or no layers")
    known = {entry.name for entry in table.inputs} | {op.name for op in table.ops}
    strange = [entry.name for entry in table.layers if entry.name not in known]
    if strange:
        raise ValueError(f"{strange[0]} is no op of the network's")


LAYOUT = {"sizes": [SIZE], "tf": [[int]], "caffe": [[int]], "index": ([int], None)}
BLOB = {"name": str, "blob": str, "layout": LAYOUT}
OUTPUT = {
    "name": str, "tensorflow": str, "blob": str, "shape": [int], "order": str, "axis": (int, None),
}  # fmt: skip
FORM = {
    "inputs": [BLOB],
    "layers": [BLOB],
    "answers": [str],
    "classes": [str],
    "source": str,
    "ops": [{"name": str, "op": str, "reads": [str]}],
    "outputs": [OUTPUT],
    "target?": str,
    "aliases?": {str: str},
}
