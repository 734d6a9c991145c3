"""Folds that would lose digits are not made: both forms in real Caffe against the exact result."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.deployed import Deployed, kinds, strays
from tests.harness import Converted, randomise
from tf2caffe.caffe import folding
from tf2caffe.caffe.net import Net

CHANNELS, SIZE, EXACT = 3, (4, 5), 4e-6
RANDOM = np.random.default_rng(7)
SMALL, MIXED = np.float64([0.5, -1.0, 2.0]), np.float64([1e-2, 1, 1e6])


class Chain:
    """Layers one after another, with what they compute in float64."""

    def __init__(self):
        self.net, self.steps = Net("net"), []
        shape = {"dim": [1, CHANNELS, *SIZE]}
        self.last = self.net.add("Input", "data", input_param={"shape": [shape]})

    def add(self, kind, step, blobs=(), **param):
        blobs = [np.float32(blob) for blob in blobs]
        name = f"{kind.lower()}{len(self.steps)}"
        self.last = self.net.add(kind, name, self.last, blobs, **param)
        self.steps.append((step, [np.float64(blob) for blob in blobs]))
        return self

    def shift(self, numbers):
        return self.add("Bias", lambda x, b: x + over(b), [numbers])

    def number(self, scale, shift):
        scale, shift = np.float32(scale), np.float32(shift)
        return self.add("Power", lambda x: np.float64(scale) * x + np.float64(shift),
                        power_param={"scale": scale, "shift": shift})  # fmt: skip

    def scale(self, factors, shifts=None):
        shifts = np.zeros(CHANNELS) if shifts is None else shifts
        return self.add("Scale", lambda x, g, b: over(g) * x + over(b), [factors, shifts],
                        scale_param={"bias_term": True})  # fmt: skip

    def norm(self, means, deviations):
        def step(x, mean, variance, _):
            return (x - over(mean)) / np.sqrt(over(variance))

        blobs = [means, np.float64(deviations) ** 2, [1.0]]
        param = {"eps": 0.0, "use_global_stats": True}
        return self.add("BatchNorm", step, blobs, batch_norm_param=param)

    def convolution(self, kernel=None, bias=None):
        kernel = RANDOM.normal(size=(4, CHANNELS, 2, 2)) if kernel is None else kernel
        blobs = [kernel] if bias is None else [kernel, bias]
        param = {"num_output": len(kernel), "kernel_size": kernel.shape[2:]}
        return self.add("Convolution", convolved, blobs,
                        convolution_param=param | {"bias_term": bias is not None})  # fmt: skip

    def copy(self, factor=1.0):
        """What Cropping2D becomes: a delta in each kernel."""
        kernel = np.zeros((CHANNELS, 1, 2, 2))
        kernel[:, 0, 1, 1] = factor
        param = {"num_output": CHANNELS, "kernel_size": [2], "group": CHANNELS, "bias_term": False}
        return self.add("Convolution", lambda x, k: x[:, :, 1:, 1:] * k[0, 0, 1, 1], [kernel],
                        convolution_param=param)  # fmt: skip

    def repeat(self):
        """What UpSampling2D becomes."""
        param = {"num_output": CHANNELS, "kernel_size": [2], "stride": [2], "group": CHANNELS}
        return self.add("Deconvolution", lambda x, k: x.repeat(2, 2).repeat(2, 3),
                        [np.ones((CHANNELS, 1, 2, 2))],
                        convolution_param=param | {"bias_term": False})  # fmt: skip

    def exact(self, image):
        image = np.float64(image)
        for step, blobs in self.steps:
            image = step(image, *blobs)
        return image


def over(numbers):
    return numbers[:, None, None]


def convolved(x, kernel, bias=None):
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2:], (2, 3))
    made = np.einsum("ncyxij,ocij->noyx", windows, kernel)
    return made if bias is None else made + over(bias)


def errors(net, blob, exact, image, runtime, folder):
    """The largest error of each channel, relative to the channel's largest value."""
    prototxt, caffemodel = folder / "net.prototxt", folder / "net.caffemodel"
    prototxt.write_text(net.prototxt())
    with caffemodel.open("wb") as file:
        net.write_caffemodel(file)
    (made,) = runtime.run(prototxt, caffemodel, {"data": image}, [blob]).values()
    difference, axes = np.abs(made - exact), (0, 2, 3)
    return (difference.max(axes) / np.abs(exact).max(axes)).max()


