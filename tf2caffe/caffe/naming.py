"""Which Caffe layer holds a weight, and the weight's file, which is named after that layer."""

from collections import Counter

from tf2caffe.graph.graph import file_stem


def layer_of(node, role):
    """The layer, by TensorFlow's name: a BatchNorm is one op there, and two layers in Caffe."""
    return f"{node.layer}_norm" if role in ("mean", "variance") else node.layer


def blob_name(role):
    """What Caffe's side calls a weight."""
    return "var" if role == "variance" else role


def name_files(graph):
    """Give each weight a file of its own."""
    taken = Counter()
    for node in graph.nodes:
        for role, weight in node.weights.items():
            layer = graph.caffe_name(layer_of(node, role))
            stem = _unique(f"{file_stem(layer)}-{blob_name(role)}", taken)
            weight.file = f"{stem}.npy"


def _unique(name, taken):
    """`name`, or with a number behind it; macOS and Windows know no capitals in file names."""
    known = name.casefold()
    taken[known] += 1
    return name if taken[known] == 1 else _unique(f"{name}_{taken[known] - 1}", taken)
