"""The rules of `shapes`, for every layer type, against real Caffe on random settings."""

import numpy as np
import pytest

from tf2caffe.caffe import schema
from tf2caffe.caffe.net import Net
from tf2caffe.caffe.shapes import SHAPES, WEIGHTS
from tf2caffe.failure import Failure


class Dice:
    """Random choices, small ones."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)

    def size(self, low, high):
        return int(self.random.integers(low, high + 1))

    def coin(self):
        return bool(self.random.integers(2))

    def one_of(self, *choices):
        return choices[self.random.integers(len(choices))]

    def shape(self, low=2, high=4):
        """A blob's shape, of at least `low` and at most `high` axes."""
        return [self.size(1, 6) for _ in range(self.size(low, high))]

    def image(self):
        return [self.size(1, 3), self.size(1, 4), self.size(7, 14), self.size(7, 14)]

    def axis(self, axis, rank):
        """The axis, perhaps counted from the end."""
        return axis if self.coin() else axis - rank


# Each takes dice and returns the bottoms' shapes, the parameter, and, if not 1, the number of tops.


def plain(dice):
    return [dice.shape(1)], {}


def image(dice):
    return [dice.image()], {}


def argmax(dice):
    shape = dice.shape()
    param = {"out_max_val": dice.coin()}
    if dice.coin():
        at = dice.size(0, len(shape) - 1)
        param |= {"axis": dice.axis(at, len(shape)), "top_k": dice.size(1, shape[at])}
    return [shape], {"argmax_param": param}


def several(dice):
    return [dice.shape(1)], {}, dice.size(1, 3)


def eltwise(dice):
    operation = schema.ENUMS["EltwiseOp"][1].index(dice.one_of("PROD", "SUM", "MAX"))
    return [dice.shape(1)] * dice.size(2, 3), {"eltwise_param": {"operation": operation}}


def concat(dice):
    shape, count = dice.shape(), dice.size(1, 3)
    at = dice.size(0, len(shape) - 1)
    param = dice.one_of({"axis": dice.axis(at, len(shape))}, {"concat_dim": at})
    if dice.size(0, 4) == 0:
        at, param = 1, {}
    bottoms = [[*shape[:at], dice.size(1, 5), *shape[at + 1 :]] for _ in range(count)]
    return bottoms, {"concat_param": param}


def slices(dice):
    shape, count = dice.shape(), dice.size(1, 3)
    at = dice.size(0, len(shape) - 1)
    param = dice.one_of({"axis": dice.axis(at, len(shape))}, {"slice_dim": at})
    if dice.size(0, 4) == 0:
        at, param = 1, {}
    shape[at] = 2 * count
    if dice.coin():
        points = 1 + dice.random.permutation(shape[at] - 1)[: count - 1]
        param["slice_point"] = sorted(map(int, points))
    return [shape], {"slice_param": param}, count


def crop(dice):
    large = dice.image()
    small = [dice.size(1, size) for size in large]
    at = dice.size(1, 3)
    param = {"axis": dice.axis(at, 4)}
    if dice.coin():
        param["offset"] = [large[axis] - small[axis] for axis in range(at, 4)]
    return [large, small], {"crop_param": param}


def flatten(dice):
    shape = dice.shape()
    start = dice.size(0, len(shape) - 1)
    end = dice.size(start, len(shape) - 1)
    param = {"axis": dice.axis(start, len(shape)), "end_axis": dice.axis(end, len(shape))}
    return [shape], {"flatten_param": dice.one_of(param, param, {})}


def reshape(dice):
    """Some axes replaced by others, among them 0 (as it was) and -1 (what is left)."""
    shape = dice.shape()
    start = dice.size(0, len(shape) - 1)
    count = dice.size(0, len(shape) - start)
    dims = [0 if dice.coin() else size for size in shape[start : start + count]]
    if dims and dice.coin():
        dims[dice.size(0, count - 1)] = -1
    elif dice.coin():
        dims.append(1)
    param = {"shape": {"dim": dims}, "axis": start, "num_axes": count}
    if start + count == len(shape) and dice.coin():
        param["num_axes"] = -1
    if dice.coin():
        param["axis"] = start - len(shape) - 1
    return [shape], {"reshape_param": param}


def spatial(dice, name, low, high):
    """A setting of a convolution in one of its spellings: none, once, for each axis, h and w."""
    stem = name.removesuffix("_size")
    h, w = dice.size(low, high), dice.size(low, high)
    spellings = [{name: [h]}, {name: [h, w]}, {f"{stem}_h": h, f"{stem}_w": w}]
    return dice.one_of(*spellings, *([{}] if name != "kernel_size" else []))


def convolution(dice):
    shape, group = dice.image(), dice.size(1, 3)
    shape[1] = group * dice.size(1, 3)
    param = {"num_output": group * dice.size(1, 3), "group": group, "bias_term": dice.coin()}
    param |= spatial(dice, "kernel_size", 1, 3) | spatial(dice, "stride", 1, 3)
    param |= spatial(dice, "pad", 0, 2)
    dilations = ([dice.size(1, 3)], [dice.size(1, 3), dice.size(1, 3)], [])
    return [shape], {"convolution_param": param | {"dilation": dice.one_of(*dilations)}}


