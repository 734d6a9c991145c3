"""The shapes that each layer type derives from its bottoms: those of its tops and of its weights.

Shapes are Caffe's (NCHW, batch first), the rules are those of the layers' `Reshape` in BVLC Caffe:
the two tables at the foot. A setting along h and w is read and written here too.
"""

from math import ceil, prod


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
    "Threshold": _same,
    "Reshape": _reshape,
    "Scale": _same,
    "Sigmoid": _same,
    "Silence": lambda message, bottoms: [],
    "Slice": _slice,
    "Softmax": _same,
    "Split": _same,
    "TanH": _same,
}
