"""The deploy form of a network: as few layers as give the same outputs, activations in place.

`deploy` runs the PASSES at the foot, each a function of a `Net` and the blobs that must stay. What
holds for all of them: a layer that keeps its name makes what it made, and one that stands for two
is called as the last of them; outputs keep their blobs' names too. Sums are taken in float64 and
rounded once. No large weight is copied: what a fold makes of it is computed while it is written.

No fold loses digits. x - mean of nearly equal numbers is exact, and (x - mean) / sd is as exact as
a number can be; x / sd - mean / sd is not: both terms are rounded, at mean / sd times the size of
the result. The same holds for a kernel that takes in the shift. So a shift is merged with what
comes before or after it only up to DIGITS = 16 in units of the result, which costs four of a
number's 24 bits: 16 * 2^-24 = 1e-6, a tenth of what the proof allows. A result is taken to be about
1 in size, as normalised data is; an image's mean / sd is 2. Three things lose nothing at any size:
    g x, then + h       the one layer rounds just where the two did
    W x, then BatchNorm W x was rounded at the size of the mean before, if W is more than a copy
    g x, then W         there is no shift
Nor is anything folded whose result, or one channel's, float32 cannot hold: g * g' = 1e-50, say.
"""

from collections import Counter
from dataclasses import replace
from functools import partial
from math import prod
from typing import NamedTuple

import numpy as np

from tf2caffe.caffe import lowering, schema, targets
from tf2caffe.caffe.builder import mistaken
from tf2caffe.caffe.net import Layer, Net
from tf2caffe.caffe.outputs import check
from tf2caffe.caffe.shapes import convolution_settings, sized

IDLE = ("Dropout", "Split")
SHAPING = ("Concat", "Flatten", "Reshape")  # with one bottom, and if the shape stays, idle too
IN_PLACE = ("ELU", "PReLU", "Power", "ReLU", "ReLU6", "Sigmoid", "TanH")
SHARING = ("Flatten", "Input", "Reshape", "Slice", "Split")  # a top is the bottom's own memory


DIGITS = 16  # the largest shift, in units of the result, whose rounding may be passed on
KERNEL_DIGITS = 64  # the same behind a kernel, whose terms' roundings partly cancel
LARGE, SMALL = np.finfo(np.float32).max, np.finfo(np.float32).tiny
GAIN = 2.0**60  # beyond it, or below its inverse, a kernel does not take a factor in


class Affine(NamedTuple):
    """gamma * x + beta, in float64: each () or (C,)."""

    gamma: np.ndarray
    beta: np.ndarray

    def over(self, channels):
        """The two as arrays (channels,)."""
        return Affine(*(np.broadcast_to(numbers, channels) for numbers in self))


class Scaled:
    """The product of a kernel and factors that broadcast to it; an array as far as `Net` asks."""

    def __init__(self, kernel, *factors):
        self.kernel, self.factors = kernel, factors
        if isinstance(kernel, Scaled):
            self.kernel, self.factors = kernel.kernel, (*kernel.factors, *factors)
        self.shape, self.size = kernel.shape, kernel.size

    def rows(self):
        """The kernel along its first axis, in float64."""
        factors = [np.broadcast_to(factor, self.shape) for factor in self.factors]
        for row, *parts in zip(self.kernel, *factors, strict=True):
            yield prod(parts, start=row.astype(np.float64))

    def reshape(self, *shape):
        """The kernel itself, in float32."""
        rounded = np.empty(self.shape, np.float32)
        for at, row in enumerate(self.rows()):
            rounded[at] = row
        return rounded.reshape(*shape)


def deploy(net, outputs, target=targets.TARGETS["portable"]):
    """The deploy form of `net`. The blobs in `outputs` stay, and those that no layer reads.

    Layer types that the target does not have are rewritten first, so that the passes fold what
    stands for them; the rest once it is folded, for a kernel's size, say, may have changed.
    """
    last, net = net.outputs(), separated(net)
    outputs = {*outputs, *last}
    net = lowering.fit(net, target, lowering.of_type)
    for step in PASSES:
        net = step(net, outputs)
    net = in_place(lowering.fit(net, target, lowering.native), outputs)
    check(net, last)
    return net


