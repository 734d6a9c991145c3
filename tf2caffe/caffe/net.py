"""A Caffe network while it is built: layers, the shapes of their blobs, and the two files of it.

Shapes are Caffe's (NCHW, batch first). The rules by which each layer type derives its output's
shape and its weights' shapes are the two tables at the foot, from the layers' `Reshape` in BVLC
Caffe; a layer whose weights do not fit is refused here, not by Caffe at the customer's.
"""

from math import ceil, prod

import numpy as np
from google.protobuf.internal.encoder import _VarintBytes as varint

from tf2caffe.caffe import schema
from tf2caffe.failure import Failure
from tf2caffe.graph.graph import LARGEST

LIMIT = 2**31 - 1  # bytes that protobuf reads in one message


class Layer:
    """One Caffe layer: its `LayerParameter`, its weights, and its output shapes, one per top."""

    def __init__(self, message, blobs, shapes):
        self.message, self.blobs, self.shapes = message, blobs, shapes
        self.name, self.type = message.name, message.type
        self.bottoms, self.tops = list(message.bottom), list(message.top)

    @property
    def shape(self):
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
        if message.type not in SHAPES:
            raise Failure(f"layer {message.name}: type {message.type!r} is not one we know")
        for bottom in message.bottom:
            if bottom not in self.shapes:
                raise Failure(f"layer {message.name}: no earlier layer makes its bottom {bottom!r}")
        bottoms = [self.shapes[bottom] for bottom in message.bottom]
        expected = WEIGHTS.get(message.type, lambda *_: [])(message, bottoms)
        if [blob.shape for blob in blobs] != expected:
            raise Failure(
                f"layer {message.name} ({message.type}) takes weights {expected}, "
                f"not {[blob.shape for blob in blobs]}"
            )
        shapes = SHAPES[message.type](message, bottoms)
        if any(size < 1 for shape in shapes for size in shape):
            raise Failure(f"layer {message.name} ({message.type}) makes an empty blob {shapes}")
        if any(prod(shape) > LARGEST for shape in shapes):
            raise Failure(f"layer {message.name} ({message.type}) makes a blob too large {shapes}")
        layer = Layer(message, list(blobs), shapes)
        self.layers.append(layer)
        self.shapes.update(zip(layer.tops, shapes, strict=True))
        return layer

    def outputs(self):
        """The blobs that no layer reads, in order."""
        return unread((layer.bottoms, layer.tops) for layer in self.layers)

    def prototxt(self):
        return schema.prototxt(self.name, [layer.message for layer in self.layers])

    def bytes_of_weights(self):
        return sum(4 * blob.size for layer in self.layers for blob in layer.blobs)

    def write_caffemodel(self, file):
        """Write the binary `NetParameter`, one layer at a time: no more than one is in memory."""
        file.write(schema.NetParameter(name=self.name).SerializeToString())
        for layer in self.layers:
            head = layer.message.SerializeToString()
            blobs = [(_blob_head(blob), blob) for blob in layer.blobs]
            size = len(head) + sum(
                len(_field(7, len(start) + 4 * blob.size)) + len(start) + 4 * blob.size
                for start, blob in blobs
            )
            file.write(_field(100, size) + head)
            for start, blob in blobs:
                file.write(_field(7, len(start) + 4 * blob.size) + start)
                _write_floats(file, blob)


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


def _field(number, size):
    """The tag of a length-delimited protobuf field, and the length."""
    return varint(number << 3 | 2) + varint(size)


def _blob_head(blob):
    """A `BlobProto` up to its data: the shape (field 7), then the tag of the floats (field 5)."""
    dims = b"".join(varint(size) for size in blob.shape)
    shape = _field(1, len(dims)) + dims
    return _field(7, len(shape)) + shape + _field(5, 4 * blob.size)


def _write_floats(file, blob, step=1 << 22):
    flat = blob.reshape(-1)
    for start in range(0, flat.size, step):
        file.write(np.ascontiguousarray(flat[start : start + step], "<f4").data)


