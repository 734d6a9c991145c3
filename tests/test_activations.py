"""Every activation over sixteen orders of magnitude, each image measured by its own scale.

The truth is TensorFlow in float64, because its float32 is no better than ours in places; OWN says
where, and how far off it is.
"""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import activations, layers

from tests.deployed import Deployed
from tests.harness import TOLERANCE, Converted

MAGNITUDES = [m * sign for m in (*10.0 ** np.arange(-8, 9), 3, 5, 8, 20, 30) for sign in (1, -1)]
TINY, HUGE = 2e-38, 3e38  # what float32 holds in full

# The functions to sweep; a bare name is one of Keras's activations.
ACTIVATIONS = {
    **{name: getattr(activations, name) for name in (
        "celu", "elu", "exponential", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
        "log_sigmoid", "log_softmax", "mish", "relu", "selu", "sigmoid", "silu", "softmax",
        "softplus", "softsign", "squareplus", "tanh",
    )},
    "abs": tf.abs,
    "clip": lambda x: tf.clip_by_value(x, -4, 5),
    "erf": tf.math.erf,
    "erfc": tf.math.erfc,
    "expm1": tf.math.expm1,
    "gelu": lambda x: activations.gelu(x, approximate=False),
    "gelu by tanh": lambda x: activations.gelu(x, approximate=True),
    "relu with a bound": lambda x: activations.relu(x, max_value=2.5, negative_slope=0.1),
    "relu6": tf.nn.relu6,
    "square root": lambda x: tf.sqrt(tf.abs(x)),
}  # fmt: skip


def wide(low, high):
    return lambda value: low <= abs(value) <= high


def below(high):
    return lambda value: value <= high


# Where TensorFlow's own float32 ops lose digits, and the error that they make there.
TENSORFLOW = {
    "elu": (below(0), "e^x - 1 of -1e-4 is wrong by 3e-4"),
    "selu": (below(0), "e^x - 1 of -1e-4 is wrong by 3e-4"),
    "gelu by tanh": (below(-3), "1 + tanh(x) is wrong by 7e-5 at -3, all gone at -5"),
    "squareplus": (below(-10), "x + sqrt(x^2 + 4) is wrong by 4e-4 at -100, all gone at -1e4"),
}

# Where the runtime's own layer has not: Caffe's Sigmoid is 0 from -37 on, OpenCV's is right to 6e-8
# of 1 only, and so is its TanH. (OpenCV computes both otherwise where four numbers lie in a row.)
RUNTIME = {
    ("pycaffe", "sigmoid"): (below(-25), 5e-4),
    ("pycaffe", "silu"): (below(-25), 5e-4),
    ("opencv", "sigmoid"): (below(-4), 1),
    ("opencv", "silu"): (below(-4), 1),
    **{("opencv", name): (wide(0, 0.03), 1.1)
       for name in ("celu", "elu", "expm1", "selu", "tanh")},
    ("opencv", "mish"): (below(-4), 1),
}  # fmt: skip


def images():
    """An image a magnitude, and one of all of them."""
    random = np.random.default_rng(6)
    spread = random.uniform(1, 1.3, (len(MAGNITUDES), 4, 3, 2))
    each = np.reshape(MAGNITUDES, (-1, 1, 1, 1)) * spread
    mixed = random.choice(each.reshape(-1), (1, 4, 3, 2))
    return np.float32(np.concatenate([each, mixed]))


def errors(got, true):
    """Of each image, by its own scale; 0 where float32 does not hold it."""
    scale = np.abs(true).max((1, 2, 3))
    with np.errstate(all="ignore"):
        found = np.abs(np.float64(got) - true).max((1, 2, 3)) / scale
    return np.where((scale > TINY) & (scale < HUGE), found, 0.0)


def bounds(name, runtime, own):
    """How far off each image may be: the tolerance, or what the tables say, and why."""
    allowed = np.full(len(own), TOLERANCE)
    for at, value in enumerate(MAGNITUDES):
        where, _ = TENSORFLOW.get(name, (below(-np.inf), ""))
        if where(value):
            allowed[at] = max(TOLERANCE, 4 * own[at])
        where, bound = RUNTIME.get((runtime, name), (below(-np.inf), 0))
        if where(value):
            allowed[at] = max(allowed[at], bound)
    return allowed


@pytest.mark.parametrize("form", [Converted, Deployed])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_magnitude(name, form, runtime, tmp_path):
    data = keras.Input((4, 3, 2), name="data")
    model = keras.Model(data, layers.Lambda(ACTIVATIONS[name])(data))
    pixels = images()
    converted = Converted(model, tmp_path, inputs={"data": pixels})
    made = converted if form is Converted else Deployed(converted, tmp_path)
    row = made.rows(runtime)[-1]
    assert row.name in converted.graph.outputs.values()
    true = np.asarray(ACTIVATIONS[name](tf.constant(pixels, tf.float64)))
    ours, own = errors(row.caffe, true), errors(row.tf, true)
    allowed = bounds(name, runtime.name, own)
    values = [*MAGNITUDES, "all of them"]
    wrong = [
        f"{value}: {one:.1e}, TensorFlow {other:.1e}"
        for value, one, other, bound in zip(values, ours, own, allowed, strict=True)
        if not one <= bound
    ]
    assert wrong == []


# A range of x, and the largest relative error of erf and erfc in it.
RANGES = {
    math.erf: [
        (1e-30, 1e-3, 1e-6), (0.001, 1, 1e-6), (1, 5, 1e-6), (-5, -1, 1e-6), (5, 1e10, 1e-6),
    ],
    math.erfc: [
        (-1e10, -9, 1e-6), (-9, 0, 2e-6), (1e-30, 1e-3, 2e-6), (0.001, 1, 2e-6), (1, 5, 2e-6),
        (5, 9, 5e-6),  # x^2 in float32 is rounded by up to 4e-6, and so is e^-(x^2)
    ],
}  # fmt: skip


@pytest.mark.parametrize("function", RANGES)
def test_erf_and_erfc(function, runtime, tmp_path):
    """An image a range, each with fourteen hundred numbers."""
    random, pixels = np.random.default_rng(7), []
    for low, high, _ in RANGES[function]:
        spread = random.uniform(size=(20, 23, 3))
        even = low < 0 or high < 100 * low
        pixels.append(low + (high - low) * spread if even else low * (high / low) ** spread)
    pixels = np.float32(pixels)
    data = keras.Input(pixels.shape[1:], name="data")
    layer = layers.Lambda(getattr(tf.math, function.__name__))
    row = Converted(keras.Model(data, layer(data)), tmp_path, inputs={"data": pixels}).rows(runtime)
    true = np.vectorize(function, otypes=[float])(pixels)
    found = np.abs(row[-1].caffe / true - 1).max((1, 2, 3))
    assert (found <= [bound for _, _, bound in RANGES[function]]).all(), found
