"""What graph.json may hold: one record an op, and the check of a node against its record.

A record knows TensorFlow's op only: what it reads, its weights, its settings, and the shape of its
output. Weights have the shapes that they have in graph.json, which are Caffe's. `mapping.OPS` has
the same keys.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite, log, prod

import numpy as np

WHOLE = 2**31 - 1  # the largest whole number that a setting may be
REACH = 2**16  # the longest window: zeros between a kernel's rows may have to be written
FLOAT = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Kind:
    """What the value of a setting must be, in words, and whether a value is that."""

    words: str
    holds: Callable

    def __str__(self):
        return self.words


@dataclass(frozen=True)
class Op:
    """An op of graph.json.

    `shape(node, shapes)` derives the output's shape from the shapes of what the op reads, or gives
    None where these do not tell it; it raises `ValueError` where something does not fit. `inputs`
    is the least and the most number of tensors that the op reads (None: any number). `weights` are
    the names of its weights, `attrs` its settings by name. A name that ends in ? may be missing,
    one that ends in * stands for that name with any number behind it.
    """

    shape: Callable
    attrs: dict = field(default_factory=dict)
    weights: tuple = ()
    inputs: tuple = (1, 1)


def check(node, shapes):
    """Raise `ValueError` unless a node is as its record says; `shapes` are those of its inputs."""
    op = OPS[node.op]
    missing, surplus = unfit_weights(node)
    if missing or surplus:
        raise ValueError(f"its weights are {sorted(node.weights)}, not {list(op.weights)}")
    least, most = op.inputs
    if not least <= len(node.inputs) <= (most or len(node.inputs)):
        raise ValueError(f"it reads {len(node.inputs)} tensors")
    problems = unfit_attrs(node)
    if problems:
        raise ValueError(problems[0])
    expected = op.shape(node, shapes)
    if expected is not None and node.shape != tuple(expected):
        raise ValueError(f"its shape is {node.shape}, where {tuple(expected)} follows")


def unfit_weights(node):
    """(the weights that a node lacks, those that it should not have), by name."""
    known = OPS[node.op].weights
    return _missing(node.weights, known), [name for name in node.weights if not _key(name, known)]


def unfit_attrs(node):
    """What is wrong with a node's settings, a phrase each."""
    known = OPS[node.op].attrs
    problems = [f"its {name} is missing" for name in _missing(node.attrs, known)]
    for name, value in node.attrs.items():
        kind = known.get(_key(name, known))
        if kind is None:
            problems.append(f"its setting {name} is not known")
        elif not kind.holds(value):
            problems.append(f"its {name} is {value!r}, not {kind}")
    return problems


def _missing(given, known):
    return [name for name in known if name[-1] not in "?*" and name not in given]


def _key(name, known):
    """How a record spells a name that it knows, else None."""
    forms = name, f"{name}?", f"{name.rstrip('0123456789')}*"
    return next((form for form in forms if form in known), None)


def _is_whole(value, least=-WHOLE):
    return type(value) is int and least <= value <= WHOLE


def _is_number(value):
    return type(value) in (int, float) and isfinite(value) and abs(value) <= FLOAT


def whole(least, words):
    return Kind(words, lambda value: _is_whole(value, least))


def wholes(least, words, *counts):
    """A list of whole numbers, as many as one of `counts` says (any number, if none does)."""

    def holds(value):
        fits = isinstance(value, list) and (not counts or len(value) in counts)
        return fits and all(_is_whole(item, least) for item in value)

    return Kind(words, holds)


def one_of(*texts):
    return Kind(f"one of {', '.join(texts)}", lambda value: value in texts)


def _is_axis_or_axes(value):
    return all(map(_is_whole, value)) if isinstance(value, list) else _is_whole(value)


def _is_pairs(value):
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(_is_whole(size, 0) for size in pair)
        for pair in value
    )