def _two(param, name, default):
    """A spatial setting as (h, w): from `name_h` and `name_w`, or from `name`."""
    stem = name.removesuffix("_size")
    if param.HasField(f"{stem}_h") or param.HasField(f"{stem}_w"):
        return getattr(param, f"{stem}_h"), getattr(param, f"{stem}_w")
    field = getattr(param, name)
    values = [field] if isinstance(field, int) else list(field)
    return tuple((values or [default]) * 2)[:2]


def sized(name, pair, default=None, many=False):
    """A setting along h and w, as fields: nothing if it is the default, one number if both alike.

    Convolution's settings may be lists (`many`), but a list of two is not read by all: ncnn's
    caffe2ncnn takes the first number for both, tpu-mlir the second for h.
    """
    stem, (height, width) = name.removesuffix("_size"), map(int, pair)
    if height != width:
        return {f"{stem}_h": height, f"{stem}_w": width}
    return {} if height == default else {name: [height] if many else height}


def convolution_settings(message):
    """(kernel, stride, pad, dilation) of a Convolution or Deconvolution, each as (h, w)."""
    param = message.convolution_param
    dilation = (list(param.dilation) or [1]) * 2
    kernel, stride = _two(param, "kernel_size", 0), _two(param, "stride", 1)
    return kernel, stride, _two(param, "pad", 0), tuple(dilation[:2])


def pooling_settings(message):
    """(kernel, stride, pad) of a Pooling, each as (h, w)."""
    param = message.pooling_param
    return _two(param, "kernel_size", 0), _two(param, "stride", 1), _two(param, "pad", 0)


def _convolution(message, bottoms):
    (n, _, *size), settings = bottoms[0], zip(*convolution_settings(message), strict=True)
    out = [
        (length + 2 * pad - (dilation * (kernel - 1) + 1)) // stride + 1
        for length, (kernel, stride, pad, dilation) in zip(size, settings, strict=True)
    ]
    return [(n, message.convolution_param.num_output, *out)]


def _deconvolution(message, bottoms):
    (n, _, *size), settings = bottoms[0], zip(*convolution_settings(message), strict=True)
    out = [
        stride * (length - 1) + dilation * (kernel - 1) + 1 - 2 * pad
        for length, (kernel, stride, pad, dilation) in zip(size, settings, strict=True)
    ]
    return [(n, message.convolution_param.num_output, *out)]


def _convolution_weights(message, bottoms):
    param, channels = message.convolution_param, bottoms[0][1]
    first, second = param.num_output, channels // param.group
    if message.type == "Deconvolution":
        first, second = channels, param.num_output // param.group
    kernel = (first, second, *convolution_settings(message)[0])
    return [kernel, (param.num_output,)] if param.bias_term else [kernel]


def _pooling(message, bottoms):
    n, c, *size = bottoms[0]
    if message.pooling_param.global_pooling:
        return [(n, c, 1, 1)]
    up = message.pooling_param.round_mode == 0  # Caffe rounds up, unless told to floor
    settings, out = pooling_settings(message), []
    for length, kernel, stride, pad in zip(size, *settings, strict=True):
        steps = (length + 2 * pad - kernel) / stride
        count = (ceil(steps) if up else int(steps)) + 1
        if any(settings[2]) and (count - 1) * stride >= length + pad:
            count -= 1  # with a pad on any side, the last window must start inside the image
        out.append(count)
    return [(n, c, *out)]


def _inner_product(message, bottoms):
    param = message.inner_product_param
    return [(*bottoms[0][: param.axis], param.num_output)]


def _inner_product_weights(message, bottoms):
    param = message.inner_product_param
    kernel = (param.num_output, prod(bottoms[0][param.axis :]))
    kernel = kernel[::-1] if param.transpose else kernel
    return [kernel, (param.num_output,)] if param.bias_term else [kernel]


def _batch_norm_weights(message, bottoms):
    return [(bottoms[0][1],), (bottoms[0][1],), (1,)]


def _scale_weights(message, bottoms):
    param = message.scale_param
    if len(bottoms) > 1:  # the factors are the second bottom
        return [bottoms[1]] if param.bias_term else []
    return [_axes(param, bottoms[0])] * (2 if param.bias_term else 1)