# Norms of numbers with these means and deviations, and what follows -> the layers that are left.
CHAINS = {
    "shift, scale": lambda c, m, s: c.shift(-m).scale(1 / s),
    "shift, scale, convolution": lambda c, m, s: c.shift(-m).scale(1 / s).convolution(),
    "shift, shifted scale, convolution": (
        lambda c, m, s: c.shift(-m).scale(1 / s, SMALL).convolution()
    ),
    "shift, convolution": lambda c, m, s: c.shift(-m).convolution(over_channels(1 / s)),
    "shift, norm, convolution": (
        lambda c, m, s: c.shift(-m / 2).norm(m / 2, s).scale(SMALL, SMALL).convolution()
    ),
    "norm": lambda c, m, s: c.norm(m, s).scale(SMALL, SMALL),
    "norm of small gain": lambda c, m, s: c.norm(m, s).scale(SMALL * 1e-4, SMALL * 1e-4),
    "norm, convolution": lambda c, m, s: c.norm(m, s).scale(SMALL, SMALL).convolution(),
    "two shifts": lambda c, m, s: c.shift(-m).shift(SMALL).scale(1 / s),
    "copy, norm": lambda c, m, s: c.copy().norm(m, s).scale(SMALL, SMALL),
    "copy, shift, scale": lambda c, m, s: c.copy().shift(-m).scale(1 / s).convolution(),
    "repeat, norm": lambda c, m, s: c.repeat().norm(m, s).scale(SMALL, SMALL).convolution(),
    "repeat, shift, scale": lambda c, m, s: c.repeat().shift(-m).scale(1 / s),
    "exact factor, shift, scale": (
        lambda c, m, s: c.number(2.0, 0.0).shift(-2 * m).scale(0.5 / s).convolution()
    ),
    "exact factor, norm": lambda c, m, s: c.number(0.25, 0).norm(m / 4, s / 4).scale(SMALL, SMALL),
}  # fmt: skip