FLAG = Kind("true or false", lambda value: isinstance(value, bool))
NUMBER = Kind("a finite number", _is_number)
NOT_NEGATIVE = Kind("a number from 0 on", lambda value: _is_number(value) and value >= 0)
POSITIVE = Kind("a number above 0", lambda value: _is_number(value) and value > 0)
AXIS, AXES = whole(-WHOLE, "an axis"), Kind("an axis or a list of axes", _is_axis_or_axes)
INTEGERS = wholes(-WHOLE, "a list of whole numbers")
FOUR, PADS = wholes(1, "four numbers from 1 on", 4), wholes(0, "eight numbers from 0 on", 0, 8)
CROPS = wholes(-REACH, "eight whole numbers", 0, 8)  # less than 0: a dilated kernel's may crop
PAIRS = Kind("a list of pairs from 0 on", _is_pairs)
FORMAT = one_of("NHWC", "NCHW", "NCHW_VECT_C")


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


def _same(node, shapes):
    return shapes[0]


def _alike(node, shapes):
    """Any number of tensors of the same shape."""
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"it reads tensors of different shapes, {shapes}")
    return shapes[0]


def _elementwise(node, shapes):
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


def _batch_norm(node, shapes):
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


def _convolution(node, shapes):
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


def _transposed_convolution(node, shapes):
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


def _dense(node, shapes):
    (out, size), shape = _kernel(node, 2), shapes[0]
    _vector(node, "bias", out)
    if node.attrs["transpose_a"]:
        return None
    if len(shape) < 2 or shape[-1] != size:
        raise ValueError(f"its kernel is {(out, size)}, it reads {shape}")
    return (*shape[:-1], out)


def _along(node, shapes):
    shape = list(shapes[0])
    for role, weight in node.weights.items():
        axis = int(role.removeprefix("along"))
        if not 0 < axis < len(shape) or weight.shape[1:] != (shape[axis],):
            raise ValueError(f"its {role} is {weight.shape} of {shapes[0]}")
        shape[axis] = weight.shape[0]
    if prod(shape) != prod(node.shape) or shape != node.attrs["sizes"]:
        raise ValueError(f"its shape is {node.shape}, it makes {shape}")
    return node.shape


def _patches(node, shapes):
    _rank(shapes[0], 4)
    (batch, *size, channels), high, wide = shapes[0], *node.attrs["ksizes"][1:3]
    settings = [node.attrs[name][1:3] for name in ("strides", "rates")]
    return (batch, *_windows(node, size, (high, wide), *settings), channels * high * wide)


def _einsum(node, shapes):
    operands, _, result = node.attrs["equation"].partition("->")
    sizes = {}
    for letters, shape in zip(operands.split(","), shapes, strict=True):
        for letter, size in zip(letters, shape, strict=True):
            if size != 1 and sizes.get(letter, 1) not in (1, size):
                raise ValueError(f"{shapes} do not fit {node.attrs['equation']}")
            sizes[letter] = max(size, sizes.get(letter, 1))
    return [sizes[letter] for letter in result]


def _pooling(node, shapes):
    if not _is_plain(node, "ksize", "strides"):
        return None
    _rank(shapes[0], 4)
    batch, *size, channels = shapes[0]
    settings = [node.attrs[name][1:3] for name in ("ksize", "strides")]
    return (batch, *_windows(node, size, *settings), channels)


def _reduction(node, shapes):
    axes, rank = node.attrs["axis"], len(shapes[0])
    gone = {_axis(axis, rank) for axis in (axes if isinstance(axes, list) else [axes])}
    if node.attrs["keep_dims"]:
        return [1 if at in gone else size for at, size in enumerate(shapes[0])]
    return [size for at, size in enumerate(shapes[0]) if at not in gone]


def _argmax(node, shapes):
    gone = _axis(node.attrs["dimension"], len(shapes[0]))
    return [size for at, size in enumerate(shapes[0]) if at != gone]


