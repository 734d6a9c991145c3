"""Shape rules: an op's output's shape from those of what it reads.

Each takes a node and its inputs' shapes, and returns the output's shape, or None where these do not
tell it. It raises `ValueError` where something does not fit. Weights have the shapes that they have
in graph.json, which are Caffe's.
"""

from math import log, prod

import numpy as np

from tf2caffe.graph import contraction
from tf2caffe.graph.values import REACH


def _rank(shape, *ranks):
    if len(shape) not in ranks:
        raise ValueError(f"it reads a tensor of {len(shape)} axes")


def _axis(axis, rank):
    """The axis as a number from 0 on."""
    if not -rank <= axis < rank:
        raise ValueError(f"there is no axis {axis} among {rank}")
    return axis % rank


def _vector(node, role, size):
    if role in node.weights and node.weights[role].shape != (size,):
        raise ValueError(f"its {role} is {node.weights[role].shape}, not {(size,)}")


def same(node, shapes):
    return shapes[0]


def alike(node, shapes):
    """Any number of tensors of the same shape."""
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"it reads tensors of different shapes, {shapes}")
    return shapes[0]


def elementwise(node, shapes):
    """Two operands, x and y: tensors, weights or numbers (which are settings)."""
    sides = [role for role in ("x", "y") for given in (node.weights, node.attrs) if role in given]
    if len(shapes) + len(sides) != 2 or len(set(sides)) != len(sides):
        raise ValueError(f"it reads {len(shapes)} tensors and has {sides} beside")
    if not _is_channels_last(node):  # a vector along axis 1
        return shapes[0]
    constants = [_as_tensorflow(weight.shape, node.shape) for weight in node.weights.values()]
    shape = _broadcast([*shapes, *constants])
    if sides:  # the constant may have had more axes of one element
        shape = (1,) * (len(node.shape) - len(shape)) + shape
    return shape


def _as_tensorflow(shape, output):
    """The shape of an elementwise constant, (C,) or (C, H, W), in TensorFlow's order."""
    if len(shape) == 1:
        return shape
    channels, *size = shape
    if len(output) == 3:  # a sequence, which is an image of one row for Caffe
        size = size[1:]
    return (1, *size, channels)


def _broadcast(shapes):
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(f"{shapes} do not fit each other") from None


def batch_norm(node, shapes):
    if node.attrs.get("data_format", "NHWC") == "NHWC":
        for role in ("mean", "variance", "gamma", "beta"):
            _vector(node, role, (1, *shapes[0])[-1])
    return shapes[0]


