"""Operands that are settings become attributes, spelt as graph.json has them.

An op that has another form in graph.json takes that form here: a Split becomes slices.
"""

from collections.abc import Callable
from typing import NamedTuple

from tf2caffe.frontend import linear
from tf2caffe.frontend.draft import compute_together
from tf2caffe.graph.ops import FORMS, OPS


def resolve(ops):
    """Operands that are settings become attributes, spelt as the mapping takes them."""
    for op in ops:
        settings = [constant for name, constant in op.constants.items() if name.endswith("!")]
        if settings:
            compute_together(settings[0].trace, settings)
    for op in ops:
        for name in [name for name in op.constants if name.endswith("!")]:
            op.attrs[name.rstrip("!")] = op.constants.pop(name).value().tolist()
        op.type = FORMS.get(op.type, op.type)
        if op.type in SETTLED:
            SETTLED[op.type](op)
        if op.type == "StridedSlice" and _takes_all(op):
            op.type, op.attrs = "Reshape", {"shape": list(op.shape)}


def _takes_all(op):
    """Whether a slice leaves nothing out: x[:, None, None, :] only adds axes."""
    sizes, strides = op.attrs["sizes"], op.attrs["strides"]
    forward = all(step == 1 or size == 1 for size, step in zip(sizes, strides, strict=True))
    return forward and sizes == list(op.inputs[0].shape)


def _slice(op):
    """begin, sizes, strides for every axis of the input, out of TensorFlow's masks.

    New axes, and axes of one element that are dropped, are left to the output's shape.
    """
    lengths = op.inputs[0].shape
    axes = _sliced_axes(op.attrs, len(lengths))
    kept = [_sliced(op.attrs, at, length) for at, length in zip(axes, lengths, strict=True)]
    op.attrs = {
        "begin": [indices.start for indices in kept],
        "sizes": [len(indices) for indices in kept],
        "strides": [indices.step for indices in kept],
    }


def _sliced_axes(attrs, rank):
    """For each axis of the input, which of the slices given is its own; None if there is none."""
    ellipsis, new_axis = attrs["ellipsis_mask"], attrs["new_axis_mask"]
    given = [
        at for at in range(len(attrs["begin"])) if ellipsis >> at & 1 or not new_axis >> at & 1
    ]
    missing = rank - sum(1 for at in given if not ellipsis >> at & 1)
    axes = []
    for at in given:
        axes += [None] * missing if ellipsis >> at & 1 else [at]
    return axes + [None] * (rank - len(axes))


def _sliced(attrs, at, length):
    """The indices that one axis of a StridedSlice keeps; `at` is None where nothing is said."""
    if at is None:
        return range(length)
    first = None if attrs["begin_mask"] >> at & 1 else attrs["begin"][at]
    last = None if attrs["end_mask"] >> at & 1 else attrs["end"][at]
    if attrs["shrink_axis_mask"] >> at & 1:
        first = attrs["begin"][at] % length
        last = first + 1
    return range(*slice(first, last, attrs["strides"][at]).indices(length))


def _split(op):
    """One output of a Split is a slice."""
    axis = op.attrs["axis"] % len(op.shape)
    outputs = op.tensor.op.outputs
    at = op.tensor.value_index
    begin, strides = [0] * len(op.shape), [1] * len(op.shape)
    begin[axis] = sum(output.shape[axis] for output in outputs[:at])
    op.type = "StridedSlice"
    op.attrs = {"begin": begin, "sizes": list(op.shape), "strides": strides}


def _unpack(op):
    """One output of an Unpack is a slice without its axis."""
    shape = op.inputs[0].shape
    axis = op.attrs["axis"] % len(shape)
    begin, sizes = [0] * len(shape), list(shape)
    begin[axis], sizes[axis] = op.tensor.value_index, 1
    op.type = "StridedSlice"
    op.attrs = {"begin": begin, "sizes": sizes, "strides": [1] * len(shape)}


