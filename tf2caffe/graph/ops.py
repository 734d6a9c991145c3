"""One record an op: all that is known of a TensorFlow op but for the Caffe layers that equal it.

The front end reads an op by its record, graph.json is checked by it, layouts are carried through it
and weights laid out by it, and the proof feeds and measures an op by it. `caffe.mapping.OPS` has
the same keys; docs/add-an-op.md adds one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tf2caffe.graph import arrangements as weights
from tf2caffe.graph import demands, shapes
from tf2caffe.graph import layout_rules as layouts
from tf2caffe.graph.demands import USUAL, Demand
from tf2caffe.graph.values import (
    AXES,
    AXIS,
    CROPS,
    EQUATION,
    FLAG,
    FORMAT,
    FOUR,
    INTEGERS,
    NOT_NEGATIVE,
    NUMBER,
    PADS,
    PAIRS,
    POSITIVE,
    RADIUS,
    one_of,
    whole,
    wholes,
)  # fmt: skip


@dataclass(frozen=True)
class Op:
    """An op's record.

    `operands` are TensorFlow's, in order: one that ends in ! is a setting, and graph.json has it
    among the attributes; one that ends in * stands for any number of tensors. `kind` is one of
    KINDS. `shape` derives the output's shape (see `shapes`), `layout` how it lies in its Caffe blob
    (see `layout_rules`).

    `attrs` are the settings in graph.json, each with what its value must be, `weights` the arrays,
    each with how it is laid out for Caffe (see `arrangements`); a name that ends in ? may be
    missing, one that ends in * stands for that name with any number behind it. `inputs` is the
    least and the most number of tensors that the op reads (None: any number).

    `settled` are attributes and settings of TensorFlow's that the front end resolves, `added` those
    that it writes in their place. `probe` is what the op asks of the numbers that it is fed in the
    proof: a `Demand`, or a function that gives one (see `demands`).
    """

    operands: tuple
    kind: str
    shape: Callable
    layout: Callable
    attrs: dict = field(default_factory=dict)
    weights: dict = field(default_factory=dict)
    inputs: tuple = (1, 1)
    settled: tuple = ()
    added: tuple = ()
    probe: Demand | Callable = USUAL

    @property
    def attributes(self):
        """The attributes that TensorFlow's op has, in so far as they change numbers."""
        names = [plain_name(name) for name in (*self.attrs, *self.settled)]
        operands = {plain_name(name) for name in self.operands}
        return tuple(name for name in names if name not in operands and name not in self.added)


def plain_name(name):
    """A name of a record without its mark."""
    return name.rstrip("!?*")


def of_kind(*kinds):
    """The ops of these kinds."""
    return tuple(name for name, op in OPS.items() if op.kind in kinds)


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
    return _missing(node.weights, known), [name for name in node.weights if not key(name, known)]


def unfit_attrs(node):
    """What is wrong with a node's settings, a phrase each."""
    known = OPS[node.op].attrs
    problems = [f"its {name} is missing" for name in _missing(node.attrs, known)]
    for name, value in node.attrs.items():
        kind = known.get(key(name, known))
        if kind is None:
            problems.append(f"its setting {name} is not known")
        elif not kind.holds(value):
            problems.append(f"its {name} is {value!r}, not {kind}")
    return problems


def _missing(given, known):
    return [name for name in known if name[-1] not in "?*" and name not in given]


def key(name, known):
    """How a record spells a name that it knows, else None."""
    forms = name, f"{name}?", f"{name.rstrip('0123456789')}*"
    return next((form for form in forms if form in known), None)


def unary(probe=USUAL, attrs=None, operand="x", **more):
    """An op that makes each number of the output from the one at the same place."""
    return Op((operand,), "elementwise", shapes.same, layouts.elementwise, attrs or {},
              probe=probe, **more)  # fmt: skip


def binary(kind, probe=USUAL, **attrs):
    """An op of two operands, each a tensor, an array or a number."""
    return Op(
        ("x", "y"), kind, shapes.elementwise, layouts.elementwise,
        {"x?": NUMBER, "y?": NUMBER} | {f"{name}?": value for name, value in attrs.items()},
        {"x?": weights.operand, "y?": weights.operand}, (1, 2), probe=probe,
    )  # fmt: skip


def reduction(kind, probe=USUAL):
    """An op that makes one number of all those along some axes."""
    attrs = {"axis": AXES, "keep_dims": FLAG}
    return Op(("input", "axis!"), kind, shapes.reduction, layouts.reduction, attrs, probe=probe)


def regrouping(*operands, **attrs):
    """An op that gives a tensor other axes and leaves its numbers in their order."""
    return Op(operands, "shape", shapes.reshape, layouts.reshape, attrs)


