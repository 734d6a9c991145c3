"""What each chip's compiler takes of Caffe: one table a target, with the source of every rule.

A `Rule` names layers, a quantity of theirs (QUANTITIES, at the foot) and the values it may have.
`broken` lists the rules that a layer breaks; `lowering` replaces what can be replaced.
"""

import textwrap
from math import prod
from typing import NamedTuple

from tf2caffe.caffe import schema
from tf2caffe.caffe.shapes import convolution_settings, pooling_settings
from tf2caffe.failure import Failure, listed


class Whole(NamedTuple):
    """The whole numbers from the first to the last; without a last, all of them."""

    first: int
    last: int | None = None

    def __contains__(self, value):
        return value == int(value) and self.first <= value and not (self.last and value > self.last)

    def __str__(self):
        return (
            f"whole numbers from {self.first}"
            if self.last is None
            else f"{self.first} to {self.last}"
        )


class Rule(NamedTuple):
    """Of these layer types, each value of this quantity has to be in `allowed`."""

    layers: str
    quantity: str
    allowed: object  # whatever has `in`
    source: str  # a key of SOURCES


class Target(NamedTuple):
    """A consumer, or several. `tried`: what of it was run, or that nothing was."""

    title: str
    tried: str
    rules: tuple

    def takes(self, kind):
        """Whether it has this layer type."""
        return all(kind in rule.allowed for rule in self.rules if rule.quantity == "type")

    def allows(self, kind, quantity, value):
        """Whether it has this layer type, and with this value."""
        rules = [rule for rule in self.rules if rule.quantity == quantity]
        return self.takes(kind) and all(
            value in rule.allowed for rule in rules if kind in rule.layers.split()
        )


class Surroundings:
    """What rules ask of a network beside the layer itself: who reads and who makes its blobs."""

    def __init__(self, net):
        self.shapes = net.shapes
        self.readers, self.makers = {}, {}
        for layer in net.layers:
            for bottom in layer.bottoms:
                self.readers.setdefault(bottom, []).append(layer.type)
            self.makers |= dict.fromkeys(layer.tops, layer.type)


def broken(layer, around, target):
    """The rules that the layer breaks, each with the values that break it."""
    for rule in target.rules:
        if rule.layers == "*" or is_of(layer, rule.layers.split()):
            values = QUANTITIES[rule.quantity](layer, around)
            wrong = [value for value in values if value not in rule.allowed]
            if wrong:
                yield rule, wrong


def is_of(layer, kinds):
    """Whether the layer is one of these types; "depthwise" is a Convolution of single channels."""
    return layer.type in kinds or ("depthwise" in kinds and is_depthwise(layer))


def is_depthwise(layer):
    group = layer.message.convolution_param.group
    return layer.type == "Convolution" and group > 1 and layer.blobs[0].shape[1] == 1


def check(net, name):
    """Raise `Failure` that lists every layer that the target called `name` does not take."""
    text = refusal(net, name)
    if text:
        raise Failure(text)


def refusal(net, name):
    """The text that lists every layer that the target does not take; empty if there is none."""
    target, around, problems = TARGETS[name], Surroundings(net), []
    for layer in net.layers:
        for rule, wrong in broken(layer, around, target):
            problems.append(f"{layer.name} ({layer.type}): {told(rule, wrong)}")
    if not problems:
        return ""
    summary = f"--target {name} does not take {len(problems)} setting(s) of {net.name}"
    return f"{listed(summary, problems)}\n{ADVICE[name == 'portable']}"


ADVICE = {
    True: "end the network before these layers, or name your chip: --target list prints the names",
    False: "build the model with other layers, keep the outputs in Caffe's order (--output-order "
    "caffe), or see what --target portable and --deploy write",
}


def told(rule, wrong):
    """A broken rule in words."""
    if wrong == ["Threshold"]:
        return f"{STEP} ({rule.source})"
    if rule.quantity == "type":
        return f"it has no such layer ({rule.source})"
    values = ", ".join(map(shown, dict.fromkeys(wrong)))
    return f"{rule.quantity} {values}; allowed: {allowed(rule)} ({rule.source})"


STEP = (
    "a choice that jumps where the data cross a number; of those measured only BVLC Caffe has a "
    "layer for it: --target bvlc, or train with a choice that does not jump"
)


def allowed(rule):
    """The values that a rule allows, in words."""
    if isinstance(rule.allowed, Whole):
        return str(rule.allowed)
    return ", ".join(map(shown, rule.allowed))