def _reshape(node, shapes):
    if prod(node.shape) != prod(shapes[0]):
        raise ValueError(f"{shapes[0]} cannot become {node.shape}")
    return node.shape


def _transpose(node, shapes):
    """Of a lifted tensor all axes move, and one of one element in front."""
    perm, shape = node.attrs["perm"], shapes[0]
    shape = (1, *shape) if len(perm) == len(shape) + 1 else shape
    if sorted(perm) != list(range(len(shape))) or perm[:1] != [0]:
        raise ValueError(f"its perm is {perm} of {len(shape)} axes")
    moved = [shape[axis] for axis in perm]
    return moved[1:] if len(node.shape) < len(moved) and moved[1] == 1 else moved


def _concat(node, shapes):
    axis, first = _axis(node.attrs["axis"], len(shapes[0])), shapes[0]
    if node.weights:
        return None
    if len({shape[:axis] + shape[axis + 1 :] for shape in shapes}) > 1:
        raise ValueError(f"{shapes} cannot be joined along axis {axis}")
    return [*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :]]


def _slice(node, shapes):
    begin, sizes, strides = (node.attrs[name] for name in ("begin", "sizes", "strides"))
    if not len(begin) == len(sizes) == len(strides) == len(shapes[0]):
        raise ValueError(f"its settings are not those of {len(shapes[0])} axes")
    for first, count, step, length in zip(begin, sizes, strides, shapes[0], strict=True):
        if not (0 <= first < length and 0 <= first + (count - 1) * step < length and step):
            raise ValueError(f"it takes {count} from {first} in steps of {step} of {length}")
    if prod(node.shape) != prod(sizes):
        raise ValueError(f"its shape is {node.shape}, it takes {sizes}")
    return node.shape


def _pad(node, shapes):
    pads = node.attrs["paddings"]
    if len(pads) != len(shapes[0]):
        raise ValueError(f"its paddings are not those of {len(shapes[0])} axes")
    return [size + sum(pair) for size, pair in zip(shapes[0], pads, strict=True)]


def _resize(node, shapes):
    """Of an image, to any size; a sequence becomes longer."""
    _rank(shapes[0], 3, 4)
    _rank(node.shape, len(shapes[0]))
    size = node.attrs.get("size", node.shape[1:-1])
    return (shapes[0][0], *size, shapes[0][-1])


def _depth_to_space(node, shapes):
    if not _is_channels_last(node):
        return None
    _rank(shapes[0], 4)
    (batch, height, width, channels), block = shapes[0], node.attrs["block_size"]
    return (batch, height * block, width * block, channels / block**2)


def _space_to_depth(node, shapes):
    if not _is_channels_last(node):
        return None
    _rank(shapes[0], 4)
    (batch, height, width, channels), block = shapes[0], node.attrs["block_size"]
    return (batch, height / block, width / block, channels * block**2)


def _local_response_norm(node, shapes):
    _rank(shapes[0], 4)
    bias, beta = node.attrs["bias"], node.attrs["beta"]
    if bias > 0 and not abs(log(bias) * beta) < 80:  # its power is no float32
        raise ValueError(f"its bias is {bias}, its beta {beta}")
    return shapes[0]


UNARY = Op(_same)
BINARY = Op(_elementwise, {"x?": NUMBER, "y?": NUMBER}, ("x?", "y?"), (1, 2))
REDUCTION = Op(_reduction, {"axis": AXES, "keep_dims": FLAG})
RESHAPE = Op(_reshape)
CONVOLUTION = {
    "strides": FOUR, "padding": one_of("SAME", "VALID", "EXPLICIT"), "dilations": FOUR,
    "explicit_paddings?": CROPS, "data_format?": FORMAT,
}  # fmt: skip
POOLING = Op(_pooling, {
    "ksize": FOUR, "strides": FOUR, "padding": one_of("SAME", "VALID", "EXPLICIT"),
    "explicit_paddings?": PADS, "data_format?": FORMAT,
})  # fmt: skip
RESIZE = Op(_resize, {
    "size?": wholes(1, "two numbers from 1 on", 2), "align_corners": FLAG,
    "half_pixel_centers": FLAG,
})  # fmt: skip
BLOCKS = {"block_size": whole(1, "a number from 1 on"), "data_format?": FORMAT}
BIASED = ("kernel", "bias?")

