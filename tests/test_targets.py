"""Targets: every rule of every profile is told, every rewrite equal, through the scripts too."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.deployed import Deployed, strays
from tests.harness import Converted, assert_equal, randomise
from tests.pipeline import contents, run
from tf2caffe.caffe import lowering, schema, targets
from tf2caffe.caffe.builder import Builder
from tf2caffe.failure import Failure

RULES = [(name, rule) for name, target in targets.TARGETS.items() for rule in target.rules]


def ids(rules):
    return [f"{name}-{rule.layers}-{rule.quantity}".replace(" ", "_") for name, rule in rules]


class Sample(Builder):
    """A network around a layer called `it`."""

    def __init__(self, *shape):
        super().__init__("sample")
        self.add("Input", "data", input_param={"shape": [{"dim": shape}]})

    def of(self, type, bottoms="data", blobs=(), **params):
        self.add(type, "it", bottoms, blobs, **params)
        return self


def convolution(rule, pair, stride=1, pad=0, dilation=(1, 1), size=None):
    """A Convolution or Deconvolution, of single channels if the rule is for those."""
    net = Sample(1, 2, *(size or (max(pair) + 4, max(pair) + 4)))
    kernel = np.ones((2, 1 if rule.layers == "depthwise" else 2, *pair), np.float32)
    if rule.layers == "Deconvolution":
        net.deconvolve("it", "data", kernel)
        return net
    param = {"num_output": 2, "kernel_h": pair[0], "kernel_w": pair[1], "bias_term": False}
    param |= {"stride": [stride], "pad": [pad], "dilation": dilation, "group": 2 // kernel.shape[1]}
    return net.of("Convolution", blobs=[kernel], convolution_param=param)


def pooling(kind, size, kernel, pad=0, **param):
    net = Sample(1, 2, *size)
    param |= {"pool": kind, "kernel_h": kernel[0], "kernel_w": kernel[1], "pad": pad}
    return net.of("Pooling", pooling_param=param)


def eltwise(count=2, operation="SUM", coeff=()):
    param = {"operation": operation, "coeff": coeff}
    return Sample(1, 2, 3, 3).of("Eltwise", ["data"] * count, eltwise_param=param)


def softmax(shape, axis):
    return Sample(*shape).of("Softmax", softmax_param={"axis": axis})


def concat(shape, axis):
    return Sample(*shape).of("Concat", ["data", "data"], concat_param={"axis": axis})


def norm(stats=True, reader="Scale"):
    ones = np.ones(2, np.float32)
    param = {"use_global_stats": stats}
    net = Sample(1, 2, 3, 3).of("BatchNorm", blobs=[ones, ones, ones[:1]], batch_norm_param=param)
    net.add(reader, "reader", "it", [ones] if reader == "Scale" else [])
    return net


def scale(before, shape=(1, 2, 3, 3)):
    ones, net = np.ones(2, np.float32), Sample(*shape)
    bottom = {"BatchNorm": [ones, ones, ones[:1]], "ReLU": []}
    return net.of("Scale", net.add(before, "before", "data", bottom[before]), [ones])


def scale_by(count):
    """A Scale by its weights, or by a second bottom."""
    net = Sample(1, 2, 3, 3)
    return net.of("Scale", ["data"] * count, [] if count > 1 else [np.ones(2, np.float32)])


def of_type(kind):
    """A layer of any type; where its weights would matter, there are some."""
    if kind == "Input":
        return Sample(1, 2, 3, 3)
    net, ones = Sample(1, 2, 3, 3), np.ones(2, np.float32)
    made = {
        "Convolution": lambda: net.convolve("it", "data", np.ones((2, 2, 1, 1), np.float32)),
        "Deconvolution": lambda: net.deconvolve("it", "data", np.ones((2, 2, 1, 1), np.float32)),
        "InnerProduct": lambda: net.multiply("it", "data", np.ones((2, 18), np.float32), ones),
        "BatchNorm": lambda: net.of("BatchNorm", blobs=[ones, ones, ones[:1]]),
        "PReLU": lambda: net.of("PReLU", blobs=[ones]),
        "Scale": lambda: net.of("Scale", blobs=[ones]),
        "Bias": lambda: net.of("Bias", blobs=[ones]),
        "Pooling": lambda: net.pool("it", "MAX", "data", (2, 2)),
        "Reshape": lambda: net.reshape("it", "data", (2, 9, 1)),
        "Crop": lambda: net.of("Crop", ["data", "data"]),
        "Eltwise": lambda: net.of("Eltwise", ["data", "data"]),
        "Silence": lambda: net.append(
            schema.LayerParameter(name="it", type="Silence", bottom=["data"]), []
        ),
    }
    made.get(kind, lambda: net.of(kind))()
    return net


# Quantity -> a network whose layer `it` has this value of it, for a rule.
EXAMPLES = {
    "type": lambda rule, value: of_type(value),
    "kernel": lambda rule, value: convolution(rule, (value, value)),
    "kernel area": lambda rule, value: convolution(rule, (1, value)),
    "stride": lambda rule, value: convolution(rule, (3, 3), stride=value),
    "pad": lambda rule, value: convolution(rule, (3, 3), pad=value),
    "dilation": lambda rule, value: convolution(rule, (2, 2), dilation=(value, value)),
    "uneven dilation": lambda rule, value: convolution(rule, (2, 2), dilation=(2, 2 + value)),
    "window of AVE": lambda rule, value: pooling("AVE", (value, 3), (value, 2)),
    "area of AVE": lambda rule, value: pooling("AVE", (1, value), (1, value)),
    "pad of AVE": lambda rule, value: pooling("AVE", (5, 5), (3, 3), pad=value),
    "cells of AVE beyond the image": lambda rule, value: pooling(
        "AVE", (5 - value, 5), (3, 3), stride=2
    ),
    "width of MAX": lambda rule, value: pooling("MAX", (3, value), (2, value)),
    "rounding": lambda rule, value: pooling("MAX", (5, 5), (3, 3), round_mode=value),
    "operation": lambda rule, value: eltwise(operation=value),
    "coefficients": lambda rule, value: eltwise(coeff=value),
    "exponent": lambda rule, value: Sample(1, 2, 3, 3).of("Power", power_param={"power": value}),
    "bottoms": lambda rule, value: scale_by(value) if rule.layers == "Scale" else eltwise(value),
    "bottom axes": lambda rule, value: (
        concat((1, 2, 3, 3)[:value], 1) if rule.layers == "Concat"
        else Sample(*(1, 2, 3, 3)[:value]).of("PReLU", blobs=[np.ones(2, np.float32)])
        if rule.layers == "PReLU"
        else scale("ReLU", (1, 2, 3, 3)[:value])
    ),
    "weights": lambda rule, value: Sample(1, 2).of(
        "InnerProduct", blobs=[np.ones((3, 2), np.float32), np.ones(3, np.float32)][:value],
        inner_product_param={"num_output": 3, "bias_term": value == 2},
    ),
    "axis": lambda rule, value: (
        (concat if rule.layers == "Concat" else softmax)((1, 2, 3, 3), value)
    ),
    "size of the axes after it": lambda rule, value: softmax((1, 2, value, 1), 1),
    "k": lambda rule, value: Sample(1, 2, 3, 3).of("LRN", lrn_param={"k": value}),
    "use_global_stats": lambda rule, value: norm(value),
    "followed by": lambda rule, value: norm(reader=value),
    "preceded by": lambda rule, value: scale(value),
    "image size": lambda rule, value: Sample(1, 1, value, 2).of("ReLU"),
}  # fmt: skip

# Quantity -> values of which the first that a rule does not allow breaks it.
OUTSIDE = {
    "type": ("ReLU6", "Log", "Exp"),
    "kernel": (7, 17, 256, 9),
    "kernel area": (64,),
    "stride": (5, 8),
    "pad": (2, 16),
    "dilation": (2,),
    "uneven dilation": (True,),
    "window of AVE": (256,),
    "area of AVE": (12289,),
    "pad of AVE": (1,),
    "cells of AVE beyond the image": (1,),
    "width of MAX": (256,),
    "rounding": ("FLOOR",),
    "operation": ("MAX", "PROD"),
    "coefficients": ((1, -1), (1, -2), (-1, 1)),
    "exponent": (-1.0, 0.5),
    "bottoms": (3, 2),
    "bottom axes": (3, 2),
    "weights": (1,),
    "axis": (2,),
    "size of the axes after it": (3,),
    "k": (2.0,),
    "use_global_stats": (False,),
    "followed by": ("ReLU",),
    "preceded by": ("ReLU",),
    "image size": (4097,),
}


def breaks(net, target, rule):
    """Whether `it` breaks this rule."""
    found = targets.broken(it(net), targets.Surroundings(net), target)
    return rule in [broken for broken, _ in found]


def it(net):
    return next((layer for layer in net.layers if layer.name == "it"), net.layers[-1])


@pytest.mark.parametrize("name, rule", RULES, ids=ids(RULES))
def test_every_rule_is_told(name, rule):
    target = targets.TARGETS[name]
    outside = next(value for value in OUTSIDE[rule.quantity] if value not in rule.allowed)
    net = EXAMPLES[rule.quantity](rule, outside)
    assert breaks(net, target, rule)
    with pytest.raises(Failure) as failure:
        targets.check(net, name)
    told = str(failure.value)
    assert f"it ({it(net).type}): " in told
    assert f"({rule.source})" in told
    assert rule.source in targets.SOURCES


@pytest.mark.parametrize("name, rule", RULES, ids=ids(RULES))
def test_what_a_rule_allows_is_not_told(name, rule):
    values = rule.allowed
    if isinstance(values, targets.Whole):
        values = values.first, values.last or 7.0
    for value in values:
        assert not breaks(EXAMPLES[rule.quantity](rule, value), targets.TARGETS[name], rule), value


def test_every_target_says_what_of_it_was_run():
    vendors = {"nnie", "atc", "vitis", "sigmastar", "snpe", "armnn"}
    for name, target in targets.TARGETS.items():
        assert (targets.DOCUMENTS in target.tried) == (name in vendors)


def shifted(x):
    """A shift before a padded convolution: it stays, in a layer of its own."""
    return layers.Conv2D(4, 3, padding="same")(x * 2.0 - 0.7)


def halving(x):
    """A depthwise kernel that has to be even, or one larger: of 8x10 pixels."""
    x = layers.DepthwiseConv2D(3, 2, padding="same")(layers.Conv2D(6, 2)(x))
    return layers.BatchNormalization()(x)


def lone_scale(x):
    return layers.Conv2D(4, 3, padding="same")(layers.BatchNormalization()(x))


def relu6(x):
    return layers.ReLU(6)(layers.Conv2D(5, 3)(x) * 4.0)


def prelu(x):
    return layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(5, 3)(x))


def in_pieces(x, axis):
    first, *rest = ops.split(x, [2, 3], axis=axis)
    return layers.Conv2D(3, 2)(ops.concatenate([first * 2.0, *rest], axis=axis))


def vectors(x):
    x = layers.Dense(7, use_bias=False)(layers.Flatten()(x))
    return layers.Dense(3, use_bias=False)(layers.ReLU()(x))


def difference(x):
    return layers.Subtract()([x, x * 2.0])


def dilated(x):
    return layers.BatchNormalization()(layers.Conv2D(3, 3, dilation_rate=2)(x))


# What is rewritten: the target, the output for an image of 9x11x6, and the layers of the deploy
# form with their settings, as far as they tell.
REWRITTEN = {
    "power": ("vitis", shifted, "Scale Convolution"),
    "even depthwise kernel": ("vitis", halving, "Convolution Convolution"),
    "even kernel at stride 1": ("vitis", lambda x: layers.DepthwiseConv2D(2)(x), "Convolution"),
    "depthwise pad": (
        "sigmastar", lambda x: layers.DepthwiseConv2D(5, padding="same", depth_multiplier=2)(x),
        "Convolution",
    ),
    "square": ("tpu-mlir", lambda x: ops.square(x * 2 - 1), "Scale Eltwise"),
    "scale alone": ("snpe", lone_scale, "BatchNorm Scale Convolution"),
    "dilation": ("armnn", dilated, "Convolution"),
    "coefficients": ("armnn", difference, "Scale Scale Eltwise"),
    "coefficients that are ignored": ("tpu-mlir", difference, "Scale Scale Eltwise"),
    "dense without bias": ("armnn", vectors, "InnerProduct ReLU InnerProduct"),
    "softplus": ("portable", lambda x: ops.softplus(x * 5.0), None),
    "exp": ("portable", lambda x: ops.exp(x * 4.0), None),
    "softplus kept": ("bvlc", lambda x: ops.softplus(x), "BNLL"),
    "exp kept": ("rknn", lambda x: ops.exp(x), None),
    "abs": ("portable", lambda x: ops.abs(x), "ReLU Power ReLU Eltwise"),
    "abs kept": ("bvlc", lambda x: ops.abs(x), "AbsVal"),
    "elu": ("portable", lambda x: layers.ELU(0.3)(x * 3.0), None),
    "elu kept": ("bvlc", lambda x: layers.ELU(0.3)(layers.Conv2D(5, 3)(x)), "Convolution ELU"),
    "abs of a vendor": ("tpu-mlir", lambda x: ops.abs(x), "AbsVal"),
    "log softmax": (
        "bvlc", lambda x: layers.Activation("log_softmax")(x * 20.0), None,
    ),
    "selu kept": ("bvlc", lambda x: ops.selu(x), "ELU Power"),
    "softsign kept": ("bvlc", lambda x: ops.softsign(x), "AbsVal Power Eltwise"),
    "prelu": ("portable", prelu, "Convolution PReLU"),
    "prelu of a vector": (
        "portable", lambda x: layers.PReLU()(layers.GlobalMaxPooling2D()(x)),
        "Pooling Flatten ReLU Power ReLU Scale Eltwise",
    ),
    "prelu of a vector kept": (
        "bvlc", lambda x: layers.PReLU()(layers.GlobalMaxPooling2D()(x)), "Pooling Flatten PReLU",
    ),
    "prelu without PReLU": ("armnn", prelu, "Convolution ReLU Scale ReLU Scale Eltwise"),
    "channels": ("bvlc", lambda x: in_pieces(x, -1), "Slice Power Concat Convolution"),
    "rows": ("bvlc", lambda x: in_pieces(x, 1), "Slice Power Concat Convolution"),
    "columns": ("rknn", lambda x: in_pieces(x, 2), "Slice Power Concat Convolution"),
    "vector": (
        "bvlc", lambda x: layers.Add()(ops.split(layers.Flatten()(x), 2, axis=1)),
        None,
    ),
    "sequence": (
        "bvlc", lambda x: layers.Add()(ops.split(layers.Reshape((99, 6))(x), 3, axis=1)),
        None,
    ),
    "pieces without Slice": (
        "portable", lambda x: in_pieces(x, 2),
        "Convolution Convolution Convolution Concat Convolution",
    ),
    "a piece that is left out": (
        "bvlc", lambda x: layers.Add()(ops.split(x, 3, axis=-1)[:2]),
        "Convolution Convolution Eltwise",
    ),
    "pieces that overlap": (
        "bvlc", lambda x: layers.Concatenate()([x[..., :4], x[..., 2:]]),
        "Convolution Convolution Concat",
    ),
    "relu6": ("portable", relu6, "Convolution Power Eltwise Power ReLU"),
    "gelu without division": ("sigmastar", lambda x: ops.gelu(x, approximate=False), None),
    "gelu without Power": ("tpu-mlir", lambda x: ops.gelu(x, approximate=False), None),
    "relu6 without MAX": ("armnn", relu6, "Convolution ReLU Scale ReLU Scale Eltwise"),
}  # fmt: skip


def model_of(output):
    data = keras.Input((9, 11, 6), name="data")
    return randomise(keras.Model(data, output(data)))


@pytest.mark.parametrize("name", REWRITTEN)
def test_what_is_rewritten_is_equal(name, runtime, tmp_path):
    target, output, kinds = REWRITTEN[name]
    converted = Converted(model_of(output), tmp_path / "whole", target=target)
    assert strays(converted.rows(runtime)) == []
    deployed = Deployed(model_of(output), tmp_path / "deploy", target=target)
    assert strays(deployed.rows(runtime)) == []
    targets.check(deployed.net, target)
    if kinds:
        assert [layer.type for layer in deployed.net.layers[1:]] == kinds.split()


def test_a_kernel_grows_no_more_than_the_target_needs(tmp_path):
    grown, even = (
        Deployed(model_of(halving), tmp_path / target, target=target).net.layers[-1]
        for target in ("vitis", "portable")
    )
    assert grown.blobs[0].shape == (6, 1, 5, 5)
    assert even.blobs[0].shape == (6, 1, 4, 4)


def test_dilation_becomes_zeros(tmp_path):
    layer = Deployed(model_of(dilated), tmp_path, target="armnn").net.layers[-1]
    assert layer.blobs[0].shape == (3, 6, 5, 5)
    assert np.count_nonzero(layer.blobs[0]) == 3 * 6 * 9


def test_native_relu6(opencv, pycaffe, tmp_path):
    """In the form that the chip gets; the other one stays as BVLC Caffe has it."""
    deployed = Deployed(model_of(relu6), tmp_path, target="rknn")
    assert [layer.type for layer in deployed.net.layers] == ["Input", "Convolution", "ReLU6"]
    assert strays(deployed.rows(opencv)) == []
    assert "ReLU6" not in {layer.type for layer in deployed.converted.fitted.layers}
    assert strays(deployed.converted.rows(pycaffe)) == []


def test_parts_of_a_rewrite_take_no_names():
    """`it/x` is there already, further on."""
    net = Sample(1, 2, 3, 3).of("Power", power_param={"power": 2, "shift": 1})
    net.add("Sigmoid", "it/x", "it")
    fitted = lowering.fit(net, targets.TARGETS["tpu-mlir"])
    names = [layer.name for layer in fitted.layers]
    assert len(set(names)) == len(names)
    assert fitted.layers[-1].name == "it/x" and fitted.layers[-1].bottoms == ["it"]


@pytest.fixture
def small(tmp_path):
    """A network with a gate, a shift and a ReLU6, as step 4 leaves it."""
    data = keras.Input((9, 11, 6), name="data")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(data * 0.1 - 0.5)
    x = layers.ReLU(6, name="six")(x)
    gate = layers.Conv2D(4, 1, activation="sigmoid", name="gate")(x)
    model = keras.Model(data, layers.Multiply(name="gated")([x, gate]), name="net")
    randomise(model).save(tmp_path / "net.keras")
    for script in ("tf_predict.py", "save_weights.py"):
        assert run(script, tmp_path / "net.keras", "--dir", tmp_path).status == 0
    return tmp_path


def test_scripts(small):
    ended = run("build_caffe.py", "net", "--deploy", "--target", "rknn", "--dir", small)
    assert ended.status == 0, ended.err
    assert 'type: "ReLU6"' in (small / "nets/net.deploy.prototxt").read_text()
    assert 'type: "ReLU6"' not in (small / "nets/net.prototxt").read_text()
    ended = run("caffe_predict.py", "net", "--deploy", "--dir", small)
    assert ended.status == 0, ended.err
    twin = "ReLU6, which BVLC Caffe does not have, was run as Power, Eltwise MAX and ReLU"
    assert ("runtime: pycaffe" in ended.out) == (twin in ended.out)  # OpenCV has ReLU6
    assert "EQUAL: all" in ended.out
    ended = run("caffe_predict.py", "net", "--dir", small)
    assert ended.status == 0, ended.err

    before = contents(small)
    ended = run("build_caffe.py", "net", "--deploy", "--target", "vitis", "--dir", small)
    assert ended.status == 1
    assert ended.out == ""
    assert ended.err.splitlines()[0] == (
        "build_caffe.py: --target vitis does not take 2 setting(s) of net:"
    )
    assert "  gate/Sigmoid (Sigmoid): it has no such layer (Vitis-AI 47)" in ended.err
    assert "gated (Eltwise): operation PROD; allowed: SUM (Vitis-AI 47)" in ended.err
    assert contents(small) == before


def test_list():
    ended = run("build_caffe.py", "--target", "list")
    assert ended.status == 0
    for name, target in targets.TARGETS.items():
        assert f"{name}: {target.title}\n" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 100


def test_unknown_target():
    ended = run("build_caffe.py", "--target", "toaster")
    assert ended.status == 1
    assert "invalid choice: 'toaster'" in ended.err


def test_calibration(small):
    """The inputs, one file each, as the prototxt takes them."""
    run("build_caffe.py", "net", "--dir", small)
    where = small / "calibration"
    ended = run("caffe_predict.py", "net", "--dir", small, "--export-calibration", where)
    assert ended.status == 0, ended.err
    (line,) = (where / "list.txt").read_text().splitlines()
    with np.load(small / "activations/net.npz") as kept:
        pixels = kept["input:data"]
    assert np.array_equal(np.load(where / line), pixels.transpose(0, 3, 1, 2))
    assert f"wrote: {where}/list.txt (1 inputs)" in ended.out


def test_calibration_of_mnistcls(work):
    where = work / "calibration"
    ended = run("caffe_predict.py", "--dir", work, "--export-calibration", where)
    assert ended.status == 0, ended.err
    lines = (where / "list.txt").read_text().splitlines()
    arrays = [np.load(where / line) for line in lines]
    assert [array.shape for array in arrays] == [(1, 1, 28, 28)] * 10
    assert all(array.max() > 200 for array in arrays)  # pixels: the -128 is in the network


@pytest.mark.parametrize("size", [(40, 50, 32), (14, 15, 96), (3, 90, 40)])
def test_a_gate_is_as_atc_takes_it(size, runtime, tmp_path):
    """However many channels there are, no kernel and no image is longer than CANN says."""
    data = keras.Input(size)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(data)
    rows = ops.mean(data, 2, keepdims=True)
    model = randomise(keras.Model(data, [layers.Multiply()([data, gate]), data + rows]))
    assert_equal(model, tmp_path, runtime)
    targets.check(Converted(model, tmp_path / "atc", target="atc").fitted, "atc")
