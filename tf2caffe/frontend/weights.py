"""Step 4: the weights, fetched from TensorFlow one by one, as files that Caffe's side can read."""

import threading
from concurrent.futures import ThreadPoolExecutor
from math import prod

import numpy as np

from tf2caffe.caffe.naming import name_files
from tf2caffe.failure import Failure, Unsupported
from tf2caffe.graph import carry
from tf2caffe.graph.carry import arrange
from tf2caffe.graph.graph import dump
from tf2caffe.paths import replacing_folder

WRITERS = 2  # as many weights are in memory at once


def save(graph, folder, report=None):
    """Leave the weights, each fetched from TensorFlow only now, and graph.json in `folder`.

    `report` is called with a line for each weight. Raises `Failure` where one is not finite.
    """
    layouts, reading = _laid_out(graph), threading.Lock()
    name_files(graph)

    def store(item):
        node, role, weight = item
        with reading:  # not every reader of TensorFlow's is made for several threads
            array = weight.source.value()
        write(temporary, weight, arrange(node, role, array, layouts))
        return row(weight, array.shape)

    weights = [(node, *named) for node in graph.nodes for named in node.weights.items()]
    with replacing_folder(folder) as temporary, ThreadPoolExecutor(WRITERS) as pool:
        for line in pool.map(store, weights):
            if report:
                report(line)
        (temporary / "graph.json").write_text(dump(graph), encoding="utf-8")


def _laid_out(graph):
    """The layouts of all tensors. Raises `Unsupported` with what cannot be laid out, or mapped."""
    layouts, unlaid = carry.attempt(graph)
    if unlaid:
        from tf2caffe.caffe import mapping
        from tf2caffe.frontend import later  # imports TensorFlow

        problems = later.problems(graph)
        raise Unsupported(mapping.unmapped(graph.name, problems.values()), graph)
    return layouts


def write(folder, weight, array, step=1 << 22):
    """Write one weight, which is in Caffe's layout by now, about `step` numbers at a time."""
    weight.shape = array.shape
    rows = max(1, step // prod(array.shape[1:]))
    with (folder / weight.file).open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for at in range(0, array.shape[0], rows):
            part = contiguous(array[at : at + rows])
            if not np.isfinite(part).all():
                raise Failure(not_finite(weight.source.name, part))
            file.write(part.data)  # np.save does not tell that a disk is full


def not_finite(name, part):
    """Why a weight cannot be taken, and what to do."""
    if np.isnan(part).any():
        return f"{name} holds NaN; train the network again"
    return (
        f"{name} holds infinity, and Caffe's blobs must be finite to be compared; write a mask "
        "with a large finite number, such as -1e9 before a softmax, or train the network again"
    )


def contiguous(array, tile=256):
    """A transposed array as float32 in the order of its axes.

    About `tile` numbers of a row are filled at once. A whole row takes a number out of each page
    of the matrix; where these are thousands, that is two to three times as slow.
    """
    if array.ndim == 1:
        return np.ascontiguousarray(array, "<f4")
    whole, columns = np.empty(array.shape, "<f4"), max(1, tile // prod(array.shape[2:]))
    for at in range(0, array.shape[1], columns):
        whole[:, at : at + columns] = array[:, at : at + columns]
    return whole


def row(weight, shape):
    """What became of a variable: TensorFlow's name and shape, the file and Caffe's shape."""
    file = weight.file.removesuffix(".npy")
    return f"{weight.source.name:<50} -> {file:<50} {shape} -> {weight.shape}"
