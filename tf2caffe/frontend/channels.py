"""Ops on images with channels first (NCHW) become ops on images with channels last.

    x (N, C, H, W) -> Conv2D, NCHW
    x -> Transpose (N, H, W, C) -> Conv2D, NHWC -> Transpose (N, C, H, W)

What stands between two of them is computed with channels last too: activations, sums, joins along
channels, padding, means. So of the transposes those at the ends of the network are left, and in
Caffe, whose channels are first, they move nothing.
"""

from math import prod

import tensorflow as tf

from tf2caffe.frontend.copies import copied, operands, rewrite_all
from tf2caffe.frontend.draft import Constant, Op
from tf2caffe.graph import layout_rules
from tf2caffe.graph.ops import OPS

TO_LAST, TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


def put_last(ops, trace):
    """The ops, none of which has channels first; TensorFlow's graph then computes them too."""
    if not any(map(is_first, ops)):
        return ops
    turning = Turning(trace, _first_inputs(ops))
    return rewrite_all(ops, trace, turning.turn, turning.made)


def is_first(op):
    """Whether it is an op on an image with channels first."""
    first = op.attrs.get("data_format") == "NCHW" and len(op.shape) == 4
    weights = [name for name in op.computed if name != "input_sizes"]
    return first and not weights and not op.attrs.get("training") and len(op.inputs) == 1


def _first_inputs(ops):
    """The network's inputs that ops with channels first read, if only through others."""
    waiting, found = [source for op in ops if is_first(op) for source in op.inputs], set()
    seen = set()
    while waiting:
        op = waiting.pop()
        if id(op) in seen:
            continue
        seen.add(id(op))
        if op.type == "Placeholder" and len(op.shape) == 4:
            found.add(id(op))
        waiting += op.inputs if op.type in TURNED else []
    return found


class Turning:
    """Images with channels first, each with the op that computes it with channels last.

    `made` are all ops, in order.
    """

    def __init__(self, trace, inputs):
        self.trace, self.inputs = trace, inputs
        self.made, self.last = [], {}

    def turn(self, op):
        """Let an op be computed with channels last, if its image has them first."""
        if op.type == "Transpose" and op.attrs["perm"] == TO_FIRST and not op.computed:
            self.last[id(op)] = op.inputs[0]
        elif is_first(op):
            self._put(op, _image(op, self.of(op.inputs[0])))
        elif op.type in TURNED and self._is_turned(op):
            turned = TURNED[op.type](op, self)
            if turned is not None:
                self._put(op, turned)

    def of(self, op):
        """The op that computes this image with channels last."""
        if id(op) not in self.last:
            attrs = {"perm": TO_LAST}
            if op.type == "Placeholder":
                attrs["data_format"] = "NCHW"
            turned = Op("Transpose", tf.transpose(op.tensor, TO_LAST), [op], {}, attrs)
            self.made.append(turned)
            self.last[id(op)] = turned
        return self.last[id(op)]

    def constant(self, constant):
        """A constant operand of an image with channels first, for one with channels last."""
        if constant.size == 1:
            return constant
        shape = (1,) * (4 - len(constant.shape)) + constant.shape
        if constant.size == shape[1]:
            tensor = tf.reshape(constant.tensor, (1, 1, 1, shape[1]))
        else:
            tensor = tf.transpose(tf.reshape(constant.tensor, shape), TO_LAST)
        return Constant(tensor, self.trace)

    def _is_turned(self, op):
        """Whether what it reads are images, one with channels first."""
        plain = len(op.shape) in (2, 4) and not op.computed
        known = [id(one) in self.last or id(one) in self.inputs for one in op.inputs]
        if op.type == "BiasAdd":
            return any(known)
        return plain and any(known) and all(len(one.shape) == 4 for one in op.inputs)

    def _put(self, op, turned):
        """Let `op` be what the op `turned` computes, with channels first again."""
        self.made.append(turned)
        if len(op.shape) != 4:
            op.replace(self.made.pop())
            return
        self.last[id(op)] = turned
        attrs = {"perm": TO_FIRST, "data_format": "NCHW"}
        op.replace(Op("Transpose", tf.transpose(turned.tensor, TO_FIRST), [turned], {}, attrs))


def _image(op, source):
    """An op on images with its settings turned round."""
    attrs = dict(op.attrs, data_format="NHWC")
    for name in ("ksize", "strides", "dilations", "input_sizes"):
        if name in attrs:
            attrs[name] = _turned(attrs[name])
    pads = attrs.get("explicit_paddings")
    if pads:
        attrs["explicit_paddings"] = [*pads[:2], *pads[4:], *pads[2:4]]
    values = {"data_format": "NHWC"}
    values |= {name: attrs[name] for name in ("ksize", "strides", "dilations", "explicit_paddings")
               if attrs.get(name)}  # fmt: skip
    if op.tensor.op.type == "BatchToSpaceND":
        tensor = dilated(op.type, source.tensor, op.constants["filter"].tensor, attrs)
    else:
        tensor = copied(op, operands(op, [source], op.constants, attrs), values)
    return Op(op.type, tensor, [source], op.constants, attrs)


def dilated(kind, image, kernel, attrs):
    """A convolution with zeros in its kernel: TensorFlow has no paddings below 0."""
    for axis, step in enumerate(attrs["dilations"][1:3]):
        kernel = _with_zeros(kernel, axis, step)
    ends = attrs["explicit_paddings"]
    pads = list(zip(ends[::2], ends[1::2], strict=True))
    image = tf.pad(image, [[max(end, 0) for end in pair] for pair in pads])
    rows, columns = (image.shape[axis] + min(pads[axis][1], 0) for axis in (1, 2))
    run = tf.nn.depthwise_conv2d if kind.startswith("Depthwise") else tf.nn.conv2d
    return run(image[:, :rows, :columns], kernel, [1] * 4, "VALID")