def outputs_of(graph, table):
    """The blobs of the graph's outputs, as far as there are such."""
    return {output.blob for output in table.outputs if output.name in graph.outputs} - {""}


def surviving(table, net, deployed):
    """The table of the blobs of `net` that are still made, as they are called now."""
    places = written(net)
    blobs = {place: blob for blob, place in written(deployed).items()}
    for layer in net.layers:
        if layer.tops[1:]:  # where a Slice became layers, each is called as the top that it makes
            for at, top in enumerate(layer.tops):
                blobs.setdefault((layer.name, at), blobs.get((top, 0)))
    found = [(entry, blobs.get(places[entry.blob])) for entry in table.layers]
    return replace(table, layers=[replace(entry, blob=blob) for entry, blob in found if blob])


def named(net, deployed, outputs):
    """(the deploy form with each folded layer called as its convolution or dense layer, aliases).

    `net` is the network before it was folded, in which the layer was called as the last of those
    that it stands for: `aliases` are {name now: that name}. Its blob is called as the layer. One
    that makes an output stays as it is: OpenCV finds an output by the name of its layer.
    """
    makers = {top: layer for layer in net.layers for top in layer.tops}
    before, taken = {layer.name: layer for layer in net.layers}, {*deployed.shapes}
    taken |= {layer.name for layer in deployed.layers}
    aliases, blobs = {}, {}
    for layer in deployed.layers:
        first = _linear_before(before.get(layer.name), makers) if is_linear(layer) else None
        known = first is None or first.name in taken or layer.tops[0] in outputs
        if not known and first.type == layer.type:
            aliases[first.name] = layer.name
            blobs[layer.tops[0]] = first.name
    names = {old: new for new, old in aliases.items()}
    layers = [rewired(layer, blobs, blobs) for layer in deployed.layers]
    for layer in layers:
        layer.message.name = names.get(layer.name, layer.name)
    return rebuilt(deployed.name, layers), aliases


def _linear_before(layer, makers):
    """The convolution or dense layer whose output only affine layers change before `layer` ends.

    None if `layer` is one itself.
    """
    while layer is not None and not is_linear(layer):
        if len(layer.bottoms) != 1 or layer.type not in AFFINES:
            return None
        layer = makers.get(layer.bottoms[0])
        if layer is not None and is_linear(layer):
            return layer
    return None


def written(net):
    """{blob: (the layer that writes it last, which of its tops)}."""
    return {top: (layer.name, at) for layer in net.layers for at, top in enumerate(layer.tops)}


def rewired(layer, bottoms, tops):
    """The layer with its blobs called otherwise: {name: new name}, for both sides."""
    message = schema.LayerParameter()
    message.CopyFrom(layer.message)
    message.bottom[:] = [bottoms.get(blob, blob) for blob in layer.bottoms]
    message.top[:] = [tops.get(blob, blob) for blob in layer.tops]
    return Layer(message, layer.blobs, layer.shapes)


def rebuilt(name, layers):
    """A network of these layers: all shapes are derived, all weights checked again."""
    net = Net(name)
    for layer in layers:
        net.append(layer.message, layer.blobs)
    return net


def separated(net):
    """Nothing in place: of layers that write one blob, only the last one's top keeps its name."""
    last = {top: layer for layer in net.layers for top in layer.tops}
    apart, names = Net(net.name), {}
    apart.shapes |= net.shapes  # so that `free` keeps clear of them
    for layer in net.layers:
        own = {top: f"{layer.name}/{top}" if layer.tops[1:] else layer.name for top in layer.tops}
        tops = {top: top if last[top] is layer else apart.free(own[top]) for top in layer.tops}
        made = rewired(layer, names, tops)
        apart.append(made.message, made.blobs)
        names.update(tops)
    return rebuilt(net.name, apart.layers)


def without_idle(net, outputs):
    """Layers that change nothing are left out, unless what they make is an output."""
    names, layers = {}, []
    for layer in net.layers:
        if is_idle(layer, net) and outputs.isdisjoint(layer.tops):
            bottom = layer.bottoms[0]
            names |= dict.fromkeys(layer.tops, names.get(bottom, bottom))
        else:
            layers.append(rewired(layer, names, {}))
    return rebuilt(net.name, layers)