def _bias_weights(message, bottoms):
    return [_axes(message.bias_param, bottoms[0])] if len(bottoms) == 1 else []


def _axes(param, shape):
    """The sizes of `num_axes` axes from `axis` on; -1 is all of them."""
    start = param.axis % len(shape)
    return shape[start:] if param.num_axes == -1 else shape[start : start + param.num_axes]


def _prelu_weights(message, bottoms):
    return [() if message.prelu_param.channel_shared else (bottoms[0][1],)]


def _flatten(message, bottoms):
    shape, param = bottoms[0], message.flatten_param
    end = param.end_axis % len(shape) + 1
    return [(*shape[: param.axis], prod(shape[param.axis : end]), *shape[end:])]


def _reshape(message, bottoms):
    param, shape = message.reshape_param, bottoms[0]
    start = param.axis if param.axis >= 0 else len(shape) + param.axis + 1  # -1: after the last
    end = len(shape) if param.num_axes == -1 else start + param.num_axes
    dims = [shape[start + at] if dim == 0 else dim for at, dim in enumerate(param.shape.dim)]
    if -1 in dims:
        dims[dims.index(-1)] = prod(shape[start:end]) // -prod(dims)
    return [(*shape[:start], *dims, *shape[end:])]


def _concat(message, bottoms):
    param = message.concat_param
    axis = param.concat_dim if param.HasField("concat_dim") else param.axis % len(bottoms[0])
    total = sum(shape[axis] for shape in bottoms)
    return [(*bottoms[0][:axis], total, *bottoms[0][axis + 1 :])]


def _slice(message, bottoms):
    param, shape = message.slice_param, bottoms[0]
    axis = param.slice_dim if param.HasField("slice_dim") else param.axis % len(shape)
    points = list(param.slice_point)
    if not points:
        points = [shape[axis] * at // len(message.top) for at in range(1, len(message.top))]
    edges = [0, *points, shape[axis]]
    return [
        (*shape[:axis], stop - start, *shape[axis + 1 :])
        for start, stop in zip(edges, edges[1:], strict=False)
    ]


def _input(message, bottoms):
    shapes = [tuple(shape.dim) for shape in message.input_param.shape]
    return shapes * len(message.top) if len(shapes) == 1 else shapes


def _same(message, bottoms):
    return [bottoms[0]] * len(message.top)


def _argmax(message, bottoms):
    param, shape = message.argmax_param, list(bottoms[0])
    if param.HasField("axis"):
        shape[param.axis] = param.top_k
        return [tuple(shape)]
    rest = [1] * (len(shape) - 3)
    return [(shape[0], 2 if param.out_max_val else 1, param.top_k, *rest)]


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

# Layer type -> the shapes of its weights, in the order of its blobs.
WEIGHTS = {
    "BatchNorm": _batch_norm_weights,
    "Bias": _bias_weights,
    "Convolution": _convolution_weights,
    "Deconvolution": _convolution_weights,
    "InnerProduct": _inner_product_weights,
    "PReLU": _prelu_weights,
    "Scale": _scale_weights,
}

# Layer type -> the shapes of its tops.
SHAPES = {
    "AbsVal": _same,
    "ArgMax": _argmax,
    "BatchNorm": _same,
    "Bias": _same,
    "BNLL": _same,
    "Concat": _concat,
    "Convolution": _convolution,
    "Crop": lambda message, bottoms: [
        bottoms[0][: message.crop_param.axis] + bottoms[1][message.crop_param.axis :]
    ],
    "Deconvolution": _deconvolution,
    "Dropout": _same,
    "ELU": _same,
    "Eltwise": _same,
    "Exp": _same,
    "Flatten": _flatten,
    "InnerProduct": _inner_product,
    "Input": _input,
    "Log": _same,
    "LRN": _same,
    "Pooling": _pooling,
    "Power": _same,
    "PReLU": _same,
    "ReLU": _same,
    "ReLU6": _same,
    "Reshape": _reshape,
    "Scale": _same,
    "Sigmoid": _same,
    "Silence": lambda message, bottoms: [],
    "Slice": _slice,
    "Softmax": _same,
    "Split": _same,
    "TanH": _same,
}