def convolution(kernel):
    return Op(
        ("input", "filter"), "products", shapes.convolution, layouts.in_usual_order, CONVOLUTION,
        {"kernel": kernel, "bias?": weights.vector},
    )  # fmt: skip


def pooling(operand, kind, probe=USUAL, **attrs):
    attrs = {"ksize": FOUR, "strides": FOUR, "padding": PADDING, **attrs, "data_format?": FORMAT}
    rule = shapes.pooling, layouts.in_usual_order
    return Op((operand,), kind, *rule, attrs, probe=probe)


def resize(kind):
    return Op(
        ("images", "size!"), kind, shapes.resize, layouts.in_usual_order,
        {"size?": wholes(1, "two numbers from 1 on", 2), "align_corners": FLAG,
         "half_pixel_centers": FLAG},
    )  # fmt: skip


def blocks(shape):
    """An op that moves numbers between channels and square blocks of pixels."""
    attrs = {"block_size": whole(1, "a number from 1 on"), "data_format?": FORMAT}
    return Op(("input",), "choice", shape, layouts.in_usual_order, attrs)


# Kind -> what the output's numbers are, which says how the proof measures their errors.
KINDS = {
    "choice": "numbers of the input, chosen or moved",
    "elementwise": "each made from the numbers at the same place",
    "join": "numbers of several tensors, each taken from one of them",
    "label": "an index, which is left to the caller",
    "products": "sums of many products or powers: a sum may be far smaller than its terms",
    "shape": "those of the input, under other axes",
    "sum": "the sum of two tensors, or their difference: little of either may be left",
    "total": "sums of many numbers: little of them may be left",
}

PADDING = one_of("SAME", "VALID", "EXPLICIT")
CONVOLUTION = {
    "strides": FOUR, "padding": PADDING, "dilations": FOUR, "explicit_paddings?": CROPS,
    "data_format?": FORMAT,
}  # fmt: skip
MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")

# Probes: numbers on both sides of 0, where the op only cuts or chooses; so wide; above 0.
CUT, POSITIVE_ONLY = Demand((0.0,), cuts=True), Demand(domain="positive")
WIDE_3, WIDE_4, WIDE_6, WIDE_8 = (Demand((0.0,), width) for width in (3.0, 4.0, 6.0, 8.0))

