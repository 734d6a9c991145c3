"""The batch axis, of which a traced model has one image only.

A model may fold other axes into it: windows of an image, heads, steps of time. There axis 0 is one
axis more, and such a tensor is *lifted*: graph.json has it with an axis of one element in front.

    (1, 56, 56, 96) -> Reshape (1, 8, 7, 8, 7, 96) -> Transpose -> Reshape (64, 49, 96)
    graph.json has the last as (1, 64, 49, 96)
"""

import tensorflow as tf

from tf2caffe.frontend.draft import arrays, plain
from tf2caffe.graph import contraction
from tf2caffe.graph.graph import Node, Weight
from tf2caffe.graph.ops import ROLES

RESHAPES = ("ExpandDims", "Reshape", "Squeeze")
OF_IMAGES = (
    "AvgPool", "Conv2D", "Conv2DBackpropInput", "DepthToSpace", "DepthwiseConv2dNative",
    "ExtractImagePatches", "FusedBatchNormV3", "LRN", "MaxPool", "Pad", "ResizeBilinear",
    "ResizeNearestNeighbor", "SpaceToDepth",
)  # fmt: skip


def lift(ops, draft):
    """Lift the drafts that need it, in order; their settings then speak of the lifted axes.

    `draft(type, tensor, inputs, attrs=...)` makes a new one, for operands that must be lifted too.
    The ops as they are afterwards.
    """
    found = []
    for op in ops:
        if not op.inputs:
            found.append(op)  # random numbers, what is fed from outside: refused later
            continue
        if op.type in RESHAPES:
            op.lifted = not _has_batch(op)
        elif op.type == "Transpose":
            _lift_transpose(op)
        else:
            found += _reshaped(op, draft, _image_again) if op.type in OF_IMAGES else []
            op.lifted = not _has_batch(op) or any(one.lifted for one in op.inputs)
            op.lifted |= op.type == "Einsum" and not _shares_batch(op)
            if op.lifted:
                _lift_settings(op)
                found += _reshaped(op, draft, _lifted)
        found.append(op)
    return found


def _reshaped(op, draft, reshapes):
    """Reshapes of an op's operands; `reshapes` gives the shape of one, None to leave it."""
    made = []
    for at, operand in enumerate(op.inputs):
        shape = reshapes(operand)
        if shape is None:
            continue
        with operand.tensor.graph.as_default():
            tensor = tf.reshape(operand.tensor, shape)
        made.append(draft("Reshape", tensor, [operand], attrs={"shape": list(shape)}))
        op.inputs[at] = made[-1]
    return made


def _image_again(operand):
    """The shape of a lifted operand that is one image: an op on images takes no axis more."""
    return operand.shape if operand.lifted and operand.shape[:1] == (1,) else None


def _lifted(operand):
    """The shape with an axis more of an operand that has a batch axis still."""
    return None if operand.lifted or not operand.shape else (1, *operand.shape)


def shape(op):
    """The shape that graph.json has."""
    return (1, *op.shape) if op.lifted else op.shape


def node(op):
    """A node of a draft: arrays among its constants are weights, numbers are settings."""
    weights = arrays(op)
    numbers = {name: constant for name, constant in op.constants.items() if name not in weights}
    attrs = {name: plain(float(constant.value().reshape(()))) for name, constant in numbers.items()}
    weights = {
        ROLES.get(name, name): Weight("", (), constant) for name, constant in weights.items()
    }
    inputs = [source.name for source in op.inputs]
    return Node(op.name, op.layer, op.type, inputs, shape(op), op.attrs | attrs, weights)


def _has_batch(op):
    return op.shape[:1] in ((), (1,))


def _shares_batch(op):
    """Whether the first axis of both operands is the first of the product."""
    operands, result = contraction.parse(op.attrs["equation"])
    return {letters[:1] for letters in operands} == {result[:1]}


def _lift_transpose(op):
    """Where the batch axis moves, or was lifted, all axes move behind one of one element."""
    perm = op.attrs["perm"]
    op.lifted = not _has_batch(op)
    if op.lifted or op.inputs[0].lifted or perm[0] != 0:
        op.attrs["perm"] = [0, *(axis + 1 for axis in perm)]


def _lift_settings(op):
    rank = len(op.inputs[0].shape)
    for name in ("axis", "dimension"):
        if name in op.attrs:
            op.attrs[name] = _moved(op.attrs[name], rank)
    if "equation" in op.attrs:
        free = next(letter for letter in "zyxwvutsrqpo" if letter not in op.attrs["equation"])
        (first, second), result = contraction.parse(op.attrs["equation"])
        op.attrs["equation"] = f"{free}{first},{free}{second}->{free}{result}"
    if op.type == "Along":
        op.constants = {_next(name): constant for name, constant in op.constants.items()}
    for name, more in (("begin", 0), ("sizes", 1), ("strides", 1), ("paddings", [0, 0])):
        if name in op.attrs and op.type in ("Along", "StridedSlice", "Pad"):
            op.attrs[name] = [more, *op.attrs[name]]


def _moved(axes, rank):
    """Axes as numbers from 0 on, with one more in front."""
    if isinstance(axes, list):
        return [axis % rank + 1 for axis in axes]
    return axes % rank + 1


def _next(name):
    """along2 of along1."""
    return f"along{int(name.removeprefix('along')) + 1}"