def shown(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return f"({', '.join(map(shown, value))})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def print_all():
    """Every target, what it takes, and from where we know."""
    for name, target in TARGETS.items():
        print(f"{name}: {target.title}")
        print_wrapped(target.tried)
        for rule in target.rules:
            layers = "" if rule.layers == "*" else f"{rule.layers}: "
            takes = "layers" if rule.quantity == "type" else rule.quantity
            print_wrapped(f"{layers}{takes} {allowed(rule)} [{rule.source}]")
        print()
    print("sources:")
    for source, text in SOURCES.items():
        print_wrapped(f"[{source}] {text}")


def print_wrapped(text):
    print(textwrap.fill(text, 98, initial_indent="  - ", subsequent_indent="    "))


def spatial(settings, at):
    """The quantity that is the `at`-th of a layer's settings along h and w."""
    return lambda layer, around: list(settings(layer.message)[at])


def window(layer, around):
    """The kernel (h, w) of a Pooling; a global one is as large as the image."""
    if layer.message.pooling_param.global_pooling:
        return list(around.shapes[layer.bottoms[0]][2:])
    return list(pooling_settings(layer.message)[0])


def kernel(layer, around):
    return list(layer.blobs[0].shape[2:])


def setting(layer, name):
    """A setting of the layer; an enum's value is its number."""
    return schema.setting(layer.message, name)


def named(enum, layer, name):
    """A setting of the layer whose values are an enum's, as its name."""
    return schema.ENUMS[enum][1][setting(layer, name)]


def overhang(layer, around):
    """Rows and columns of the last windows that lie beyond the image."""
    kernel, stride, pad = pooling_settings(layer.message)
    if layer.message.pooling_param.global_pooling:
        return [0]
    sizes = zip(around.shapes[layer.bottoms[0]][2:], layer.shape[2:], strict=True)
    ends = [
        (out - 1) * s + k - p - n
        for (n, out), k, s, p in zip(sizes, kernel, stride, pad, strict=True)
    ]
    return [max(end, 0) for end in ends]


def axis(layer, around):
    """The axis of a Softmax or Concat, counted from 0."""
    return [setting(layer, "axis") % len(around.shapes[layer.bottoms[0]])]


def axes_after(layer, around):
    """How large the axes after the Softmax's are, in all: 1 if it is as good as the innermost."""
    shape = around.shapes[layer.bottoms[0]]
    return [prod(shape[setting(layer, "axis") % len(shape) + 1 :])]


def sizes(layer, around):
    """Height and width of each image that the layer reads or makes."""
    blobs = [around.shapes[bottom] for bottom in layer.bottoms] + list(layer.shapes)
    return [size for shape in blobs for size in shape[2:]]


def pool_of(kind, quantity):
    """A quantity of the Poolings of one kind, MAX or AVE; the others have none."""
    return lambda layer, around: (
        quantity(layer, around) if named("PoolMethod", layer, "pool") == kind else []
    )


# Quantity -> its values in a layer, given the layer and its `Surroundings`.
QUANTITIES = {
    "type": lambda layer, around: [layer.type],
    "kernel": kernel,
    "kernel area": lambda layer, around: [prod(kernel(layer, around))],
    "stride": spatial(convolution_settings, 1),
    "pad": spatial(convolution_settings, 2),
    "dilation": spatial(convolution_settings, 3),
    "uneven dilation": lambda layer, around: [len({*convolution_settings(layer.message)[3]}) > 1],
    "window of AVE": pool_of("AVE", window),
    "area of AVE": pool_of("AVE", lambda layer, around: [prod(window(layer, around))]),
    "pad of AVE": pool_of("AVE", spatial(pooling_settings, 2)),
    "cells of AVE beyond the image": pool_of("AVE", overhang),
    "width of MAX": pool_of("MAX", lambda layer, around: window(layer, around)[1:]),
    "rounding": lambda layer, around: [named("RoundMode", layer, "round_mode")],
    "operation": lambda layer, around: [named("EltwiseOp", layer, "operation")],
    "coefficients": lambda layer, around: [tuple(setting(layer, "coeff"))],
    "exponent": lambda layer, around: [setting(layer, "power")],
    "bottoms": lambda layer, around: [len(layer.bottoms)],
    "bottom axes": lambda layer, around: [len(around.shapes[blob]) for blob in layer.bottoms],
    "weights": lambda layer, around: [len(layer.blobs)],
    "axis": axis,
    "size of the axes after it": axes_after,
    "k": lambda layer, around: [setting(layer, "k")],
    "use_global_stats": lambda layer, around: [setting(layer, "use_global_stats")],
    "followed by": lambda layer, around: around.readers.get(layer.tops[0], ["nothing"]),
    "preceded by": lambda layer, around: [around.makers[layer.bottoms[0]]],
    "image size": sizes,
}

# Where what we say of a target comes from.
SOURCES = {
    "measured": "run here: see `make consumers` and docs/networks.md",
    "BVLC": "the layers of BVLC Caffe 1.0, as Debian 11 packages it",
    "RKNN list": "RKNN-Toolkit2 1.6.0, doc/RKNN-Toolkit2_OP_Support-1.6.0.md",
    "RKNN limits": "RKNN compiler's operator list: what its depthwise convolution takes",
    "PG403": "AMD, DPUCVDX8H product guide PG403 1.0, DPUCVDX8H Feature Support: one of the DPUs; "
    "others differ, see UG1414, Supported Operators and DPU Limitations",
    "Vitis-AI 47": "github.com/Xilinx/Vitis-AI/issues/47: the compiler's messages",
    "Sigmastar": "doc.comake.online, IPU Toolchain Operator Support, 1. Caffe Supported Operators",
    "NNIE": "HiSilicon's mapper takes Caffe 1.0's layers; its messages say which of them run on "
    "the chip itself",
    "CANN": "Huawei CANN, Caffe operator specifications: overview, and Deconvolution",
    "HiLens": "Huawei HiLens user guide, Caffe Operator Boundaries",
    "tpu-mlir": "sophgo/tpu-mlir, python/transform/CaffeConverter.py at 03835b5: Power raises 'not "
    "implemented', and of a list of two dilations the second is taken for h",
    "tpu-mlir 1.30.2": "measured: the interpreter of tpu-mlir 1.30.2, in single precision, adds "
    "the bottoms whatever the Eltwise's coefficients are",
    "SNPE": "Qualcomm SNPE reference guide, Supported Network Layers",
    "armnn": "ARM-software/armnn, src/armnnCaffeParser/CaffeSupport.md and CaffeParser.cpp: the "
    "dilation, the Eltwise's coefficients and the Softmax's axis are passed over in silence",
}

SAFE = (
    "Input", "Convolution", "Deconvolution", "InnerProduct", "BatchNorm", "Scale", "ReLU", "PReLU",
    "Sigmoid", "TanH", "Softmax", "Pooling", "LRN", "Eltwise", "Concat", "Flatten", "Reshape",
    "Power", "Dropout",
)  # fmt: skip
BVLC = (
    *SAFE, "AbsVal", "ArgMax", "Bias", "BNLL", "Crop", "ELU", "Exp", "Log", "Silence", "Slice",
    "Split",
)  # fmt: skip
CAFFE = (*BVLC, "Threshold")  # nobody else is known to have that one
DOCUMENTS = "from the documentation; never run here on the vendor's tool"

# The table of --target: what each takes.
TARGETS = {
    "portable": Target(
        "BVLC Caffe, OpenCV, OpenVINO, RKNN-Toolkit2, MNN and ncnn alike (the default)",
        "measured, each layer type and setting",
        (
            Rule("*", "type", SAFE, "measured"),
            Rule("Convolution", "uneven dilation", (False,), "measured"),
            Rule("Pooling", "pad of AVE", (0,), "measured"),
            Rule("Pooling", "cells of AVE beyond the image", (0,), "measured"),
            Rule("Pooling", "rounding", ("CEIL",), "measured"),
            Rule("BatchNorm", "followed by", ("Scale",), "measured"),
            Rule("Scale", "bottoms", (1,), "measured"),
            Rule("Eltwise", "bottoms", (2,), "measured"),
            Rule("Eltwise", "coefficients", ((), (1, 1), (1, -1)), "measured"),
            Rule("LRN", "k", (1,), "measured"),
            Rule("PReLU", "bottom axes", (4,), "measured"),
        ),
    ),
    "bvlc": Target(
        "BVLC Caffe itself", "measured", (Rule("*", "type", CAFFE, "BVLC"),),
    ),
    "rknn": Target(
        "Rockchip RKNN-Toolkit2",
        "its compiler and simulator were run: CONSUMERS=rknn make consumers",
        (
            Rule("*", "type", (*SAFE, "BNLL", "Crop", "ReLU6", "Slice", "Split"), "RKNN list"),
            Rule("depthwise", "kernel", Whole(1, 8), "RKNN limits"),
            Rule("depthwise", "stride", Whole(1, 7), "RKNN limits"),
            Rule("depthwise", "pad", Whole(0, 15), "RKNN limits"),
            Rule("Eltwise", "bottoms", (2,), "measured"),
            Rule("Eltwise", "coefficients", ((), (1, 1), (1, -1)), "measured"),
            Rule("LRN", "k", (1,), "measured"),
            Rule("PReLU", "bottom axes", (4,), "measured"),
            Rule("Pooling", "pad of AVE", (0,), "measured"),
            Rule("Pooling", "cells of AVE beyond the image", (0,), "measured"),
        ),
    ),
    "nnie": Target(
        "HiSilicon NNIE (nnie_mapper, RuyiStudio)",
        f"{DOCUMENTS}; the limits of its Pooling are in the SDK's manual and not checked here",
        (Rule("*", "type", BVLC, "NNIE"),),
    ),
    "atc": Target(
        "Huawei Ascend (ATC)",
        DOCUMENTS,
        (
            Rule("*", "type", BVLC, "CANN"),
            Rule("BatchNorm", "use_global_stats", (True,), "HiLens"),
            Rule("*", "image size", Whole(1, 4096), "CANN"),
            Rule("Deconvolution", "kernel", Whole(1, 255), "CANN"),
        ),
    ),
    "vitis": Target(
        "AMD Vitis AI (DPU)",
        DOCUMENTS,
        (
            Rule("*", "type", (
                "Input", "Convolution", "Deconvolution", "InnerProduct", "BatchNorm", "Scale",
                "ReLU", "PReLU", "Softmax", "Pooling", "Eltwise", "Concat", "Flatten", "Dropout",
            ), "Vitis-AI 47"),
            Rule("Eltwise", "operation", ("SUM",), "Vitis-AI 47"),
            Rule("Concat", "axis", (1,), "Vitis-AI 47"),
            Rule("Convolution", "kernel", Whole(1, 16), "PG403"),
            Rule("Convolution", "stride", Whole(1, 4), "PG403"),
            Rule("depthwise", "kernel", (3, 5), "PG403"),
        ),
    ),
    "sigmastar": Target(
        "Sigmastar (IPU toolchain)",
        DOCUMENTS,
        (
            Rule("*", "type", (
                "Input", "Convolution", "Deconvolution", "InnerProduct", "BatchNorm", "Scale",
                "ReLU", "PReLU", "Sigmoid", "TanH", "Softmax", "Pooling", "Eltwise", "Concat",
                "Flatten", "Reshape", "Power", "Dropout", "Slice", "Split", "Crop", "ArgMax",
            ), "Sigmastar"),
            Rule("Convolution Deconvolution", "kernel area", Whole(1, 63), "Sigmastar"),
            Rule("depthwise", "pad", Whole(0, 1), "Sigmastar"),
            Rule("Power", "exponent", Whole(1), "Sigmastar"),
            Rule("Softmax", "size of the axes after it", (1,), "Sigmastar"),
            Rule("Pooling", "window of AVE", Whole(1, 255), "Sigmastar"),
            Rule("Pooling", "area of AVE", Whole(1, 12288), "Sigmastar"),
            Rule("Pooling", "width of MAX", Whole(1, 255), "Sigmastar"),
        ),
    ),
    "tpu-mlir": Target(
        "Sophgo (tpu-mlir)",
        "from the documentation, and what is measured by its interpreter, run by hand",
        (
            Rule("*", "type", (
                "Input", "Convolution", "Deconvolution", "InnerProduct", "BatchNorm", "Scale",
                "ReLU", "ReLU6", "PReLU", "Sigmoid", "TanH", "Softmax", "Pooling", "LRN",
                "Eltwise", "Concat", "Flatten", "Reshape", "Dropout", "AbsVal", "ArgMax", "Crop",
                "Silence", "Slice", "Split",
            ), "tpu-mlir"),
            Rule("Convolution", "uneven dilation", (False,), "tpu-mlir"),
            Rule("Eltwise", "coefficients", ((), (1, 1)), "tpu-mlir 1.30.2"),
            Rule("Scale", "bottom axes", (2, 4), "tpu-mlir"),
            Rule("BatchNorm", "use_global_stats", (True,), "tpu-mlir"),
        ),
    ),
    "snpe": Target(
        "Qualcomm SNPE",
        f"{DOCUMENTS}; which of Caffe's layers it lacks is not checked",
        (
            Rule("*", "type", BVLC, "BVLC"),
            Rule("Scale", "preceded by", ("BatchNorm",), "SNPE"),
        ),
    ),
    "armnn": Target(
        "Arm NN",
        DOCUMENTS,
        (
            Rule("*", "type", (
                "Input", "Convolution", "InnerProduct", "BatchNorm", "Scale", "ReLU", "Softmax",
                "Pooling", "LRN", "Eltwise", "Concat", "Dropout", "Split",
            ), "armnn"),
            Rule("Convolution", "dilation", (1,), "armnn"),
            Rule("Eltwise", "operation", ("SUM", "PROD"), "armnn"),
            Rule("Eltwise", "coefficients", ((), (1, 1)), "armnn"),
            Rule("Eltwise", "bottoms", (2,), "armnn"),
            Rule("Softmax", "axis", (1,), "armnn"),
            Rule("Concat", "axis", (1,), "armnn"),
            Rule("Concat", "bottom axes", (4,), "armnn"),
            Rule("InnerProduct", "weights", (2,), "armnn"),
        ),
    ),
}  # fmt: skip