def is_idle(layer, net):
    if len(layer.bottoms) != 1 or not layer.tops:
        return False
    if layer.type in SHAPING:
        return layer.shape == net.shapes[layer.bottoms[0]]
    found = affine(layer)
    return layer.type in IDLE or bool(found and np.all(found.gamma == 1) and not np.any(found.beta))


def joining(rule, net, outputs):
    """Every layer that `rule` can make one with the layer whose output it alone reads.

    The one layer stands in the reader's place, is called as it, and makes its blob.
    """
    found, layers = Makers(net, outputs), []
    for layer in net.layers:
        while (first := found.private(layer)) and (made := rule(first, layer)):
            layers.remove(first)
            layer = made
        layers.append(layer)
        found.add(layer)
    return rebuilt(net.name, layers)


class Makers:
    """Which layer makes each blob, as far as layers were added, and which blobs one layer reads."""

    def __init__(self, net, outputs):
        readers = Counter(bottom for layer in net.layers for bottom in layer.bottoms)
        self.private_blobs = {blob for blob, count in readers.items() if count == 1} - outputs
        self.makers = {}

    def add(self, layer):
        self.makers.update(dict.fromkeys(layer.tops, layer))

    def private(self, layer):
        """The layer whose one output `layer` alone reads, and it nothing else; or None."""
        if len(layer.bottoms) != 1 or layer.bottoms[0] not in self.private_blobs:
            return None
        first = self.makers[layer.bottoms[0]]
        return first if len(first.tops) == 1 else None


def joined(first, second, message, blobs):
    """A layer with the settings of `message` in the place of the two."""
    new = schema.LayerParameter()
    new.CopyFrom(message)
    new.name, new.bottom[:], new.top[:] = second.name, first.bottoms, second.tops
    return Layer(new, blobs, second.shapes)


def affine(layer):
    """What a layer does to each channel, as an `Affine`; None if that is not all that it does."""
    return AFFINES[layer.type](layer) if layer.type in AFFINES and len(layer.bottoms) == 1 else None


def _power(layer):
    """With scale 0 it is a constant, which is left alone."""
    param = layer.message.power_param
    if param.power != 1 or param.scale == 0:
        return None
    return Affine(np.float64(param.scale), np.float64(param.shift))


def _scale(layer):
    param, blobs = layer.message.scale_param, [blob.astype(np.float64) for blob in layer.blobs]
    if (param.axis, param.num_axes) != (1, 1):
        return None
    return Affine(blobs[0], blobs[1] if param.bias_term else np.float64(0))


def _bias(layer):
    param = layer.message.bias_param
    if (param.axis, param.num_axes) != (1, 1):
        return None
    return Affine(np.float64(1), layer.blobs[0].astype(np.float64))


def _batch_norm(layer):
    """Caffe divides mean and variance by the third blob, unless that is 0: then both are 0."""
    param = layer.message.batch_norm_param
    if param.HasField("use_global_stats") and not param.use_global_stats:
        return None
    mean, variance, (divisor,) = (blob.astype(np.float64) for blob in layer.blobs)
    factor = 1 / divisor if divisor else 0.0
    gamma = 1 / np.sqrt(variance * factor + param.eps)
    return Affine(gamma, -mean * factor * gamma)


AFFINES = {"BatchNorm": _batch_norm, "Bias": _bias, "Power": _power, "Scale": _scale}


def shape_and_shape(first, second):
    """Of two layers that only give the same numbers other axes, the last one is enough."""
    if not (keeps_batch(first) and keeps_batch(second)):
        return None
    if len(second.shape) == 2:
        return joined(first, second, schema.LayerParameter(type="Flatten"), [])
    dims = [0, *second.shape[1:]]  # 0: the batch, whatever it is
    message = schema.LayerParameter(type="Reshape", reshape_param={"shape": {"dim": dims}})
    return joined(first, second, message, [])


