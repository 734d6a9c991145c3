"""The net's outputs are the model's: all of them, no other, in the model's order.

A net's outputs are the blobs that no layer reads, in the order of the prototxt. (Real Caffe lists
them by alphabet, so its callers ask for them by name.)
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tf2caffe.caffe import schema
from tf2caffe.caffe.net import unread
from tf2caffe.failure import Failure


@dataclass(frozen=True)
class Output:
    """The model's output `name`, TensorFlow's op of it, and the blob, its shape and order.

    An ArgMax is left to the caller: then the blob holds what it reads, or the softmax of that, and
    `axis`, one of TensorFlow's, is the one along which the caller finds the largest number.
    """

    name: str
    tensorflow: str
    blob: str
    shape: list
    order: str
    axis: int | None = None


class End(NamedTuple):
    """The model's output `name`, its op, which of the net's outputs it is, and ArgMax's axis."""

    name: str
    op: str
    place: int
    axis: int | None


def ends(graph):
    """(the tensor of each of the net's outputs, an `End` for each of the model's).

    ArgMax is left to the caller, who takes what it reads, which may be another output.
    """
    left = {node.name: node for node in graph.nodes if node.op == "ArgMax"}
    tensors, claimed, found = [], set(), []
    for name, op in graph.outputs.items():
        node = left.get(op)
        tensor = _compared(node, graph) if node else op
        places = [at for at, one in enumerate(tensors) if one == tensor]
        places = [at for at in places if node or at not in claimed] or [len(tensors)]
        if places[0] == len(tensors):
            tensors.append(tensor)
        if node is None:
            claimed.add(places[0])
        axis = node.attrs["dimension"] % (len(node.shape) + 1) if node else None
        found.append(End(name, op, places[0], axis))
    return tensors, found


def _compared(node, graph):
    """What the caller finds ArgMax's label on: its input; or, if only that is an output, the
    softmax of it, where the largest number is the same one.
    """
    known, (tensor,) = set(graph.outputs.values()), node.inputs
    shares = [
        other.name
        for other in graph.nodes
        if other.op in ("LogSoftmax", "Softmax") and other.inputs == node.inputs
        if other.name in known
        and node.attrs["dimension"] % len(other.shape) == len(other.shape) - 1
    ]
    return shares[0] if shares and tensor not in known else tensor


def last(graph):
    """The tensors that are one of the net's outputs, once, and that no layer reads."""
    tensors, _ = ends(graph)
    read = {name for node in graph.nodes if node.op != "ArgMax" for name in node.inputs}
    return {name for name in tensors if tensors.count(name) == 1} - read


def check(net, wanted):
    """Our own mistake, if the net's outputs are not those that are wanted."""
    if net.outputs() != list(wanted):
        raise AssertionError(f"{net.name} has the outputs {net.outputs()}, not {list(wanted)}")


def print_map(table):
    """A row for each of the model's outputs; a line for each that the caller has to compute."""
    rows = [("output", "blob", "shape", "order")]
    for output in table.outputs:
        blob = output.blob or "none"
        rows.append((output.name, blob, "x".join(map(str, output.shape)), output.order))
    widths = [max(len(row[at]) for row in rows) for at in range(3)]
    for *cells, order in rows:
        padded = [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)]
        print("  ".join([*padded, order]))
    layouts = {entry.blob: entry.layout for entry in [*table.inputs, *table.layers]}
    for output in table.outputs:
        if output.axis is not None and output.blob:
            print(
                f"{output.name} is an ArgMax, which is left to the caller: the index of the "
                f"largest number of {output.blob} along {_axis(layouts[output.blob], output.axis)}"
            )


def _axis(layout, axis):
    """One of TensorFlow's axes, as the blob has it, in words."""
    atoms = set(layout.tf[axis - 1])
    found = [at for at, one in enumerate(layout.caffe, 1) if set(one) == atoms]
    return f"axis {found[0]}" if found else f"TensorFlow's axis {axis}"


def of_prototxt(net):
    """The names of the outputs of a parsed prototxt, in the order in which it has them."""
    layers = [*schema.old_inputs(net), *net.layer]
    return unread((layer.bottom, layer.top) for layer in layers)


def difference(table, found):
    """In what the blobs `found` are not the model's outputs, in one line; None if they are."""
    names = {}
    for output in table.outputs:
        names.setdefault(output.blob, []).append(output.name)
    missing = [f"{', '.join(names[blob])} ({blob or 'no blob'})" for blob in names
               if blob not in found]  # fmt: skip
    strange = [blob for blob in found if blob not in names]
    told = [f"no output is {one}" for one in missing]
    told += [f"{blob} is an output, but none of the model's" for blob in strange]
    if not told and found != list(names):
        told = [f"the outputs come as {', '.join(found)}, the model's as {', '.join(names)}"]
    return "; ".join(told) or None


def wrong_labels(table, rows, layers, tolerance):
    """(image, output's name) pairs where Caffe's label is not TensorFlow's, nor tied with it.

    `layers` are TensorFlow's, the labels of each ArgMax among them. Tied are numbers that lie
    within the tolerance of each other, relative to the largest.
    """
    found, by_blob = [], {row.blob: row for row in rows}
    for output in table.outputs:
        row = by_blob.get(output.blob)
        if output.axis is None or row is None:
            continue
        labels = np.expand_dims(_labels(output, row, layers), output.axis)
        own = np.expand_dims(row.caffe.argmax(output.axis), output.axis)
        first, second = (np.take_along_axis(row.tf, at, output.axis) for at in (labels, own))
        apart = np.abs(first - second) > tolerance * np.abs(row.tf).max()
        found += [(image, output.name) for image in range(len(apart)) if apart[image].any()]
    return found


def _labels(output, row, layers):
    """TensorFlow's labels. Raises `Failure` where there are none that fit."""
    labels, shape = layers.get(output.tensorflow), list(row.tf.shape)
    size = shape.pop(output.axis)
    if labels is None or labels.dtype.kind not in "iu" or list(labels.shape) != shape:
        raise Failure(
            f"{output.tensorflow} of shape {tuple(shape[1:])} is expected among TensorFlow's "
            "activations, as whole numbers; run steps 3 to 5 again, on the same model"
        )
    if not ((labels >= 0) & (labels < size)).all():
        raise Failure(f"{output.tensorflow}: a label is not between 0 and {size}; run step 3 again")
    return labels.astype(np.int64)
