"""Each op with random weights and odd sizes, in TensorFlow and in both runtimes."""

import itertools

import keras
import pytest
from keras import layers

from tests.harness import assert_equal, randomise
from tests.op_networks import IMAGE, NETWORKS
from tf2caffe.caffe import targets

# What an older Keras does not have, and since when it has it.
SINCE = {
    "rms_norm": (3, 9), "celu": (3, 6), "glu": (3, 6), "hard_tanh": (3, 6), "log_sigmoid": (3, 5),
    "squareplus": (3, 6), "tanh_shrink": (3, 6),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_op(name, runtime, tmp_path):
    if tuple(map(int, keras.__version__.split(".")[:2])) < SINCE.get(name, (3, 0)):
        pytest.skip(f"Keras {keras.__version__} has no {name}")
    data = keras.Input(IMAGE, name="data")
    model = randomise(keras.Model(data, NETWORKS[name](data)))
    converted = assert_equal(model, tmp_path, runtime)
    if name != "log":  # the one op that has no portable equal
        targets.check(converted.fitted, "portable")


def windows(size, kernel, stride, padding, dilation):
    """A convolution of each kind and both poolings, on an image hardly larger than the kernel."""
    x = keras.Input((size, size + 1, 4), name="data")
    settings = {"strides": stride, "padding": padding}
    outputs = [
        layers.Conv2D(4, kernel, dilation_rate=dilation, **settings)(x),
        layers.DepthwiseConv2D(kernel, dilation_rate=dilation, **settings)(x),
        layers.AveragePooling2D(kernel, **settings)(x),
        layers.MaxPooling2D(kernel, **settings)(x),
    ]
    return randomise(keras.Model(x, outputs))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_windows_on_small_images(size, runtime, tmp_path):
    cases = itertools.product((1, 2, 3), (1, 2, 3), ("same", "valid"), (1, 2))
    for at, (kernel, stride, padding, dilation) in enumerate(cases):
        reach = (kernel - 1) * dilation + 1
        if (dilation == 1 or stride == 1) and (padding == "same" or reach <= size):
            model = windows(size, kernel, stride, padding, dilation)
            assert_equal(model, tmp_path / str(at), runtime)