def keeps_batch(layer):
    """Whether it changes axes, and only those after the batch."""
    if layer.type == "Reshape":
        param = layer.message.reshape_param
        return param.axis == 0 and list(param.shape.dim[:1]) == [0]
    return layer.type == "Flatten" and layer.message.flatten_param.axis == 1


def affine_and_affine(first, second):
    """One Power if both are the same for all channels (a power then may follow), else one Scale."""
    one = affine(first)
    if one is None:
        return None
    if second.type == "Power" and np.ndim(one.gamma) == np.ndim(one.beta) == 0:
        param = second.message.power_param
        other = Affine(np.float64(param.scale), np.float64(param.shift))
        both = in_turn(one, other)
        message = schema.LayerParameter(
            type="Power",
            power_param={"power": param.power, "scale": both.gamma, "shift": both.beta},
        )
        kept = keeps_digits(first, one, second, other) and representable(*both)
        return joined(first, second, message, []) if kept else None
    other = affine(second)
    if other is None or not keeps_digits(first, one, second, other):
        return None
    both = in_turn(one, other)
    if not representable(*both):
        return None
    blobs = [np.float32(numbers) for numbers in both.over(first.shape[1])]
    message = schema.LayerParameter(type="Scale", scale_param={"bias_term": True})
    return joined(first, second, message, blobs)


def in_turn(one, other):
    return Affine(one.gamma * other.gamma, one.beta * other.gamma + other.beta)


def keeps_digits(first, one, second, other):
    """Whether two affines in turn (their layers, and what these do) may be one; see the head.

    A BatchNorm's shift is in standard deviations. That of x + h is in units of what is made of it
    then, that of g x + h in both these and its own, since either may be about 1.
    """
    before, after = np.abs(one.beta), np.abs(one.beta * other.gamma)
    if first.type == "BatchNorm":
        shift = before
    else:
        shift = np.where(one.gamma == 1, after, np.maximum(before, after))
    same = is_exact(other.gamma) & (other.beta == 0) & (first.type != "BatchNorm")
    same = same | ((one.beta == 0) & (is_exact(one.gamma) | is_exact(other.gamma)))
    same = same & (second.type != "BatchNorm")  # it subtracts first
    return bool(np.all(same | ((shift <= DIGITS) & (np.abs(other.beta) <= DIGITS))))


def is_exact(factors):
    """Whether a product with each is not rounded: it is a power of two."""
    return np.abs(np.frexp(factors)[0]) == 0.5


def representable(*arrays):
    """Whether float32 holds all these numbers with all their digits."""
    sizes = [np.abs(numbers) for numbers in arrays]
    return all(np.all((size <= LARGE) & ((size >= SMALL) | (size == 0))) for size in sizes)


def pad_and_convolution(first, second):
    """Zeros that a delta kernel puts around: the next convolution pads as much itself.

    Where they are uneven by one, as in TensorFlow's SAME, its kernel takes zeros in.
    """
    added = delta_pads(first)
    if added is None or second.type != "Convolution" or min(map(min, added)) < 0:
        return None
    kernel, _, pad, dilation = convolution_settings(second.message)
    pads = [(a + p, b + p) for (a, b), p in zip(added, pad, strict=True)]
    zeros = [(max(after - before, 0), max(before - after, 0)) for before, after in pads]
    if any(sum(pair) > (d == 1) for pair, d in zip(zeros, dilation, strict=True)):
        return None
    weights, *bias = second.blobs
    if any(map(any, zeros)):
        weights = np.pad(weights, [(0, 0), (0, 0), *zeros])
    size = [n - sum(pair) for n, pair in zip(first.shape[2:], added, strict=True)]
    if mistaken(weights, size, pads, dilation):
        return None
    made = joined(first, second, second.message, [weights, *bias])
    set_sizes(made.message.convolution_param, "pad", [max(pair) for pair in pads])
    set_sizes(made.message.convolution_param, "kernel_size", weights.shape[2:])
    return made


