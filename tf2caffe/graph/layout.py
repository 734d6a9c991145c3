"""How a TensorFlow tensor lies in its Caffe blob: NHWC against NCHW, through every reshape.

A tensor's elements are indexed by *atoms*, the finest axes that reshapes have split it into. Each
TensorFlow axis after the batch is a run of atoms, and so is each Caffe axis; the two differ in
their order. A flatten of (7, 7, 32) has one TensorFlow axis, of the atoms H, W, C, and one Caffe
axis, of C, H, W: what permutes the rows of the dense kernel after it is derived from that.

Reshapes and transposes move nothing in TensorFlow's view, they only regroup atoms; whether the
blob can follow without moving data is seen by comparing the orders. Where an op needs another
order, `mapping` moves the data. A dense layer may give its output in any order, so it takes the one
that a reshape after it asks for.
"""

from dataclasses import dataclass, field
from math import prod

import numpy as np

from tf2caffe.records import SIZE


@dataclass(frozen=True)
class Layout:
    """Atom sizes; the atoms of each TensorFlow axis, and of each Caffe axis, batch left out.

    `index` is for vectors joined of others: TensorFlow's element at each place of Caffe's. `parts`
    are then the layouts of those others (step 6 needs none).
    """

    sizes: tuple
    tf: tuple
    caffe: tuple
    index: tuple | None = None
    parts: tuple = field(default=(), compare=False, repr=False)

    @property
    def tf_shape(self):
        return tuple(prod(self.sizes[atom] for atom in axis) for axis in self.tf)

    @property
    def caffe_shape(self):
        return tuple(prod(self.sizes[atom] for atom in axis) for axis in self.caffe)

    @property
    def order(self):
        """The atoms as Caffe's blob runs through them."""
        return [atom for axis in self.caffe for atom in axis]

    @property
    def tf_order(self):
        return [atom for axis in self.tf for atom in axis]

    def runs(self):
        """What the blob's flat order is, whatever the axes: equal runs, equal order of elements.

        As (size, first TensorFlow position) of each stretch that is contiguous in both.
        """
        if self.index is not None:
            return list(self.index)
        atoms = [atom for atom in self.tf_order if self.sizes[atom] > 1]
        place = {atom: at for at, atom in enumerate(atoms)}
        merged = []
        for atom in self.order:
            if self.sizes[atom] == 1:
                continue
            if merged and place[atom] == merged[-1][2] + 1:
                merged[-1] = (merged[-1][0] * self.sizes[atom], merged[-1][1], place[atom])
            else:
                merged.append((self.sizes[atom], place[atom], place[atom]))
        ranks = sorted(first for _, first, _ in merged)
        return [(size, ranks.index(first)) for size, first, _ in merged]

    def to_caffe(self, array):
        """(N, TensorFlow's axes) -> (N, Caffe's axes)."""
        if self.index is not None:
            return array[:, self.index]
        place = {atom: at + 1 for at, atom in enumerate(self.tf_order)}
        atoms = array.reshape(len(array), *(self.sizes[atom] for atom in self.tf_order))
        moved = atoms.transpose(0, *(place[atom] for atom in self.order))
        return moved.reshape(len(array), *self.caffe_shape)

    def to_tf(self, array):
        """(N, Caffe's axes) -> (N, TensorFlow's axes)."""
        if self.index is not None:
            return array[:, np.argsort(self.index)]
        place = {atom: at + 1 for at, atom in enumerate(self.order)}
        atoms = array.reshape(len(array), *(self.sizes[atom] for atom in self.order))
        moved = atoms.transpose(0, *(place[atom] for atom in self.tf_order))
        return moved.reshape(len(array), *self.tf_shape)

    def reshaped(self, shape):
        """The layout after TensorFlow reshapes to (N, *shape): atoms split, axes regrouped.

        Raises `ValueError` where the new axes cut across the old ones and the orders differ.
        """
        if tuple(shape) == self.tf_shape:
            return self
        if prod(shape) != prod(self.tf_shape):
            raise ValueError(f"{self.tf_shape} cannot be reshaped to {tuple(shape)}")
        if self.index is not None:
            raise ValueError("it takes apart what was joined of flattened tensors; join after it")
        if len(self.runs()) <= 1:  # both orders are the same: any shape will do
            return plain(shape).settled()
        return self._split(shape).settled()

    def _split(self, shape):
        """The layout under the axes of `shape`, the atoms split where old or new axes end."""
        old = _bounds([self.sizes[atom] for atom in self.tf_order])
        new = _bounds(shape)
        cuts = sorted({*old, *new})
        steps = list(zip(cuts, cuts[1:], strict=False))
        if any(after % before for before, after in steps):
            raise ValueError("the new axes cut across the old ones; keep channels whole")
        sizes = tuple(after // before for before, after in reversed(steps))
        place = {cut: len(cuts) - 1 - at for at, cut in enumerate(cuts)}
        parts = dict(zip(self.tf_order, _spans(old, place), strict=True))
        caffe = tuple(tuple(part for atom in axis for part in parts[atom]) for axis in self.caffe)
        return Layout(sizes, tuple(_spans(new, place)), caffe)

    def settled(self):
        """The same order of elements under the axes that Caffe's layers expect, if possible."""
        if len(self.tf) == 1:
            return Layout(self.sizes, self.tf, (tuple(self.order),))
        usual = Layout(self.sizes, self.tf, _usual(self.tf))
        return (usual if usual.runs() == self.runs() else self).with_few_axes()

    def with_few_axes(self):
        """The first axes as one, where there are more than an image's: OpenCV adds up to five."""
        if len(self.caffe) <= 4:
            return self
        first = tuple(atom for axis in self.caffe[:-2] for atom in axis)
        return Layout(self.sizes, self.tf, (first, *self.caffe[-2:]))

    def is_usual(self):
        """Whether the blob is plain NCHW (or NC) of the tensor."""
        plain = usual(self.tf_shape)
        return self.caffe_shape == plain.caffe_shape and self.runs() == plain.runs()

    def nchw(self):
        """The tensor as plain NCHW (or NC)."""
        return usual(self.tf_shape) if self.index else Layout(self.sizes, self.tf, _usual(self.tf))

    def as_tensorflow(self):
        """The tensor with TensorFlow's own axes, in their order."""
        if not self.tf:  # one number a batch is (N, 1) in Caffe
            return usual(())
        return plain(self.tf_shape) if self.index else Layout(self.sizes, self.tf, self.tf)

    def lies_as(self, other):
        """Whether a blob of the one is a blob of the other, axes and elements."""
        return self.caffe_shape == other.caffe_shape and self.runs() == other.runs()

    def span(self, axis):
        """Where in `order` the atoms of one of TensorFlow's axes begin and end; None if apart."""
        atoms = [self.order.index(atom) for atom in self.tf[axis]]
        first, last = min(atoms, default=0), max(atoms, default=-1)
        return (first, last + 1) if last - first == len(atoms) - 1 else None

    def channel_order(self):
        """TensorFlow's channel at each of Caffe's channels, where nothing else is out of order.

        So it is after a channel shuffle. None where Caffe's height and width are mixed up too.
        """
        if len(self.tf) != 3 or len(self.caffe) < 3 or self.index:
            return None
        spatial = [atom for axis in self.tf[:2] for atom in axis]
        channels = self.order[: len(self.tf[2])]
        if self.order[len(channels) :] != spatial or set(channels) != set(self.tf[2]):
            return None
        index = np.arange(self.tf_shape[2]).reshape([self.sizes[atom] for atom in self.tf[2]])
        return index.transpose([self.tf[2].index(atom) for atom in channels]).reshape(-1)


def joined(parts):
    """The layout of a vector joined of vectors, each of which lies in an order of its own."""
    starts = np.cumsum([0, *(part.tf_shape[0] for part in parts)])
    index = [start + places(part) for start, part in zip(starts, parts, strict=False)]
    whole = usual((int(starts[-1]),))
    order = tuple(np.concatenate(index).tolist())
    return Layout(whole.sizes, whole.tf, whole.caffe, order, tuple(parts))


def record(layout):
    """The layout as graph.json has it: its axes, or of a joined vector those of its parts."""
    if layout.parts:
        return {"parts": [record(part) for part in layout.parts]}
    return {"sizes": layout.sizes, "tf": layout.tf, "caffe": layout.caffe}


def parsed(record):
    """The layout of a record that has the `FORM`. Raises `ValueError` if it is none."""
    if "parts" in record:
        parts = [parsed(part) for part in record["parts"]]
        if not parts or any(len(part.tf) != 1 or part.parts for part in parts):
            raise ValueError("a layout is joined of what are no vectors")
        return joined(parts)
    axes = {key: tuple(tuple(axis) for axis in record[key]) for key in ("tf", "caffe")}
    layout = Layout(tuple(record["sizes"]), **axes)
    atoms = list(range(len(layout.sizes)))
    if sorted(layout.order) != atoms or sorted(layout.tf_order) != atoms or not layout.caffe:
        raise ValueError("the axes of a layout are not each there once")
    return layout


def usual(shape):
    """The layout of a plain tensor (N, *shape): NHWC in NCHW, NLC in NC1L, NC in NC."""
    atoms = tuple((at,) for at in range(len(shape)))
    return Layout(tuple(shape), atoms, _usual(atoms))


def plain(shape):
    """The layout of a tensor whose blob has TensorFlow's own axes, in their order."""
    atoms = tuple((at,) for at in range(len(shape)))
    return Layout(tuple(shape), atoms, atoms)


def final(layout):
    """How an output lies: an image as NCHW, anything else as TensorFlow has it."""
    return layout.nchw() if len(layout.tf) == 3 else layout.as_tensorflow()


def described(layout):
    """The order of a blob's elements and axes in words."""
    if len(layout.tf) == 3 and layout.lies_as(layout.nchw()):
        return "NCHW"
    if layout.lies_as(layout.as_tensorflow()):
        return "as TensorFlow"
    if layout.index:
        return "as it lies: joined of vectors that lie in Caffe's order"
    place = {atom: at for at, atom in enumerate(layout.tf_order)}
    order = [place[atom] for atom in layout.order]
    letters = AXES.get(len(order))
    if letters:
        return f"as it lies: {', '.join(letters[at] for at in order)}"
    sizes = [layout.sizes[atom] for atom in layout.tf_order]
    return f"as it lies: axes {order} of {tuple(sizes)}"


# A layout as graph.json has it: of a vector that was joined of others, or of any other tensor.
AXES_FORM = {"sizes": [SIZE], "tf": [[int]], "caffe": [[int]]}
FORM = ({"parts": [AXES_FORM]}, AXES_FORM)

AXES = {2: "LC", 3: "HWC"}  # what we call the axes of a sequence and of an image


def _usual(axes):
    """Caffe's axes for TensorFlow's: channels first, then height and width.

    One number a batch is (N, 1) in Caffe: layers take the first axis after the batch for granted.
    """
    if not axes:
        return ((),)
    if len(axes) == 2:
        return (axes[1], (), axes[0])
    return axes[-1:] + axes[:-1]


def _bounds(sizes):
    """Products of the last 0, 1, 2, ... sizes, the first element being that of all of them."""
    bounds = [1]
    for size in reversed(sizes):
        bounds.append(bounds[-1] * size)
    return bounds[::-1]


def _spans(bounds, place):
    """For each axis between two bounds, the indices of the atoms that lie in it."""
    return [
        tuple(range(place[start], place[stop]))
        for start, stop in zip(bounds, bounds[1:], strict=False)
    ]


def regrouped(layout, shape):
    """The layout after a reshape, and whether the blob must be put in TensorFlow's order before.

    It must where the new axes cut across the old ones, whose order is another one in Caffe.
    """
    try:
        return layout.reshaped(shape), False
    except ValueError:
        if prod(shape) != prod(layout.tf_shape):
            raise
        return plain(shape).settled(), True


def reduced_axes(node, rank):
    """The axes that a reduction takes away, as positive numbers."""
    axes = node.attrs["axis"]
    return sorted(axis % rank for axis in (axes if isinstance(axes, list) else [axes]))


def places(layout):
    """TensorFlow's element at each place of a vector's blob."""
    return layout.to_caffe(np.arange(layout.tf_shape[0])[None])[0]