def pooling(dice):
    if dice.size(0, 9) == 0:
        return [dice.image()], {"pooling_param": {"pool": dice.size(0, 1), "global_pooling": True}}
    param = {"pool": dice.size(0, 1), "round_mode": dice.size(0, 1)}
    h, w = dice.size(1, 3), dice.size(1, 4)
    param |= dice.one_of({"kernel_size": h}, {"kernel_h": h, "kernel_w": w})
    h, w = (h, h) if "kernel_size" in param else (h, w)
    low = min(h, w) - 1
    param |= dice.one_of(
        {}, {"pad": dice.size(0, low)}, {"pad_h": dice.size(0, h - 1), "pad_w": dice.size(0, w - 1)}
    )
    h, w = dice.size(1, 5), dice.size(1, 5)
    return [dice.image()], {
        "pooling_param": param | dice.one_of({}, {"stride": h}, {"stride_h": h, "stride_w": w})
    }


def inner_product(dice):
    shape = dice.shape()
    at = dice.size(0, len(shape) - 1)
    param = {
        "num_output": dice.size(1, 5), "bias_term": dice.coin(), "transpose": dice.coin(),
        "axis": dice.axis(at, len(shape)),
    }  # fmt: skip
    return [shape], {"inner_product_param": param}


def scale(dice):
    """By weights of its own, or by a second bottom."""
    return broadcast(dice, "scale_param", {"bias_term": dice.coin()})


def bias(dice):
    return broadcast(dice, "bias_param", {})


def broadcast(dice, name, param):
    shape = dice.shape()
    start = dice.size(0, len(shape) - 1)
    count = dice.size(0, len(shape) - start)
    if dice.coin():
        return [shape, shape[start : start + count] or [1]] if count else [shape], {
            name: param | {"axis": dice.axis(start, len(shape)), "num_axes": count}
        }
    if start + count == len(shape) and dice.coin():
        count = -1
    return [shape], {name: param | {"axis": dice.axis(start, len(shape)), "num_axes": count}}


def prelu(dice):
    return [dice.shape()], {"prelu_param": {"channel_shared": dice.coin()}}


def lrn(dice):
    return [dice.image()], {
        "lrn_param": {"local_size": dice.one_of(3, 5), "norm_region": dice.size(0, 1)}
    }


def inputs(dice):
    count = dice.size(1, 3)
    shapes = [{"dim": dice.shape(1)} for _ in range(dice.one_of(1, count))]
    return [], {"input_param": {"shape": shapes}}, count


CASES = {
    "AbsVal": plain,
    "Threshold": plain,
    "ArgMax": argmax,
    "BatchNorm": lambda dice: (
        [dice.shape(2)], {"batch_norm_param": {"use_global_stats": True}},
    ),
    "Bias": bias,
    "BNLL": plain,
    "Concat": concat,
    "Convolution": convolution,
    "Crop": crop,
    "Deconvolution": convolution,
    "Dropout": plain,
    "ELU": plain,
    "Eltwise": eltwise,
    "Exp": plain,
    "Flatten": flatten,
    "InnerProduct": inner_product,
    "Input": inputs,
    "Log": plain,
    "LRN": lrn,
    "Pooling": pooling,
    "Power": plain,
    "PReLU": prelu,
    "ReLU": plain,
    "Reshape": reshape,
    "Scale": scale,
    "Sigmoid": plain,
    "Silence": lambda dice: ([dice.shape(1)], {}, 0),
    "Slice": slices,
    "Softmax": image,
    "Split": several,
    "TanH": plain,
}  # fmt: skip
SIMPLE = {kind for kind, case in CASES.items() if case is plain}


def test_every_type_has_a_case():
    assert CASES.keys() == SHAPES.keys() - {"ReLU6"}  # a chip's own, which Caffe has not


@pytest.mark.parametrize("kind", CASES)
def test_shapes_are_caffe_s(kind, pycaffe, tmp_path):
    for seed in range(2 if kind in SIMPLE else 60):
        bottoms, params, *tops = CASES[kind](Dice(seed))
        layers = [
            schema.LayerParameter(
                name=f"in{at}", type="Input", top=[f"in{at}"],
                input_param={"shape": [{"dim": shape}]},
            )
            for at, shape in enumerate(bottoms)
        ]  # fmt: skip
        layers.append(
            schema.LayerParameter(
                name="layer", type=kind, bottom=[layer.name for layer in layers],
                top=[f"top{at}" for at in range(*tops or [1])], **params,
            )
        )  # fmt: skip
        told = f"seed {seed}: {schema.prototxt('net', layers)}"
        ours, theirs = our_shapes(layers), caffe_shapes(layers, pycaffe, tmp_path, told)
        assert ours == theirs, told


def our_shapes(layers):
    net = Net("net")
    for layer in layers:
        net.append(layer, random_weights(net, layer))
    return net.shapes


def random_weights(net, layer):
    if layer.type not in WEIGHTS:
        return []
    shapes = WEIGHTS[layer.type](layer, [net.shapes[name] for name in layer.bottom])
    return [np.ones(shape, np.float32) for shape in shapes]


def caffe_shapes(layers, pycaffe, folder, told):
    """The shapes that Caffe makes; it refuses weights of other shapes than its own."""
    net = Net("net")
    for layer in layers:
        net.append(layer, random_weights(net, layer))
    (folder / "net.prototxt").write_text(net.prototxt())
    with (folder / "net.caffemodel").open("wb") as file:
        net.write_caffemodel(file)
    fed = {
        top: np.ones(net.shapes[top], np.float32)
        for layer in layers
        if layer.type == "Input"
        for top in layer.top
    }
    try:
        blobs = pycaffe.run(folder / "net.prototxt", folder / "net.caffemodel", fed)
    except Failure as failure:
        pytest.fail(f"{failure}\n{told}")
    return {name: blob.shape for name, blob in blobs.items()}