def delta_pads(layer):
    """Zeros (before, after) that a layer adds along h and w, if that is all that it does.

    It is a depthwise convolution whose kernels are all the same, a 1 among zeros; what is less
    than 0 is cut off.
    """
    if layer.type != "Convolution" or len(layer.blobs) != 1 or layer.blobs[0].shape[1] != 1:
        return None
    kernel, stride, pad, dilation = convolution_settings(layer.message)
    weights, group = layer.blobs[0], layer.message.convolution_param.group
    places = np.argwhere(weights[0, 0])
    if (stride, dilation, group, len(places)) != ((1, 1), (1, 1), len(weights), 1):
        return None
    if weights[0, 0].max() != 1 or not (weights == weights[0]).all():
        return None
    return [(p - at, p - (k - 1 - at)) for p, k, at in zip(pad, kernel, places[0], strict=True)]


def set_sizes(param, name, sizes):
    """Set a Convolution's setting along h and w, in place of what it was."""
    stem = name.removesuffix("_size")
    for field in (name, f"{stem}_h", f"{stem}_w"):
        param.ClearField(field)
    param.MergeFrom(type(param)(**sized(name, sizes, many=True)))


def is_linear(layer):
    """Whether it is a kernel times its one input, plus a bias a channel."""
    if layer.type == "InnerProduct":
        param = layer.message.inner_product_param
        return param.axis == 1 and not param.transpose
    return layer.type in ("Convolution", "Deconvolution") and len(layer.bottoms) == 1


def linear_and_affine(first, second):
    """A kernel takes in what becomes of its output: y = g (W x + b) + h = (g W) x + (g b + h)."""
    found = affine(second)
    if found is None or not is_linear(first):
        return None
    bias = first.blobs[1].astype(np.float64) if len(first.blobs) > 1 else np.float64(0)
    one = Affine(kernel_factor(first), bias)
    if one.gamma and not keeps_digits(first, one, second, found):
        return None
    gamma, beta = found.over(first.shape[1])
    beta = gamma * bias + beta
    if not takes_in(first.blobs[0], gamma, beta):
        return None
    kernel = Scaled(first.blobs[0], per_output(first, gamma))
    return with_bias(joined(first, second, first.message, [kernel]), beta)


def affine_and_linear(first, second):
    """A kernel takes in what became of its input: y = W (g x + h) + b = (W g) x + (W h + b).

    A shift reaches every place of the output alike only where no zeros are padded.
    """
    found = affine(first)
    if found is None or not is_linear(second):
        return None
    if np.any(found.beta) and not meets_no_padding(second):
        return None
    gamma, beta = found.over(first.shape[1])
    bias = second.blobs[1].astype(np.float64) if len(second.blobs) > 1 else np.zeros(())
    shift = shift_behind(second, gamma, beta) if np.any(beta) else 0
    if shift is None or not takes_in(second.blobs[0], gamma, bias + shift):
        return None
    kernel = Scaled(second.blobs[0], per_input(second, gamma))
    return with_bias(joined(first, second, second.message, [kernel]), bias + shift)


def shift_behind(layer, gamma, beta):
    """W h for each row of the layer's kernel; None if too many digits would be lost."""
    kernel = Scaled(layer.blobs[0])
    shift = np.broadcast_to(per_input(layer, beta), kernel.shape)
    shifts = [through(row, part) for row, part in zip(kernel.rows(), shift, strict=True)]
    own = np.where(gamma == 1, 0, np.abs(beta))  # the unit of x + h is not known
    if not (np.all(own <= DIGITS) and max(size for _, size in shifts) <= KERNEL_DIGITS):
        return None
    return np.array([total for total, _ in shifts])


def through(row, shift):
    """What a shift is behind a row of a kernel: (its value, the size of its terms together)."""
    terms = row * shift
    return np.sum(terms), np.sqrt(np.sum(terms**2))


def kernel_factor(layer):
    """1 if each number of the output is one of the input times a power of two; 3, which stands for
    what is no power of two, if it is one times any factor; 0 if there are sums.
    """
    kernel = layer.blobs[0]
    kernel = kernel.kernel if isinstance(kernel, Scaled) else kernel
    if layer.type == "Deconvolution":
        size, stride, _, dilation = convolution_settings(layer.message)
        group = layer.message.convolution_param.group
        terms = np.count_nonzero(kernel.reshape(group, -1, *kernel.shape[1:]), 1)
        apart = dilation == (1, 1) and all(k <= step for k, step in zip(size, stride, strict=True))
    else:
        terms, apart = np.count_nonzero(kernel, tuple(range(1, kernel.ndim))), True
    if not apart or terms.max() > 1:
        return 0
    values = Scaled(layer.blobs[0]).reshape(*kernel.shape)
    return 1 if np.all(is_exact(values) | (values == 0)) else 3


