"""Lowering: the layers that a target does not take are replaced by layers that it takes.

Each function of REWRITES, at the foot, appends to a network the layers that together equal one
layer; the last of them bears that layer's name. If it appends nothing, the layer stays as it is,
and `targets.check` names it.
"""

import numpy as np

from tf2caffe.caffe import targets
from tf2caffe.caffe.builder import Builder, dilated
from tf2caffe.caffe.shapes import convolution_settings

GROWTH = 4  # rows and columns of zeros by which a kernel may grow on each side


def fit(net, target, rewrites=None):
    """The network with every layer replaced that the target does not take, where that is possible.

    The pass is repeated until it changes nothing, because what stands for a layer may have to be
    replaced too. No layer may work in place: what stands for it may read its bottom twice.
    `rewrites` lists the functions for one layer, by default those for the inspectable form, which
    BVLC Caffe runs too.
    """
    while (fitted := _rewritten(net, target, rewrites or inspectable)) is not None:
        net = fitted
    return net


def _rewritten(net, target, rewrites):
    """The network with each layer replaced once; None if no layer was replaced."""
    fitted, around, count = Builder(net.name), targets.Surroundings(net), 0
    for layer in net.layers:
        if any(
            _helped(rewrite, layer, fitted, net, target)
            for rewrite in rewrites(layer, around, target)
        ):
            count += 1
        else:
            fitted.append(layer.message, layer.blobs)
    return fitted if count else None


def _helped(rewrite, layer, fitted, net, target):
    """Whether the rewrite added layers; the last of them makes the layer's blob."""
    made, fitted.reserved = len(fitted.layers), net.shapes.keys() - {layer.name, *layer.tops}
    rewrite(layer, fitted, target)
    if len(fitted.layers) > made and len(layer.tops) == 1:
        fitted.rename_last(layer.name, layer.tops[0])
    return len(fitted.layers) > made


def native(layer, around, target):
    """The rewrites of a layer that the target does not take."""
    for rule, _ in targets.broken(layer, around, target):
        yield from REWRITES.get((layer.type, rule.quantity), ())


def of_type(layer, around, target):
    """The rewrites of a layer whose type the target does not have."""
    if not target.takes(layer.type):
        yield from REWRITES.get((layer.type, "type"), ())


def inspectable(layer, around, target):
    """The rewrites of a layer that the target does not take, or that BVLC Caffe does not have."""
    if layer.type not in targets.CAFFE:
        yield from REWRITES.get((layer.type, "type"), ())
    yield from native(layer, around, target)


def scale_for_power(layer, net, target):
    """a x + b as the same factor and shift for every channel."""
    param, channels = layer.message.power_param, layer.shape[1]
    if param.power == 1:
        factors = np.full(channels, param.scale), np.full(channels, param.shift)
        net.affine(layer.name, layer.bottoms[0], *factors)


def product_for_square(layer, net, target):
    """(a x + b)^2 as a product."""
    param = layer.message.power_param
    if param.power == 2:
        x = net.affine(f"{layer.name}/x", layer.bottoms[0], param.scale, param.shift)
        net.eltwise(layer.name, "PROD", x, x)


def norm_before_scale(layer, net, target):
    """A BatchNorm that changes nothing, before a Scale that stands alone."""
    channels, unscaled = layer.shape[1], np.ones(1, np.float32)
    same = [np.zeros(channels, np.float32), np.ones(channels, np.float32), unscaled]
    param = {"eps": 0.0, "use_global_stats": True}
    norm = net.add("BatchNorm", f"{layer.name}/norm", layer.bottoms, same, batch_norm_param=param)
    scale = {"bias_term": len(layer.blobs) > 1}
    net.add("Scale", layer.name, norm, layer.blobs, scale_param=scale)


def scale_behind_norm(layer, net, target):
    """A Scale that changes nothing, behind a BatchNorm that stands alone."""
    param = {"batch_norm_param": layer.message.batch_norm_param}
    norm = net.add("BatchNorm", f"{layer.name}/norm", layer.bottoms, layer.blobs, **param)
    same = np.ones(layer.shape[1], np.float32), np.zeros(layer.shape[1], np.float32)
    net.add("Scale", layer.name, norm, same, scale_param={"bias_term": True})


def sum_of_multiples(layer, net, target):
    """A sum with coefficients as the sum of multiples."""
    factors = layer.message.eltwise_param.coeff
    blobs = [
        blob if factor == 1 else net.affine(f"{layer.name}/operand{at}", blob, factor)
        for at, (blob, factor) in enumerate(zip(layer.bottoms, factors, strict=True))
    ]
    net.eltwise(layer.name, "SUM", *blobs)