# What is left of a chain -> for means of half a deviation, and for large ones.
LEFT = {
    "shift, scale": ("Scale", "Bias Scale"),
    "shift, scale, convolution": ("Convolution", "Bias Convolution"),
    "norm": ("Scale", "BatchNorm Scale"),
    "norm, convolution": ("Convolution", "BatchNorm Scale Convolution"),
    "copy, norm": ("Convolution", "Convolution BatchNorm Scale"),
    "copy, shift, scale": ("Convolution Convolution", "Convolution Convolution"),
    "repeat, norm": ("Deconvolution Convolution", "Deconvolution BatchNorm Scale Convolution"),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left(name):
    for ratio, left in zip((0.5, 1e4), LEFT[name], strict=True):
        chain = CHAINS[name](Chain(), np.full(CHANNELS, 3 * ratio), np.full(CHANNELS, 3))
        assert " ".join(kinds(folding.deploy(chain.net, {chain.last}))) == left


def test_means_of_a_convolution_are_folded(pycaffe, tmp_path):
    """W x is rounded at the size of the mean in any case."""
    bias, kernel = np.full(4, 1e4), RANDOM.normal(size=(4, CHANNELS, 2, 2))
    chain = Chain().convolution(kernel, bias)
    chain.norm(bias, np.full(4, 3.0)).scale(np.ones(4), np.zeros(4))
    form = folding.deploy(chain.net, {chain.last})
    assert kinds(form) == ["Convolution"]
    image = normal_image(np.zeros(CHANNELS), np.ones(CHANNELS))
    exact = chain.exact(image)
    apart = errors(chain.net, chain.last, exact, image, pycaffe, tmp_path)
    assert errors(form, chain.last, exact, image, pycaffe, tmp_path) <= apart


FACTORS = {
    "two, too small": (lambda c: c.scale(np.full(3, 1e-25)).scale([1e-25, 1, 1]), "Scale Scale"),
    "two, too large": (lambda c: c.number(1e25, 0.0).number(1e25, 0.0), "Power Power"),
    "two, inverse": (lambda c: c.number(1e-25, 0.0).number(1e25, 0.0), "Power"),
    "a shift, too large": (lambda c: c.number(1.0, 10.0).number(1e38, 0.0), "Power Power"),
    "before a kernel": (lambda c: c.scale([1e-30, 1, 1]).convolution(), "Scale Convolution"),
    "behind a kernel": (
        lambda c: c.convolution().scale([1, 1e30, 1, 1], np.zeros(4)), "Convolution Scale",
    ),
    "of a kernel": (
        lambda c: c.number(1e10, 0.0).convolution(np.full((1, 3, 1, 1), 1e35)),
        "Power Convolution",
    ),
    "of a channel that is dead": (lambda c: c.scale([0, 1, 2]).convolution(), "Convolution"),
}  # fmt: skip


@pytest.mark.parametrize("name", FACTORS)
def test_factors_beyond_float32(name):
    make, left = FACTORS[name]
    chain = make(Chain())
    assert " ".join(kinds(folding.deploy(chain.net, {chain.last}))) == left


def air_pressure(x):
    return layers.Conv2D(4, 3)(layers.Normalization(mean=[101325.0] * 3, variance=[100.0] * 3)(x))


def imagenet(x):
    means, variances = [0.485, 0.456, 0.406], [0.229**2, 0.224**2, 0.225**2]
    x = layers.Normalization(mean=means, variance=variances)(layers.Rescaling(1 / 255)(x))
    return layers.Conv2D(4, 3)(x)


def tensorflow(x):
    return layers.Conv2D(4, 3)(layers.Rescaling(1 / 127.5, -1)(x))


def pixels(random, size):
    return random.integers(0, 256, size)


# A network whose inputs are far from 1 -> its inputs, the layers that are left.
NETWORKS = {
    "air pressure": (air_pressure, lambda random, size: random.normal(101325, 10, size), 2),
    "air pressure, cropped": (
        lambda x: air_pressure(layers.Cropping2D(1)(x)),
        lambda random, size: random.normal(101325, 10, size), None,
    ),
    "imagenet": (imagenet, pixels, 1),
    "tensorflow": (tensorflow, pixels, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, runtime, tmp_path):
    """With inputs as they are in use, the deploy form is equal."""
    make, draw, left = NETWORKS[name]
    data = keras.Input((9, 9, 3), name="data")
    model = randomise(keras.Model(data, make(data)), but="normalization")
    image = np.float32(draw(np.random.default_rng(1), (2, 9, 9, 3)))
    deployed = Deployed(Converted(model, tmp_path, inputs={"data": image}), tmp_path)
    assert strays(deployed.rows(runtime)) == []
    assert left is None or len(deployed.net.layers) == 1 + left


def over_channels(factors):
    return RANDOM.normal(size=(4, CHANNELS, 2, 2)) * factors[:, None, None]


def normal_image(means, deviations):
    image = RANDOM.normal(size=(2, CHANNELS, *SIZE))
    return np.float32(image * over(deviations) + over(means))


@pytest.mark.parametrize("deviation", [1e-2, 1.0, 1e3])
@pytest.mark.parametrize("ratio", [0.5, 16.0, 17.0, 1e2, 1e3, 1e5, MIXED, -MIXED])
@pytest.mark.parametrize("name", CHAINS)
def test_as_exact_as_apart(name, ratio, deviation, pycaffe, tmp_path):
    """The deploy form is off from the exact result by no more than the inspectable one may be."""
    deviations = deviation * np.float64([1, 1.5, 0.5])
    means = np.float64(np.float32(ratio * deviations))
    chain = CHAINS[name](Chain(), means, deviations)
    image = normal_image(means, deviations)
    exact = chain.exact(image)
    form = folding.deploy(chain.net, {chain.last})
    apart = errors(chain.net, chain.last, exact, image, pycaffe, tmp_path)
    assert errors(form, chain.last, exact, image, pycaffe, tmp_path) <= max(EXACT, 1.5 * apart)