def _old_slice(op):
    """A slice by begin and size, where a size of -1 is all that is left."""
    shape = op.inputs[0].shape
    sizes = [
        length - first if size == -1 else size
        for length, first, size in zip(shape, op.attrs["begin"], op.attrs["size"], strict=True)
    ]
    op.type = "StridedSlice"
    op.attrs = {"begin": op.attrs["begin"], "sizes": sizes, "strides": [1] * len(shape)}


def _batch_matmul(op):
    """A product with a constant matrix is a dense layer."""
    second = op.constants.get("b")
    if second is not None and len(second.shape) == 2:
        op.type = "MatMul"
        op.attrs = {"transpose_a": op.attrs["adj_x"], "transpose_b": op.attrs["adj_y"]}


def _einsum(op):
    """...i, io -> ...o with a constant matrix is a dense layer over the last axis."""
    second = op.constants.get("inputs1")
    left, arrow, result = op.attrs["equation"].replace(" ", "").partition("->")
    if any(len(set(part)) < len(part) for part in left.replace("...", "").split(",")):
        op.type = "EinsumDiagonal"
        return
    first, comma, matrix = left.partition(",")
    plain = arrow and comma and "." not in left and len(set(first + matrix)) == len(first) + 1
    dense = len(matrix) == 2 and first[-1:] == matrix[0] and result == first[:-1] + matrix[1]
    if second is not None and plain and dense:
        op.type, op.attrs = "MatMul", {"transpose_a": False, "transpose_b": False}
        op.constants = {"b": second}


def _values_of_pool(op):
    """The values of a max pool; where they stood is left."""
    if op.tensor.value_index == 0:
        op.type, op.attrs = "MaxPool", dict(op.attrs, data_format="NHWC")
    else:
        op.type = f"{op.type}:{op.tensor.value_index}"


def _norm(op):
    """The batch's own statistics are for training; what is exported has the moving ones."""
    if op.attrs.pop("is_training"):
        op.attrs["training"] = True


class Passing(NamedTuple):
    """An op that graph.json does not have: `settle`, or a recogniser, makes another one of it."""

    operands: tuple
    attributes: tuple = ()
    settle: Callable | None = None


# TensorFlow op -> how it is read on the way.
PASSING = {
    **{
        op: Passing(operands, linear.ATTRIBUTES.get(op, ()))
        for op, operands in linear.OPERANDS.items()
    },
    **dict.fromkeys(
        ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"),
        Passing(("a", "b"), ("adj_x", "adj_y"), _batch_matmul),
    ),
    "BatchToSpaceND": Passing(("input", "block_shape!", "crops!")),
    **dict.fromkeys(
        ("AvgPool3D", "MaxPool3D"),
        Passing(("input",), ("ksize", "strides", "padding", "data_format")),
    ),
    "Conv3D": Passing(("input", "filter"), ("strides", "padding", "dilations", "data_format")),
    "DivNoNan": Passing(("x", "y")),
    "MaxPoolWithArgmax": Passing(("input",), ("ksize", "strides", "padding"), _values_of_pool),
    "Pack": Passing((), ("axis",)),
    **dict.fromkeys(("IRFFT", "IRFFT2D", "RFFT", "RFFT2D"), Passing(("input", "fft_length!"))),
    "Slice": Passing(("input", "begin!", "size!"), (), _old_slice),
    "SpaceToBatchND": Passing(("input", "block_shape!", "paddings!")),
    "Split": Passing(("axis!", "value"), (), _split),
    "SplitV": Passing(("value", "size_splits!", "axis!"), (), _split),
    "Unpack": Passing(("value",), ("axis",), _unpack),
}

# TensorFlow op -> what turns it into the form of graph.json, once its settings are known.
SETTLED = {name: op.settle for name, op in PASSING.items() if op.settle}
SETTLED |= {"Einsum": _einsum, "FusedBatchNormV3": _norm, "StridedSlice": _slice}

# TensorFlow op -> its record: the operands and attributes that are read of it.
KNOWN = OPS | {form: OPS[op] for form, op in FORMS.items()} | PASSING
