"""Every activation over sixteen orders of magnitude, each image measured by its own scale.

The truth is TensorFlow in float64, because its float32 is no better than ours in places; OWN says
where, and how far off it is.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import activations, ops

from tests.harness import TOLERANCE, Converted
from tests.test_deploy import Deployed

MAGNITUDES = [m * sign for m in (*10.0 ** np.arange(-8, 9), 3, 5, 8, 20, 30) for sign in (1, -1)]
TINY, HUGE = 2e-38, 3e38  # what float32 holds in full

ACTIVATIONS = {
    "celu": activations.celu,
    "clip": lambda x: ops.clip(x, -4, 5),
    "elu": activations.elu,
    "erf": tf.math.erf,
    "erfc": tf.math.erfc,
    "exp": activations.exponential,
    "expm1": ops.expm1,
    "gelu": lambda x: activations.gelu(x, approximate=False),
    "gelu by tanh": lambda x: activations.gelu(x, approximate=True),
    "hard sigmoid": activations.hard_sigmoid,
    "hard swish": activations.hard_silu,
    "hard tanh": activations.hard_tanh,
    "leaky relu": activations.leaky_relu,
    "log sigmoid": activations.log_sigmoid,
    "log softmax": activations.log_softmax,
    "mish": activations.mish,
    "abs": ops.abs,
    "relu": activations.relu,
    "relu with a bound": lambda x: activations.relu(x, max_value=2.5, negative_slope=0.1),
    "relu6": tf.nn.relu6,
    "selu": activations.selu,
    "sigmoid": activations.sigmoid,
    "softmax": activations.softmax,
    "softplus": activations.softplus,
    "softsign": activations.softsign,
    "square root": lambda x: ops.sqrt(ops.abs(x)),
    "squareplus": activations.squareplus,
    "swish": activations.silu,
    "tanh": activations.tanh,
    "tanh shrink": activations.tanh_shrink,
}


# What is not right to the tolerance, and how far off TensorFlow's float32 is itself.
OWN = {}


def images():
    """An image a magnitude, and one of all of them."""
    random = np.random.default_rng(6)
    spread = random.uniform(1, 1.3, (len(MAGNITUDES), 4, 3, 2))
    each = np.reshape(MAGNITUDES, (-1, 1, 1, 1)) * spread
    mixed = random.choice(each.reshape(-1), (1, 4, 3, 2))
    return np.float32(np.concatenate([each, mixed]))


def errors(got, true):
    """Of each image, by its own scale; None where float32 does not hold it."""
    axes = (1, 2, 3)
    scale = np.abs(true).max(axes)
    with np.errstate(all="ignore"):
        found = np.abs(np.float64(got) - true).max(axes) / scale
    return np.where((scale > TINY) & (scale < HUGE), found, 0.0)


@pytest.mark.parametrize("form", [Converted, Deployed])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_magnitude(name, form, runtime, tmp_path):
    data = keras.Input((4, 3, 2), name="data")
    model = keras.Model(data, ACTIVATIONS[name](data))
    pixels = images()
    converted = Converted(model, tmp_path, inputs={"data": pixels})
    made = converted if form is Converted else form(converted, tmp_path)
    row = made.rows(runtime)[-1]
    assert row.name == converted.graph.outputs[0]
    true = np.asarray(ACTIVATIONS[name](tf.constant(pixels, tf.float64)))
    ours, own = errors(row.caffe, true), errors(row.tf, true)
    for at, (one, other) in enumerate(zip(ours, own)): 
        if not one<=TOLERANCE: print(name, form.__name__, runtime.name, (MAGNITUDES+["mixed"])[at], "ours %.1e tf %.1e"%(one,other))
    assert (ours<=TOLERANCE).all()