def takes_in(kernel, gamma, bias):
    """Whether float32 holds the products of a kernel with these factors, and the bias."""
    factors = [gamma]
    if isinstance(kernel, Scaled):
        kernel, factors = kernel.kernel, [*kernel.factors, gamma]
    sizes = [np.abs(factor[factor != 0]) for factor in factors]
    moderate = all(np.all((size <= GAIN) & (size >= 1 / GAIN)) for size in sizes)
    largest = prod([size.max(initial=0) for size in sizes], start=max(kernel.max(), -kernel.min()))
    return moderate and representable(bias) and largest <= LARGE


def meets_no_padding(layer):
    """Whether every number of the kernel meets a number of the input, wherever the kernel lies."""
    if layer.type == "Convolution":
        return convolution_settings(layer.message)[2] == (0, 0)
    return layer.type == "InnerProduct"


def per_output(layer, numbers):
    """A number for each channel of the output (O,), as it is to be multiplied with the kernel."""
    if layer.type == "Deconvolution":  # (I, O / group, H, W)
        return _in_groups(layer, numbers, layer.blobs[0].shape[0])
    return numbers.reshape(-1, *[1] * (len(layer.blobs[0].shape) - 1))


def per_input(layer, numbers):
    """A number for each channel of the input (I,), as it is to be multiplied with the kernel.

    A dense layer may read an image: C, H, W in one.
    """
    if layer.type == "InnerProduct":
        return np.repeat(numbers, layer.blobs[0].shape[1] // len(numbers))[None]
    if layer.type == "Convolution":  # (O, I / group, H, W)
        return _in_groups(layer, numbers, layer.blobs[0].shape[0])
    return numbers.reshape(-1, 1, 1, 1)


def _in_groups(layer, numbers, rows):
    """(channels,) -> (rows, channels / group, 1, 1), for the rows of a group its own channels."""
    group = layer.message.convolution_param.group
    rows = rows if group > 1 else 1
    return np.repeat(numbers.reshape(group, -1), rows // group, axis=0)[:, :, None, None]


def with_bias(layer, bias):
    """The layer with this bias behind its kernel; with none if there is nothing but zeros."""
    field = "inner_product_param" if layer.type == "InnerProduct" else "convolution_param"
    param = getattr(layer.message, field)
    if np.any(bias):
        param.ClearField("bias_term")
        layer.blobs.append(np.float32(bias))
    else:
        param.bias_term = False
    return layer


def flatten_and_dense(first, second):
    """A dense layer flattens what it reads itself."""
    if (first.type, second.type) != ("Flatten", "InnerProduct"):
        return None
    if not keeps_batch(first) or not is_linear(second):
        return None
    return joined(first, second, second.message, second.blobs)


def in_place(net, outputs):
    """Activations write over what they alone read, and so leave it under the name that it had.

    OpenCV calls a convolution as its blob, so the blob cannot be called as the activation.
    """
    found, names = Makers(net, outputs), {}
    for layer in net.layers:
        first = found.private(layer) if layer.type in IN_PLACE else None
        if first and first.type not in SHARING and layer.tops[0] not in outputs:
            names[layer.tops[0]] = names.get(layer.bottoms[0], layer.bottoms[0])
        found.add(layer)
    return rebuilt(net.name, [rewired(layer, names, names) for layer in net.layers])


# In order: each affine is one layer before it is folded, and pads are with their convolution.
PASSES = (
    partial(joining, shape_and_shape),
    without_idle,
    partial(joining, affine_and_affine),
    partial(joining, pad_and_convolution),
    partial(joining, linear_and_affine),
    partial(joining, lambda *two: affine_and_linear(*two) or flatten_and_dense(*two)),
)