# TensorFlow op -> its record.
OPS = {
    "Abs": unary(CUT),
    "Add": binary("sum", demands.centred(x=-1, y=-1)),
    "AddN": Op(
        ("operand*",), "total", shapes.alike, layouts.elementwise,
        weights={"operand*": weights.operand}, inputs=(1, None),
    ),
    "AddV2": binary("sum", demands.centred(x=-1, y=-1)),
    "Along": Op(
        ("x",), "products", shapes.along, layouts.along,
        {"sizes": wholes(1, "a list of numbers from 1 on")}, {"along*": weights.as_it_is},
        added=("sizes",),
    ),
    "ArgMax": Op(
        ("input", "dimension!"), "label", shapes.argmax, layouts.in_usual_order,
        {"dimension": AXIS},
    ),
    "AvgPool": pooling("value", "total"),
    "BiasAdd": binary("elementwise", demands.centred(x=-1, y=-1), data_format=FORMAT),
    "ConcatV2": Op(
        ("values*", "axis!"), "join", shapes.concat, layouts.concat, {"axis": AXIS},
        {"values*": weights.joined}, (1, None), probe=CUT,
    ),
    "Conv2D": convolution(weights.convolution_kernel),
    "Conv2DBackpropInput": Op(
        ("input_sizes!", "filter", "out_backprop"), "products", shapes.transposed_convolution,
        layouts.in_usual_order, CONVOLUTION | {"input_sizes?": INTEGERS},
        {"kernel": weights.transposed_kernel, "bias?": weights.vector},
    ),
    "DepthToSpace": blocks(shapes.depth_to_space),
    "DepthwiseConv2dNative": convolution(weights.depthwise_kernel),
    "Einsum": Op(
        ("inputs*",), "products", shapes.einsum, layouts.einsum, {"equation": EQUATION},
        inputs=(2, 2),
    ),
    "Elu": unary(WIDE_4, {"alpha?": POSITIVE}, added=("alpha",)),
    "Erf": unary(WIDE_3),
    "Erfc": unary(WIDE_3),
    "Exp": unary(WIDE_6),
    "ExpandDims": regrouping("input", "dim!", dim=AXES),
    "Expm1": unary(WIDE_4),
    "ExtractImagePatches": Op(
        ("images",), "choice", shapes.patches, layouts.patches,
        {"ksizes": FOUR, "strides": FOUR, "rates": FOUR, "padding": one_of("SAME", "VALID")},
    ),
    "FusedBatchNormV3": Op(
        ("x", "gamma", "beta", "mean", "variance"), "products", shapes.batch_norm, layouts.norm,
        {"epsilon": NOT_NEGATIVE, "data_format?": FORMAT},
        dict.fromkeys(("mean", "variance", "gamma?", "beta?"), weights.vector),
        settled=("is_training",), probe=demands.normal,
    ),
    "LRN": Op(
        ("input",), "products", shapes.local_response_norm, layouts.in_usual_order,
        {"depth_radius": RADIUS, "bias": NUMBER, "alpha": NUMBER, "beta": NUMBER},
        probe=demands.local,
    ),
    "LeakyRelu": unary(CUT, {"alpha": NUMBER}, "features"),
    "Log": unary(POSITIVE_ONLY),
    "LogSoftmax": Op(("x",), "products", shapes.same, layouts.log_softmax, probe=WIDE_4),
    "MatMul": Op(
        ("a", "b"), "products", shapes.dense, layouts.dense,
        {"transpose_a": FLAG, "transpose_b": FLAG},
        {"kernel": weights.dense_kernel, "bias?": weights.vector},
    ),
    "Max": reduction("choice", CUT),
    "MaxPool": pooling("input", "choice", CUT, **{"explicit_paddings?": PADS}),
    "Maximum": binary("join", demands.bounded),
    "Mean": reduction("total"),
    "Min": reduction("choice", CUT),
    "Minimum": binary("join", demands.bounded),
    "Mul": binary("elementwise"),
    "Neg": unary(CUT),
    "Pad": Op(
        ("input", "paddings!", "constant_values!"), "choice", shapes.pad, layouts.in_usual_order,
        {"paddings": PAIRS, "constant_values?": NUMBER},
    ),
    "PRelu": Op(
        ("x", "alpha"), "elementwise", shapes.prelu, layouts.norm,
        weights={"alpha": weights.vector}, probe=CUT,
    ),
    "Pow": binary("elementwise", demands.raised),
    "RealDiv": binary("elementwise", demands.divided),
    "Reciprocal": unary(Demand(domain="apart")),
    "Relu": unary(CUT),
    "Relu6": unary(Demand((0.0, 6.0), 6.0, cuts=True)),
    "Reshape": regrouping("tensor", "shape!", **{"shape?": INTEGERS}),
    "ResizeBilinear": resize("products"),
    "ResizeNearestNeighbor": resize("choice"),
    "Rsqrt": unary(POSITIVE_ONLY),
    "Selu": unary(WIDE_4),
    "Sigmoid": unary(WIDE_8),
    "Softmax": Op(("x",), "products", shapes.same, layouts.softmax, probe=WIDE_4),
    "Softplus": unary(WIDE_8),
    "Softsign": unary(WIDE_4),
    "SpaceToDepth": blocks(shapes.space_to_depth),
    "Sqrt": unary(POSITIVE_ONLY),
    "Square": unary(),
    "SquaredDifference": binary("sum", demands.centred(x=1, y=1)),
    "Squeeze": regrouping("input"),
    "StridedSlice": Op(
        ("input", "begin!", "end!", "strides!"), "choice", shapes.strided_slice,
        layouts.strided_slice,
        {"begin": wholes(0, "a list of numbers from 0 on"),
         "sizes": wholes(1, "a list of numbers from 1 on"), "strides": INTEGERS},
        settled=("end", *MASKS), added=("sizes",), probe=CUT,
    ),
    "Sub": binary("sum", demands.centred(x=1, y=1)),
    "Sum": reduction("total"),
    "Tanh": unary(WIDE_4),
    "Transpose": Op(
        ("x", "perm!"), "shape", shapes.transpose, layouts.transpose,
        {"perm": INTEGERS, "data_format?": FORMAT}, added=("data_format",),
    ),
}  # fmt: skip

# An op's other form -> the op that the front end makes of it, whose record both have.
FORMS = {
    "FusedBatchNorm": "FusedBatchNormV3", "FusedBatchNormV2": "FusedBatchNormV3", "PadV2": "Pad",
}  # fmt: skip

# Passed over: each output is the operand at the same place, once the network is trained.
PASSED_ON = (
    "CheckNumerics", "EnsureShape", "Identity", "IdentityN", "PlaceholderWithDefault",
    "PreventGradient", "Print", "Snapshot", "StopGradient",
)  # fmt: skip

# Operand -> the weight's name in graph.json.
ROLES = {"filter": "kernel", "b": "kernel"}

# The operands that may be constants beside tensors: a number becomes a setting, an array a weight.
EITHER = ("x", "y")

# The operands that are weights.
WEIGHTS = tuple(
    {
        name: None
        for op in OPS.values()
        for name in op.operands
        if name not in EITHER and name[-1] != "*" and key(ROLES.get(name, name), op.weights)
    }
)
