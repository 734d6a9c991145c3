"""A Caffe network while it is built: layers, the shapes of their blobs, and the two files of it.

Every layer is checked when it is appended, by the rules of `shapes`: a layer whose weights do not
fit fails here, not when somebody loads the files into Caffe.
"""

from math import prod

from tf2caffe.caffe import schema, writer
from tf2caffe.caffe.shapes import SHAPES, WEIGHTS, convolution_settings, pooling_settings
from tf2caffe.failure import Failure
from tf2caffe.graph.graph import LARGEST

LIMIT = 2**31 - 1  # bytes that protobuf reads in one message


class Layer:
    """One Caffe layer: its `LayerParameter`, its weights, and its output shapes, one per top."""

    def __init__(self, message, blobs, shapes):
        self.message, self.blobs, self.shapes = message, blobs, shapes

    @property
    def name(self):
        return self.message.name

    @property
    def type(self):
        return self.message.type

    @property
    def bottoms(self):
        return list(self.message.bottom)

    @property
    def tops(self):
        return list(self.message.top)

    @property
    def shape(self):
        """The shape of the first top."""
        return self.shapes[0]

    @property
    def details(self):
        """What a diagram's box says besides type and name: settings, then the weights' shapes."""
        lines = SUMMARIES[self.type](self.message) if self.type in SUMMARIES else []
        named = zip(ROLES.get(self.type, ()), self.blobs, strict=False)
        return lines + [f"{role} {'×'.join(map(str, blob.shape))}" for role, blob in named]


class Net:
    """Layers in order. `names` renames what the mappers call their layers (and so the blobs).

    Names in `reserved` are kept for layers that are still to come.
    """

    def __init__(self, name, names=None):
        self.name, self.names = name, names or {}
        self.layers, self.shapes, self.reserved = [], {}, set()

    def add(self, type, name, bottoms=(), blobs=(), **params):
        """Append a layer with one top, called as the layer; return that blob's name."""
        name = self.free(name)
        bottoms = [bottoms] if isinstance(bottoms, str) else list(bottoms)
        message = schema.LayerParameter(name=name, type=type, bottom=bottoms, top=[name], **params)
        return self.append(message, blobs).tops[0]

    def free(self, name):
        """The name as it is to be in Caffe; with underscores after it, where it is taken."""
        name = self.names.get(name, name)
        while name in self.shapes or name in self.reserved:
            name += "_"
        return name

    def append(self, message, blobs):
        """Append a layer given as message; check its weights (float32 arrays) and derive shapes."""
        bottoms = self._shapes_of_bottoms(message)
        expected = WEIGHTS.get(message.type, lambda *_: [])(message, bottoms)
        found = [blob.shape for blob in blobs]
        if found != expected:
            told = f"layer {message.name} ({message.type})"
            raise Failure(f"{told} takes weights {expected}, not {found}")
        shapes = SHAPES[message.type](message, bottoms)
        _check_sizes(message, shapes)
        layer = Layer(message, list(blobs), shapes)
        self.layers.append(layer)
        self.shapes.update(zip(layer.tops, shapes, strict=True))
        return layer

    def _shapes_of_bottoms(self, message):
        if message.type not in SHAPES:
            raise Failure(f"layer {message.name}: type {message.type!r} is not one we know")
        for bottom in message.bottom:
            if bottom not in self.shapes:
                raise Failure(f"layer {message.name}: no earlier layer makes its bottom {bottom!r}")
        return [self.shapes[bottom] for bottom in message.bottom]

    def rename_last(self, name, blob):
        """Give the last layer, which no other reads yet, this name, and its one top that one."""
        message = self.layers[-1].message
        self.shapes[blob] = self.shapes.pop(message.top[0])
        message.name, message.top[0] = name, blob

    def outputs(self):
        """The blobs that no layer reads, in order."""
        return unread((layer.bottoms, layer.tops) for layer in self.layers)

    def prototxt(self):
        return schema.prototxt(self.name, [layer.message for layer in self.layers])

    def bytes_of_weights(self):
        return sum(4 * blob.size for layer in self.layers for blob in layer.blobs)

    def write_caffemodel(self, file):
        """Write the binary `NetParameter`: see `writer`."""
        writer.write(self.name, self.layers, file)


def _check_sizes(message, shapes):
    """Raise `Failure` where a blob would be empty, or larger than the machine's memory."""
    if any(size < 1 for shape in shapes for size in shape):
        raise Failure(f"layer {message.name} ({message.type}) makes an empty blob {shapes}")
    if any(prod(shape) > LARGEST for shape in shapes):
        raise Failure(f"layer {message.name} ({message.type}) makes a blob too large {shapes}")


def unread(layers):
    """What no layer reads of the tops of layers, given as (bottoms, tops) in order.

    What is written in place is made anew.
    """
    left = {}
    for bottoms, tops in layers:
        for bottom in bottoms:
            left.pop(bottom, None)
        left |= dict.fromkeys(tops)
    return list(left)


def _power_summary(message):
    param = message.power_param
    settings = {"power": (param.power, 1), "scale": (param.scale, 1), "shift": (param.shift, 0)}
    return [f"{name} {value:g}" for name, (value, default) in settings.items() if value != default]


def _convolution_summary(message):
    kernel, stride, pad, dilation = convolution_settings(message)
    parts = [f"{kernel[0]}×{kernel[1]}"]
    for word, pair, default in (("stride", stride, 1), ("pad", pad, 0), ("dilation", dilation, 1)):
        if set(pair) != {default}:
            parts.append(f"{word} {'×'.join(map(str, dict.fromkeys(pair)))}")
    if message.convolution_param.group > 1:
        parts.append(f"group {message.convolution_param.group}")
    return [", ".join(parts)]


def _pooling_summary(message):
    kind = schema.ENUMS["PoolMethod"][1][message.pooling_param.pool]
    if message.pooling_param.global_pooling:
        return [f"{kind} global"]
    kernel, stride, _ = pooling_settings(message)
    return [f"{kind} {kernel[0]}×{kernel[1]}, stride {'×'.join(map(str, dict.fromkeys(stride)))}"]


def _eltwise_summary(message):
    param = message.eltwise_param
    factors = [] if {*param.coeff} <= {1} else [", ".join(f"{factor:g}" for factor in param.coeff)]
    return [" ".join([schema.ENUMS["EltwiseOp"][1][param.operation], *factors])]


# What a layer's weights are called, in the order of its blobs.
ROLES = {
    "BatchNorm": ("mean", "var"),  # the third blob, which divides both, is always 1
    "Bias": ("beta",),
    "Convolution": ("kernel", "bias"),
    "Deconvolution": ("kernel", "bias"),
    "InnerProduct": ("kernel", "bias"),
    "PReLU": ("alpha",),
    "Scale": ("gamma", "beta"),
}

# What a layer's box in the diagram says of its settings.
SUMMARIES = {
    "BatchNorm": lambda message: [f"eps {message.batch_norm_param.eps:g}"],
    "Convolution": _convolution_summary,
    "Deconvolution": _convolution_summary,
    "Eltwise": _eltwise_summary,
    "Pooling": _pooling_summary,
    "Power": _power_summary,
}