def _windows(node, size, kernel, stride, dilation=(1, 1)):
    """How many windows there are along height and width."""
    padding, ends, counts = node.attrs["padding"], node.attrs.get("explicit_paddings"), []
    if padding == "EXPLICIT" and not ends:
        raise ValueError("its explicit_paddings are missing")
    pads = [sum(ends[2:4]), sum(ends[4:6])] if padding == "EXPLICIT" else [0, 0]
    for n, k, s, d, pad in zip(size, kernel, stride, dilation, pads, strict=True):
        reach = (k - 1) * d + 1
        if reach > REACH:
            raise ValueError(f"its windows are {reach} long")
        reach = 1 if padding == "SAME" else reach
        counts.append((n + pad - reach) // s + 1)
    return counts


def _is_channels_last(node):
    """Whether an op has the usual order of axes; another is refused where it is mapped."""
    return node.attrs.get("data_format", "NHWC") == "NHWC"


def _is_plain(node, *names):
    """The same, and whether its windows leave batch and channels alone."""
    ends = [node.attrs[name][at] for name in names for at in (0, 3)]
    return _is_channels_last(node) and set(ends) == {1}


def convolution(node, shapes):
    if not _is_plain(node, "strides", "dilations"):
        return None
    _rank(shapes[0], 4)
    kernel = _kernel(node)
    (_, *size, channels), (out, part, *window) = shapes[0], kernel
    if channels % part or out % (channels // part):
        raise ValueError(f"its kernel is {kernel}, it reads {channels} channels")
    _vector(node, "bias", out)
    settings = [node.attrs[name][1:3] for name in ("strides", "dilations")]
    return (shapes[0][0], *_windows(node, size, window, *settings), out)


def _kernel(node, rank=4):
    kernel = node.weights["kernel"].shape
    if len(kernel) != rank:
        raise ValueError(f"its kernel has {len(kernel)} axes, not {rank}")
    return kernel


def transposed_convolution(node, shapes):
    """The gradient of a convolution: what it gives, that convolution would have read."""
    if not _is_plain(node, "strides", "dilations"):
        return None
    _rank(shapes[0], 4)
    _rank(node.shape, 4)
    kernel = _kernel(node)
    if kernel[:2] != (shapes[0][3], node.shape[3]):
        raise ValueError(f"its kernel is {kernel} from {shapes[0]} to {node.shape}")
    _vector(node, "bias", node.shape[3])
    settings = [node.attrs[name][1:3] for name in ("strides", "dilations")]
    size = _windows(node, node.shape[1:3], kernel[2:], *settings)
    if size != list(shapes[0][1:3]):
        raise ValueError(f"a tensor of {node.shape} would be made from {size}, not {shapes[0]}")
    return (shapes[0][0], *node.shape[1:])


def dense(node, shapes):
    (out, size), shape = _kernel(node, 2), shapes[0]
    _vector(node, "bias", out)
    if node.attrs["transpose_a"]:
        return None
    if len(shape) < 2 or shape[-1] != size:
        raise ValueError(f"its kernel is {(out, size)}, it reads {shape}")
    return (*shape[:-1], out)


def pooling(node, shapes):
    if not _is_plain(node, "ksize", "strides"):
        return None
    _rank(shapes[0], 4)
    batch, *size, channels = shapes[0]
    settings = [node.attrs[name][1:3] for name in ("ksize", "strides")]
    return (batch, *_windows(node, size, *settings), channels)


def reduction(node, shapes):
    axes, rank = node.attrs["axis"], len(shapes[0])
    gone = {_axis(axis, rank) for axis in (axes if isinstance(axes, list) else [axes])}
    if node.attrs["keep_dims"]:
        return [1 if at in gone else size for at, size in enumerate(shapes[0])]
    return [size for at, size in enumerate(shapes[0]) if at not in gone]


def argmax(node, shapes):
    gone = _axis(node.attrs["dimension"], len(shapes[0]))
    return [size for at, size in enumerate(shapes[0]) if at != gone]


def reshape(node, shapes):
    if prod(node.shape) != prod(shapes[0]):
        raise ValueError(f"{shapes[0]} cannot become {node.shape}")
    return node.shape


def transpose(node, shapes):
    """Of a lifted tensor all axes move, and one of one element in front."""
    perm, shape = node.attrs["perm"], shapes[0]
    shape = (1, *shape) if len(perm) == len(shape) + 1 else shape
    if sorted(perm) != list(range(len(shape))) or perm[:1] != [0]:
        raise ValueError(f"its perm is {perm} of {len(shape)} axes")
    moved = [shape[axis] for axis in perm]
    return moved[1:] if len(node.shape) < len(moved) and moved[1] == 1 else moved


def prelu(node, shapes):
    _vector(node, "alpha", (1, *shapes[0])[-1])
    return shapes[0]


def along(node, shapes):
    shape = list(shapes[0])
    for role, weight in node.weights.items():
        axis = int(role.removeprefix("along"))
        if not 0 < axis < len(shape) or weight.shape[1:] != (shape[axis],):
            raise ValueError(f"its {role} is {weight.shape} of {shapes[0]}")
        shape[axis] = weight.shape[0]
    if prod(shape) != prod(node.shape) or shape != node.attrs["sizes"]:
        raise ValueError(f"its shape is {node.shape}, it makes {shape}")
    return node.shape


def einsum(node, shapes):
    operands, result = contraction.parse(node.attrs["equation"])
    sizes = {}
    for letters, shape in zip(operands, shapes, strict=True):
        for letter, size in zip(letters, shape, strict=True):
            if size != 1 and sizes.get(letter, 1) not in (1, size):
                raise ValueError(f"{shapes} do not fit {node.attrs['equation']}")
            sizes[letter] = max(size, sizes.get(letter, 1))
    return [sizes[letter] for letter in result]


def patches(node, shapes):
    _rank(shapes[0], 4)
    (batch, *size, channels), high, wide = shapes[0], *node.attrs["ksizes"][1:3]
    settings = [node.attrs[name][1:3] for name in ("strides", "rates")]
    return (batch, *_windows(node, size, (high, wide), *settings), channels * high * wide)


def concat(node, shapes):
    axis, first = _axis(node.attrs["axis"], len(shapes[0])), shapes[0]
    if node.weights:
        return None
    if len({shape[:axis] + shape[axis + 1 :] for shape in shapes}) > 1:
        raise ValueError(f"{shapes} cannot be joined along axis {axis}")
    return [*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :]]


def strided_slice(node, shapes):
    begin, sizes, strides = (node.attrs[name] for name in ("begin", "sizes", "strides"))
    if not len(begin) == len(sizes) == len(strides) == len(shapes[0]):
        raise ValueError(f"its settings are not those of {len(shapes[0])} axes")
    for first, count, step, length in zip(begin, sizes, strides, shapes[0], strict=True):
        if not (0 <= first < length and 0 <= first + (count - 1) * step < length and step):
            raise ValueError(f"it takes {count} from {first} in steps of {step} of {length}")
    if prod(node.shape) != prod(sizes):
        raise ValueError(f"its shape is {node.shape}, it takes {sizes}")
    return node.shape


def pad(node, shapes):
    pads = node.attrs["paddings"]
    if len(pads) != len(shapes[0]):
        raise ValueError(f"its paddings are not those of {len(shapes[0])} axes")
    return [size + sum(pair) for size, pair in zip(shapes[0], pads, strict=True)]


def resize(node, shapes):
    """Of an image, to any size; a sequence becomes longer."""
    _rank(shapes[0], 3, 4)
    _rank(node.shape, len(shapes[0]))
    size = node.attrs.get("size", node.shape[1:-1])
    return (shapes[0][0], *size, shapes[0][-1])


def depth_to_space(node, shapes):
    if not _is_channels_last(node):
        return None
    _rank(shapes[0], 4)
    (batch, height, width, channels), block = shapes[0], node.attrs["block_size"]
    return (batch, height * block, width * block, channels / block**2)


def space_to_depth(node, shapes):
    if not _is_channels_last(node):
        return None
    _rank(shapes[0], 4)
    (batch, height, width, channels), block = shapes[0], node.attrs["block_size"]
    return (batch, height / block, width / block, channels * block**2)


def local_response_norm(node, shapes):
    _rank(shapes[0], 4)
    bias, beta = node.attrs["bias"], node.attrs["beta"]
    if bias > 0 and not abs(log(bias) * beta) < 80:  # its power is no float32
        raise ValueError(f"its bias is {bias}, its beta {beta}")
    return shapes[0]