def undilated(layer, net, target):
    """Dilation as zeros in the kernel."""
    settings = dict(zip(("stride", "pad"), convolution_settings(layer.message)[1:3], strict=True))
    dilation = convolution_settings(layer.message)[3]
    kernel, bias = dilated(_kernel(layer), dilation), _bias(layer)
    net.convolve(layer.name, layer.bottoms[0], kernel, bias, **settings)


def wider_kernel(layer, net, target):
    """The smallest kernel that the target takes, with zeros around what is there."""
    kernel, stride, pad, dilation = convolution_settings(layer.message)
    if dilation != (1, 1):
        return
    size = net.shapes[layer.bottoms[0]][2:]
    kinds = ("Convolution", "depthwise") if targets.is_depthwise(layer) else ("Convolution",)
    grown = [
        _grown(kinds, target, *axis)
        for axis in zip(size, kernel, stride, pad, layer.shape[2:], strict=True)
    ]
    if None not in grown:
        weights = np.pad(_kernel(layer), [(0, 0), (0, 0), *grown])
        pads = [p + before for p, (before, _) in zip(pad, grown, strict=True)]
        net.convolve(layer.name, layer.bottoms[0], weights, _bias(layer), stride, pads)


def full_kernel(layer, net, target):
    """A depthwise convolution as one of all channels, most of its kernel zeros."""
    kernel, stride, pad, dilation = convolution_settings(layer.message)
    if targets.is_depthwise(layer) and all(
        _allows(target, "kernel", size, "Convolution") for size in kernel
    ):
        weights = _kernel(layer)
        outputs, inputs = len(weights), layer.message.convolution_param.group
        full = np.zeros((outputs, inputs, *kernel), np.float32)
        full[np.arange(outputs), np.arange(outputs) * inputs // outputs] = weights[:, 0]
        net.convolve(layer.name, layer.bottoms[0], full, _bias(layer), stride, pad, dilation)


def _grown(kinds, target, size, kernel, stride, pad, out):
    """Zeros (before, after) a kernel along one axis, with as much more padding as before."""
    ways = [(a, b) for a in range(GROWTH + 1) for b in range(GROWTH + 1)]
    for before, after in sorted(ways, key=sum):
        length = size + 2 * (pad + before) - (kernel + before + after)
        fits = _allows(target, "kernel", kernel + before + after, *kinds)
        fits = fits and _allows(target, "pad", pad + before, *kinds)
        if fits and length >= 0 and length // stride + 1 == out:
            return before, after
    return None


def _allows(target, quantity, value, *kinds):
    """Whether layers of all these kinds may have this value."""
    rules = [rule for rule in target.rules if rule.quantity == quantity]
    return all(value in rule.allowed for rule in rules if {*rule.layers.split()} & {*kinds})


def _kernel(layer):
    """The kernel as an array; in the deploy form it may be a product that is not computed yet."""
    return layer.blobs[0].reshape(*layer.blobs[0].shape)


def _bias(layer):
    return layer.blobs[1] if len(layer.blobs) > 1 else None


def bias_of_zeros(layer, net, target):
    """A dense layer without a bias gets one."""
    net.multiply(layer.name, layer.bottoms[0], layer.blobs[0], np.zeros(layer.shape[1], np.float32))


def sum_of_halves(layer, net, target):
    """|x| = relu(x) + relu(-x)."""
    net.eltwise(layer.name, "SUM", *net.halves(layer.name, layer.bottoms[0]))


def slopes_of_halves(layer, net, target):
    """relu(x) - alpha relu(-x)."""
    above, below = net.halves(layer.name, layer.bottoms[0])
    alpha = _kernel(layer)
    fall = net.affine(f"{layer.name}/fall", below, -alpha if alpha.ndim else -alpha.item())
    net.eltwise(layer.name, "SUM", above, fall)


def tanh_of_half(layer, net, target):
    """elu(x) = relu(x) - alpha (1 - e^-b), b = relu(-x); 1 - e^-b = 2 t / (1 + t), t = tanh(b / 2).

    So no digits are lost next to 0.
    """
    name, part = layer.name, 0.5 / layer.message.elu_param.alpha
    above, below = net.halves(name, layer.bottoms[0])
    tanh = net.add("TanH", f"{name}/tanh", net.affine(f"{name}/half", below, 0.5))
    share = net.affine(f"{name}/share", tanh, part, part, -1.0)
    fall = net.eltwise(f"{name}/fall", "PROD", tanh, share)
    net.eltwise(name, "SUM", above, fall, (1, -1))


def log_of_one_and_decay(layer, net, target):
    """log(1 + e^x) = relu(x) + log(1 + d) with d = e^-|x|, and log(1 + d) = d * P(d)."""
    above, below = net.halves(layer.name, layer.bottoms[0])
    size = net.eltwise(f"{layer.name}/size", "SUM", above, below)
    decay = net.decay(f"{layer.name}/decay", size)
    share = net.powers(f"{layer.name}/share", decay, LOG1P)
    log = net.eltwise(f"{layer.name}/log", "PROD", decay, share)
    net.eltwise(layer.name, "SUM", above, log)


def softmax_for_exp(layer, net, target):
    """e^x by a Softmax."""
    param = layer.message.exp_param
    if param.base != -1:
        return
    x = layer.bottoms[0]
    if (param.scale, param.shift) != (1, 0):
        x = net.affine(f"{layer.name}/x", x, param.scale, param.shift)
    net.exp(layer.name, x)


def least_of_six(layer, net, target):
    """relu(min(x, 6)) with min(x, 6) = -max(-x, -6): exact, whatever the size of x.

    The constant is made of -x, so that the layer before has one reader and can take in the sign.
    """
    if not target.allows("Eltwise", "operation", "MAX"):
        return
    minus = net.affine(f"{layer.name}/minus", layer.bottoms[0], -1.0)
    floor = net.affine(f"{layer.name}/floor", minus, 0.0, -6.0)
    most = net.eltwise(f"{layer.name}/most", "MAX", minus, floor)
    net.add("ReLU", layer.name, net.affine(f"{layer.name}/least", most, -1.0))


def relu_less_what_is_beyond(layer, net, target):
    """relu(x) - relu(x - 6), which loses nothing where x is small, and up to 400 no more than the
    proof allows: one rounding of x."""
    above = net.add("ReLU", f"{layer.name}/above", layer.bottoms[0])
    beyond = net.affine(f"{layer.name}/minus", layer.bottoms[0], beta=-6.0)
    beyond = net.add("ReLU", f"{layer.name}/beyond", beyond)
    net.eltwise(layer.name, "SUM", above, beyond, (1, -1))


def kernel_a_piece(layer, net, target):
    """A kernel for each piece that picks it out of the whole, along whichever axis it is."""
    blob, param, start = layer.bottoms[0], layer.message.slice_param, 0
    axis = (param.slice_dim if param.HasField("slice_dim") else param.axis) % len(layer.shape)
    if len(layer.shape) not in (2, 4) or axis == 0:
        return
    for top, shape in zip(layer.tops, layer.shapes, strict=True):
        _pick(net, top, blob, axis, range(start, start + shape[axis]))
        start += shape[axis]


def _pick(net, name, blob, axis, taken):
    """These channels, rows or columns of a blob."""
    length = net.shapes[blob][axis]
    if axis > 1:
        before, after = [[0, 0], [0, 0]]
        before[axis - 2], after[axis - 2] = -taken.start, taken.stop - length
        return net.place(name, blob, before, after)
    if len(net.shapes[blob]) == 4:
        return net.pick(name, blob, np.arange(taken.start, taken.stop))
    return net.multiply(name, blob, np.eye(length, dtype=np.float32)[taken.start : taken.stop])


# log(1 + d) / d of 0 <= d <= 1 as a chain of powers, right to 5e-9: a least-squares fit.
LOG1P = ((1.3800901671, 1.3606721095, 0.3933759666), (0.4841903463, 0.4534479425, -2.2928569706))

# (layer type, the quantity that breaks a rule) -> what may be written instead.
REWRITES = {
    ("AbsVal", "type"): (sum_of_halves,),
    ("BatchNorm", "followed by"): (scale_behind_norm,),
    ("BNLL", "type"): (log_of_one_and_decay,),
    ("Convolution", "dilation"): (undilated,),
    ("Convolution", "uneven dilation"): (undilated,),
    ("Convolution", "kernel"): (wider_kernel, full_kernel),
    ("Convolution", "pad"): (full_kernel,),
    ("ELU", "type"): (tanh_of_half,),
    ("Eltwise", "coefficients"): (sum_of_multiples,),
    ("Exp", "type"): (softmax_for_exp,),
    ("InnerProduct", "weights"): (bias_of_zeros,),
    ("PReLU", "bottom axes"): (slopes_of_halves,),
    ("PReLU", "type"): (slopes_of_halves,),
    ("Power", "type"): (scale_for_power, product_for_square),
    ("ReLU6", "type"): (least_of_six, relu_less_what_is_beyond),
    ("Scale", "preceded by"): (norm_before_scale,),
    ("Slice", "type"): (kernel_a_piece,),
}