# TensorFlow op -> its record.
OPS = {
    **dict.fromkeys(
        ("Abs", "Erf", "Erfc", "Exp", "Expm1", "Log", "LogSoftmax", "Neg", "Reciprocal", "Relu",
         "Relu6", "Rsqrt", "Selu", "Sigmoid", "Softmax", "Softplus", "Softsign", "Sqrt", "Square",
         "Tanh"), UNARY,
    ),
    **dict.fromkeys(
        ("Add", "AddV2", "Maximum", "Minimum", "Mul", "Pow", "RealDiv", "SquaredDifference",
         "Sub"), BINARY,
    ),
    **dict.fromkeys(("Max", "Mean", "Min", "Sum"), REDUCTION),
    **dict.fromkeys(("AvgPool", "MaxPool"), POOLING),
    **dict.fromkeys(("ResizeBilinear", "ResizeNearestNeighbor"), RESIZE),
    **dict.fromkeys(
        ("Conv2D", "DepthwiseConv2dNative"), Op(_convolution, CONVOLUTION, BIASED),
    ),
    "AddN": Op(_alike, {}, ("operand*",), (1, None)),
    "Along": Op(_along, {"sizes": wholes(1, "a list of numbers from 1 on")}, ("along*",)),
    "ArgMax": Op(_argmax, {"dimension": AXIS}),
    "BiasAdd": Op(
        _elementwise, {"x?": NUMBER, "y?": NUMBER, "data_format?": FORMAT}, ("x?", "y?"), (1, 2),
    ),
    "ConcatV2": Op(_concat, {"axis": AXIS}, ("values*",), (1, None)),
    "Conv2DBackpropInput": Op(
        _transposed_convolution, CONVOLUTION | {"input_sizes?": INTEGERS}, BIASED,
    ),
    "DepthToSpace": Op(_depth_to_space, BLOCKS),
    "Einsum": Op(
        _einsum, {"equation": Kind("an equation", lambda v: isinstance(v, str))}, (), (2, 2),
    ),
    "ExtractImagePatches": Op(_patches, {
        "ksizes": FOUR, "strides": FOUR, "rates": FOUR, "padding": one_of("SAME", "VALID"),
    }),
    "Elu": Op(_same, {"alpha?": POSITIVE}),
    "ExpandDims": Op(_reshape, {"dim": AXES}),
    "FusedBatchNormV3": Op(
        _batch_norm, {"epsilon": NOT_NEGATIVE, "data_format?": FORMAT},
        ("mean", "variance", "gamma?", "beta?"),
    ),
    "LRN": Op(_local_response_norm, {
        "depth_radius": Kind("a number from 0 on", lambda value: _is_whole(value, 0)
                             and value < WHOLE // 2),
        "bias": NUMBER, "alpha": NUMBER, "beta": NUMBER,
    }),
    "LeakyRelu": Op(_same, {"alpha": NUMBER}),
    "MatMul": Op(_dense, {"transpose_a": FLAG, "transpose_b": FLAG}, BIASED),
    "Pad": Op(_pad, {"paddings": PAIRS, "constant_values?": NUMBER}),
    "Reshape": Op(_reshape, {"shape?": INTEGERS}),
    "SpaceToDepth": Op(_space_to_depth, BLOCKS),
    "Squeeze": RESHAPE,
    "StridedSlice": Op(_slice, {
        "begin": wholes(0, "a list of numbers from 0 on"),
        "sizes": wholes(1, "a list of numbers from 1 on"), "strides": INTEGERS,
    }),
    "Transpose": Op(_transpose, {"perm": INTEGERS}),
}  # fmt: skip
