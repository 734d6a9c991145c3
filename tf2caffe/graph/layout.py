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

from tf2caffe.failure import Failure, listed


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
            atoms = tuple((at,) for at in range(len(shape)))
            return Layout(tuple(shape), atoms, atoms).settled()
        order = self.tf_order
        old = _bounds([self.sizes[atom] for atom in order])
        new = _bounds(shape)
        cuts = sorted({*old, *new})
        if any(after % before for before, after in zip(cuts, cuts[1:], strict=False)):
            raise ValueError("the new axes cut across the old ones; keep channels whole")
        sizes = [after // before for before, after in zip(cuts, cuts[1:], strict=False)][::-1]
        place = {cut: len(cuts) - 1 - at for at, cut in enumerate(cuts)}
        parts = dict(zip(order, _spans(old, place), strict=True))
        caffe = tuple(tuple(part for atom in axis for part in parts[atom]) for axis in self.caffe)
        return Layout(tuple(sizes), tuple(_spans(new, place)), caffe).settled()

    def settled(self):
        """The same order of elements under the axes that Caffe's layers expect, if possible."""
        if len(self.tf) == 1:
            return Layout(self.sizes, self.tf, (tuple(self.order),))
        usual = Layout(self.sizes, self.tf, _usual(self.tf))
        return usual if usual.runs() == self.runs() else self

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


def carry(graph):
    """The layout of every input's and op's output, as {name: Layout}.

    Raises `Failure` that lists each op through which a layout cannot be carried.
    """
    layouts = {name: usual(shape[1:]) for name, shape in graph.inputs.items()}
    wanted, problems = _wanted(graph), []
    for node in graph.nodes:
        rule = RULES.get(node.op, _plain)
        try:
            if node.shape[:1] not in ((), (1,)):
                raise ValueError("it mixes the batch with other axes; keep axis 0 as it is")
            layout = rule(node, [layouts[name] for name in node.inputs])
            layouts[node.name] = wanted.get(node.name, layout) if node.op == "MatMul" else layout
        except ValueError as error:
            problems.append(f"{node.name} ({node.op}): {error}")
            layouts[node.name] = usual(node.shape[1:])
    if problems:
        raise Failure(listed(f"{len(problems)} op(s) of {graph.name} cannot be laid out", problems))
    return layouts


def _wanted(graph):
    """The order in which a dense layer shall give its output, where it is then made an image."""
    wanted, vectors = {}, {}
    for node in reversed(graph.nodes):
        asked = vectors.get(node.name)
        if node.op == "Reshape" and len(node.shape) > 2:
            shape = node.shape[1:]
            vectors.setdefault(node.inputs[0], usual(shape).reshaped((prod(shape),)))
        elif asked and RULES.get(node.op) in KEEPING and len(node.inputs) == 1:
            vectors.setdefault(node.inputs[0], asked)
        elif asked and node.op == "MatMul" and node.shape[1:] == asked.tf_shape:
            wanted[node.name] = asked
    outputs = set(graph.outputs.values())
    return {name: layout for name, layout in wanted.items() if name not in outputs}


def _plain(node, layouts):
    """An output in the usual layout, made from inputs that are brought into it."""
    return usual(node.shape[1:])


def _elementwise(node, layouts):
    """The operands' common layout; where one is broadcast, or they differ, the usual one.

    An array among them is stored as the usual one asks for, unless it is a vector.
    """
    alike = all(layout.tf_shape == node.shape[1:] for layout in layouts)
    alike = alike and all(layout == layouts[0] for layout in layouts)
    arrays = {"x", "y"} & node.weights.keys() and len(node.shape) != 2
    if alike and (not arrays or layouts[0].is_usual()):
        return layouts[0]
    return _plain(node, layouts)


def _dense(node, layouts):
    """A dense layer takes a flat tensor in any order: the rows of its kernel are permuted."""
    return usual(node.shape[1:]) if len(layouts[0].tf) == 1 else _plain(node, layouts)


def _norm(node, layouts):
    """A vector in any order; an image as it lies, as long as its channels are Caffe's."""
    layout = layouts[0]
    kept = len(layout.tf) < 2 or layout.caffe[0] == layout.tf[-1]
    return layout if kept else _plain(node, layouts)


def _reshape(node, layouts):
    return regrouped(layouts[0], node.shape[1:])[0]


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


def _concat(node, layouts):
    """Vectors may be joined in any order; images only in the usual one."""
    if len(node.shape) != 2 or all(layout.is_usual() for layout in layouts):
        return _plain(node, layouts)
    ends = np.cumsum([0, *(layout.tf_shape[0] for layout in layouts)])
    places = [start + _places(layout) for start, layout in zip(ends, layouts, strict=False)]
    index, whole = tuple(np.concatenate(places).tolist()), usual(node.shape[1:])
    parts = [part for layout in layouts for part in layout.parts or (layout,)]
    return Layout(whole.sizes, whole.tf, whole.caffe, index, tuple(parts))


def _transpose(node, layouts):
    perm, layout = node.attrs["perm"], layouts[0]
    if perm[0] != 0:
        raise ValueError("it moves the batch axis; keep axis 0 where it is")
    if perm == sorted(perm):
        return layout
    return Layout(
        layout.sizes, tuple(layout.tf[axis - 1] for axis in perm[1:]), layout.caffe
    ).settled()


def _reduction(node, layouts):
    """Reduced axes stay as axes of one element; without keep_dims they are then dropped."""
    return usual(_kept(node, layouts[0])).reshaped(node.shape[1:])


def _kept(node, layout):
    axes = reduced_axes(node, len(layout.tf) + 1)
    return tuple(1 if at + 1 in axes else size for at, size in enumerate(layout.tf_shape))


def reduced_axes(node, rank):
    """The axes that a reduction takes away, as positive numbers."""
    axes = node.attrs["axis"]
    return sorted(axis % rank for axis in (axes if isinstance(axes, list) else [axes]))


def _slice(node, layouts):
    """The slice with all its axes, those given by one index then dropped."""
    return usual(node.attrs["sizes"][1:]).reshaped(node.shape[1:])


def _softmax(node, layouts):
    """As it lies, if TensorFlow's last axis is one of Caffe's, or is by a reshape."""
    layout = layouts[0]
    if len(layout.tf) < 2 or any(set(layout.tf[-1]) == set(axis) for axis in layout.caffe):
        return layout
    if layout.span(-1) is None:
        return _plain(node, layouts)
    order, (start, stop) = layout.order, layout.span(-1)
    axes = tuple(order[:start]), tuple(order[start:stop]), tuple(order[stop:])
    return Layout(layout.sizes, layout.tf, axes)


def _log_softmax(node, layouts):
    """A whole vector in any order."""
    return layouts[0] if len(layouts[0].tf) < 2 else _plain(node, layouts)


def arrange(node, role, array, layouts):
    """A weight as TensorFlow has it -> as Caffe takes it, as an array or as `Reordered`.

    `layouts` are those of all tensors.
    """
    inputs = [layouts[name] for name in node.inputs]
    return ARRANGEMENTS.get((node.op, role), _operand)(node, array, inputs, layouts[node.name])


def _operand(node, array, inputs, output):
    """An elementwise constant: (C,) where it is one number a channel, else (C, H, W)."""
    if node.attrs.get("data_format", "NHWC") != "NHWC":  # BiasAdd along axis 1
        array = array.reshape(-1, *[1] * (len(node.shape) - 2))
    shape = (1,) * (len(node.shape) - array.ndim) + array.shape
    array = array.reshape(shape)
    if shape[0] != 1:
        raise Failure(f"{node.name}: a constant differs along the batch")
    if len(shape) == 2:
        return output.to_caffe(array)[0] if array.size == output.tf_shape[0] else array[0]
    return array.reshape(-1) if array.size == shape[-1] else usual(shape[1:]).to_caffe(array)[0]


def _vector(node, array, inputs, output):
    """One number a channel, in the order in which a flattened blob has the channels."""
    flat = array.reshape(-1)
    return output.to_caffe(flat[None])[0] if len(output.tf) == 1 else flat


def _convolution_kernel(node, array, inputs, output):
    return array.transpose(3, 2, 0, 1)  # HWIO -> OIHW


def _depthwise_kernel(node, array, inputs, output):
    h, w, c, m = array.shape
    return array.transpose(2, 3, 0, 1).reshape(c * m, 1, h, w)  # HWCM -> (C M)1HW


def _transposed_kernel(node, array, inputs, output):
    return array.transpose(3, 2, 0, 1)  # HWOI -> IOHW


def _dense_kernel(node, array, inputs, output):
    kernel = array if node.attrs["transpose_b"] else array.T  # (in, out) -> (out, in)
    kernel = kernel if output.is_usual() else kernel[_places(output)]
    if len(inputs[0].tf) > 1 or inputs[0].is_usual():  # an image's pixels are put in order before
        return kernel
    return Reordered(kernel, _places(inputs[0]))  # HWC -> CHW


class Reordered:
    """A matrix with its columns in another order, which a slice of rows gets when it is taken.

    These are the largest weights that there are, and a copy of one is never in memory.
    """

    def __init__(self, matrix, columns):
        self.matrix, self.columns, self.shape = matrix, columns, matrix.shape

    def __getitem__(self, rows):
        return self.matrix[rows][:, self.columns]


def _places(layout):
    """TensorFlow's element at each place of a vector's blob."""
    return layout.to_caffe(np.arange(layout.tf_shape[0])[None])[0]


# Ops of one element from one (or two, or a constant) in the same place.
ELEMENTWISE = (
    "Abs", "Add", "AddN", "AddV2", "BiasAdd", "Elu", "Erf", "Erfc", "Exp", "Expm1", "LeakyRelu",
    "Log", "Maximum", "Minimum", "Mul", "Neg", "Pow", "RealDiv", "Reciprocal", "Relu", "Relu6",
    "Rsqrt", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Square", "SquaredDifference",
    "Sub", "Tanh",
)  # fmt: skip

# Op -> how its output lies, given how its inputs do; any other op gives and takes the usual.
RULES = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    "ConcatV2": _concat,
    "ExpandDims": _reshape,
    "FusedBatchNormV3": _norm,
    "LogSoftmax": _log_softmax,
    "MatMul": _dense,
    "Max": _reduction,
    "Mean": _reduction,
    "Min": _reduction,
    "PRelu": _norm,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Squeeze": _reshape,
    "StridedSlice": _slice,
    "Sum": _reduction,
    "Transpose": _transpose,
}

# Rules by which a vector may lie in any order.
KEEPING = (_elementwise, _log_softmax, _norm, _softmax)

# (op, weight) -> how the array is laid out for Caffe; any other is an elementwise constant.
ARRANGEMENTS = {
    ("Conv2D", "kernel"): _convolution_kernel,
    ("Conv2DBackpropInput", "kernel"): _transposed_kernel,
    ("DepthwiseConv2dNative", "kernel"): _depthwise_kernel,
    **{("FusedBatchNormV3", role): _vector for role in ("gamma", "beta", "mean", "variance")},
    **{
        (op, "bias"): _vector
        for op in ("Conv2D", "Conv2DBackpropInput", "DepthwiseConv2dNative", "MatMul")
    },
    ("MatMul", "kernel"): _dense_kernel,
    ("PRelu", "alpha"): _vector,
}