def _with_zeros(kernel, axis, step):
    """A kernel with zeros between its rows or columns."""
    shape = kernel.shape.as_list()
    size, shape[axis] = shape[axis], shape[axis] * step
    pads = [[0, step - 1 if at == axis + 1 else 0] for at in range(5)]
    wide = tf.reshape(tf.pad(tf.expand_dims(kernel, axis + 1), pads), shape)
    return tf.gather(wide, range((size - 1) * step + 1), axis=axis)


def _turned(numbers):
    """Four numbers, those of the channels last."""
    return [numbers[axis] for axis in TO_LAST]


def _elementwise(op, turning):
    """Constants are turned as they lie beside the image."""
    if op.tensor.op.type != op.type or len(op.shape) != 4:
        return None
    inputs = [turning.of(one) for one in op.inputs]
    constants = {name: turning.constant(one) for name, one in op.constants.items()}
    tensor = copied(op, operands(op, inputs, constants, op.attrs), {})
    return Op(op.type, tensor, inputs, constants, op.attrs)


def _bias(op, turning):
    """A vector along the last axis, or a computed one along the channels.

    (Keras takes whatever it adds for a bias, if its length is that of one of the two axes.)
    """
    inputs, constants = op.inputs, {}
    if len(inputs) == 2 and _is_of_channels(op):
        inputs = [inputs[0], inputs[1].inputs[0]]
        tensors = [turning.of(one).tensor for one in inputs]
    elif len(inputs) == 1 and op.attrs["data_format"] == "NHWC" and "y" in op.constants:
        constants = {"y": turning.constant(op.constants["y"])}
        tensors = [turning.of(inputs[0]).tensor, constants["y"].tensor]
    else:
        return None
    return Op("AddV2", tf.add(*tensors), [turning.of(one) for one in inputs], constants, {})


def _is_of_channels(op):
    """Whether the bias is (1, C, 1, 1) without its axes of one element."""
    vector = op.inputs[1]
    shape = vector.inputs[0].shape if vector.type == "Squeeze" else ()
    return op.attrs["data_format"] == "NCHW" and shape == (1, op.shape[1], 1, 1)


def _join(op, turning):
    """Along the channels, or rows, or columns."""
    inputs = [turning.of(one) for one in op.inputs]
    constants = {
        name: Constant(tf.transpose(one.tensor, TO_LAST), turning.trace)
        for name, one in op.constants.items()
    }
    given, names = iter(inputs), [f"values{at}" for at in range(len(inputs) + len(constants))]
    tensors = [(constants.get(name) or next(given)).tensor for name in names]
    attrs = {"axis": _axis(op.attrs["axis"])}
    return Op(op.type, tf.concat(tensors, attrs["axis"]), inputs, constants, attrs)


def _axis(axis):
    return TO_LAST.index(axis % 4)


def _padding(op, turning):
    """Zeros, a number, or what a mirror shows."""
    source, pads = turning.of(op.inputs[0]), _turned(op.attrs["paddings"])
    number = op.attrs.get("constant_values", 0.0)
    tensor = tf.pad(source.tensor, pads, op.attrs.get("mode", "CONSTANT"), number)
    return Op(op.type, tensor, [source], op.constants, dict(op.attrs, paddings=pads))


def _reduction(op, turning):
    """Over any axes that stay, or over height and width."""
    axes = op.attrs["axis"]
    axes = sorted(_axis(axis) for axis in (axes if isinstance(axes, list) else [axes]))
    kept = op.attrs["keep_dims"]
    if not kept and axes != [1, 2]:
        return None
    source = turning.of(op.inputs[0])
    tensor = REDUCTIONS[op.type](source.tensor, axes, kept)
    return Op(op.type, tensor, [source], {}, {"axis": axes, "keep_dims": kept})


def _slice(op, turning):
    """One that drops no axis."""
    if list(op.shape) != op.attrs["sizes"]:
        return None
    source = turning.of(op.inputs[0])
    attrs = {name: _turned(op.attrs[name]) for name in ("begin", "sizes", "strides")}
    tensor = source.tensor
    for axis, (first, count, step) in enumerate(zip(*attrs.values(), strict=True)):
        if (first, count, step) != (0, tensor.shape[axis], 1):
            tensor = tf.gather(tensor, range(first, first + count * step, step), axis=axis)
    return Op(op.type, tensor, [source], {}, attrs)


def _repeated(op, turning):
    """Rows or columns that were repeated by reshapes (see `recognise`)."""
    if op.tensor.op.type != "Reshape":
        return None
    source, out = turning.of(op.inputs[0]), _turned(op.shape)
    tensor = source.tensor
    for axis, size in enumerate(out):
        tensor = tf.repeat(tensor, size // tensor.shape[axis], axis)
    return None if prod(out[3:]) != source.shape[3] else Op(op.type, tensor, [source], {}, op.attrs)


REDUCTIONS = {
    "Max": tf.reduce_max, "Mean": tf.reduce_mean, "Min": tf.reduce_min, "Sum": tf.reduce_sum,
}  # fmt: skip

# Op -> what computes it with channels last, where it stands between ops with channels first.
TURNED = {
    **{name: _elementwise for name, op in OPS.items() if op.layout is layout_rules.elementwise},
    **dict.fromkeys(("Greater", "GreaterEqual", "Less", "LessEqual", "SelectV2"), _elementwise),
    **dict.fromkeys(REDUCTIONS, _reduction),
    "BiasAdd": _bias,
    "ConcatV2": _join,
    "MirrorPad": _padding,
    "Pad": _padding,
    "ResizeNearestNeighbor": _repeated,
    "StridedSlice": _slice,
}
