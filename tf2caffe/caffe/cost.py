"""What a network costs: TensorFlow's own graph, and what Caffe's layers make of it.

`of_graph` and `of_net` give a `Cost` each, `by_op` those of the layers that stand for each op.
Multiply-adds are those of convolutions, dense layers and products of two tensors, for one image; in
Caffe also those of the kernels that move, spread or sum numbers for another op.
"""

from math import prod
from typing import NamedTuple

from tf2caffe.caffe.naming import layer_of
from tf2caffe.failure import listed
from tf2caffe.graph import contraction

# What one op may add to what TensorFlow's has. A whole VGG16 takes 15 G multiply-adds, a whole
# ResNet50 25 M parameters; 2^28 numbers are a blob of 1 GiB. Nothing of keras.applications adds a
# hundredth of this.
PARAMETERS, MULTIPLY_ADDS, BLOB = 2**25, 2**34, 2**28


class Cost(NamedTuple):
    """Numbers in weights, multiply-adds of one image, numbers in the largest blob, layers."""

    parameters: int = 0
    multiply_adds: int = 0
    largest: int = 0
    layers: int = 0

    def __add__(self, other):
        largest = max(self.largest, other.largest)
        sums = [a + b for a, b in zip(self, other, strict=True)]
        return Cost(*sums)._replace(largest=largest)


def of_graph(graph):
    """The cost of a `Graph` in TensorFlow."""
    shapes = shapes_of(graph)
    inputs = Cost(largest=max(map(prod, graph.inputs.values()), default=0))
    return sum((of_node(node, shapes) for node in graph.nodes), inputs)


def shapes_of(graph):
    """The shape of every tensor."""
    return graph.inputs | {node.name: node.shape for node in graph.nodes}


def of_node(node, shapes):
    """The cost of one op in TensorFlow; the matrices of Along are ours, not TensorFlow's."""
    weights = node.weights.values() if node.op != "Along" else ()
    parameters = sum(prod(weight.shape) for weight in weights)
    count = COUNTS[node.op](node, shapes) if node.op in COUNTS else 0
    return Cost(parameters, count, prod(node.shape), 1)


def of_net(net):
    """The cost of a `Net`."""
    return sum((of_layer(layer, net.shapes) for layer in net.layers), Cost())


def of_layer(layer, shapes):
    """The cost of one Caffe layer; an Input is none.

    Every number of a kernel meets each place of the output, a Deconvolution's each of the input.
    """
    parameters, count = sum(blob.size for blob in layer.blobs), 0
    if layer.type in ("Convolution", "Deconvolution", "InnerProduct"):
        shape = shapes[layer.bottoms[0]] if layer.type == "Deconvolution" else layer.shape
        count = prod(layer.blobs[0].shape) * prod(shape[2:])
    largest = max((prod(shape) for shape in layer.shapes), default=0)
    return Cost(parameters, count, largest, int(layer.type != "Input"))


def by_op(graph, net):
    """{op's name: the cost of the layers that stand for it}, of the inspectable form.

    A layer that was made for an op is called as the op, or so with / and more behind it; a
    BatchNorm has two names. (In the deploy form one layer stands for several ops.)
    """
    owners, costs = {}, {}
    for node in graph.nodes:
        names = [node.layer, layer_of(node, "mean")] if "mean" in node.weights else [node.layer]
        owners |= {one: node.name for name in names for one in (name, graph.caffe_name(name))}
    costs = {node.name: Cost() for node in graph.nodes}
    for layer in net.layers:
        owner = _owner(layer.name, owners)
        if owner is not None:
            costs[owner] += of_layer(layer, net.shapes)
    return costs


def _owner(name, owners):
    """The op of a layer; one whose name was taken has underscores behind it."""
    while name:
        found = name if name in owners else name.rstrip("_")
        if found in owners:
            return owners[found]
        name = name.rpartition("/")[0]
    return None


def refusal(graph, net):
    """The text that lists each op whose layers add more than the bounds; empty if there is none.

    `net` is the inspectable form.
    """
    problems = excesses(graph, net)
    if not problems:
        return ""
    summary = f"{len(problems)} op(s) of {graph.name} would cost more than the bound"
    return f"{listed(summary, problems)}\n{ADVICE}"


def excesses(graph, net):
    """A line for each op whose layers add more than the bounds to TensorFlow's, with the figure."""
    costs, shapes, found = by_op(graph, net), shapes_of(graph), []
    for node in graph.nodes:
        own = of_node(node, shapes)
        read = max(prod(shapes[name]) for name in node.inputs)
        told = _told(costs[node.name], own._replace(largest=max(own.largest, read)))
        if told:
            found.append(f"{node.name} ({node.op}): {told}")
    return found


def _told(cost, own):
    """In what the cost exceeds the op's own by more than the bounds, in words."""
    parts = []
    for field, (bound, words) in BOUNDS.items():
        have, want = getattr(cost, field), getattr(own, field)
        over = have > bound if field == "largest" else have - want > bound
        if over and have > want:
            parts.append(f"{have:,} {words} (TensorFlow's op has {want:,}; bound {bound:,})")
    return "; ".join(parts)


def table(graph, *nets):
    """Rows of text: what is counted, TensorFlow's, and that of each net; the first is the head."""
    heads = ("TensorFlow", "inspectable", "deploy")[: len(nets) + 1]
    costs = [of_graph(graph), *map(of_net, nets)]
    rows = [(TITLES[field], *(getattr(cost, field) for cost in costs)) for field in Cost._fields]
    return [("", *heads), *((title, *map("{:,}".format, counts)) for title, *counts in rows)]


def print_table(graph, *nets):
    """The table, in columns."""
    for title, *cells in table(graph, *nets):
        print("  ".join([f"{title:<14}", *(f"{cell:>15}" for cell in cells)]))


def _convolution(node, shapes):
    """Each number of a kernel (O, I, H, W) at each place of the output."""
    return prod(node.weights["kernel"].shape) * prod(node.shape[1:3])


def _transposed(node, shapes):
    """Each number of a kernel at each place of the input."""
    return prod(node.weights["kernel"].shape) * prod(shapes[node.inputs[0]][1:3])


def _dense(node, shapes):
    return prod(node.weights["kernel"].shape) * prod(node.shape[1:-1])


def _einsum(node, shapes):
    """One for each combination of all letters."""
    operands, sizes = contraction.parse(node.attrs["equation"])[0], {}
    for letters, name in zip(operands, node.inputs, strict=True):
        for letter, size in zip(letters, shapes[name], strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return prod(sizes.values())


# Op -> its multiply-adds in TensorFlow; those of the others are not counted, on either side.
COUNTS = {
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _transposed,
    "DepthwiseConv2dNative": _convolution,
    "Einsum": _einsum,
    "MatMul": _dense,
}

# Field -> (the most that an op may add; of the largest blob, that it may have), and what it counts.
BOUNDS = {
    "parameters": (PARAMETERS, "parameters"),
    "multiply_adds": (MULTIPLY_ADDS, "multiply-adds"),
    "largest": (BLOB, "numbers in a blob"),
}
TITLES = {
    "parameters": "parameters",
    "multiply_adds": "multiply-adds",
    "largest": "largest blob",
    "layers": "layers",
}
ADVICE = "build it nevertheless: --allow-cost; or end the network before them"
