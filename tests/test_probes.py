"""Probes reach every number and every bound, so that no planted fault is called EQUAL."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from models import mnistcls
from tests import op_networks, planted
from tests.deployed import Deployed
from tests.harness import Converted, function_trace, randomise, traced
from tf2caffe.caffe import schema
from tf2caffe.frontend import reader
from tf2caffe.proof import parity, probes, reach

NUMBERS = 20  # changes of each file of each network


def converted(output, folder, shape=op_networks.IMAGE, **settings):
    data = keras.Input(shape, name="data")
    return Converted(randomise(keras.Model(data, output(data))), folder, **settings)


def probed(model):
    """The graph of a model and its probes, {name: (array, the regions)}."""
    trace = model if not isinstance(model, keras.Model) else traced(model)
    graph, tensors = reader.read(trace, "net")
    found = probes.computed(graph, trace, tensors)
    shapes = graph.inputs | {node.name: node.shape for node in graph.nodes}
    return graph, {name: found.fed(name, shapes[name]) for name in found.regions}


def composition(name):
    data = keras.Input(op_networks.IMAGE, name="data")
    return randomise(keras.Model(data, op_networks.NETWORKS[name](data)))


@pytest.mark.parametrize("name", op_networks.NETWORKS)
def test_no_number_of_a_probe_is_zero(name):
    for array in probed(composition(name))[1].values():
        assert np.all(array) and np.isfinite(array).all()


# Composition -> the bends of the op that reads its last tensor but one
BENDS = {
    "relu": (lambda x: layers.ReLU()(x), [0]),
    "relu6": (lambda x: layers.ReLU(6)(x), [0, 6]),
    "relu_max": (lambda x: ops.minimum(x, 1.5), [1.5]),
    "relu6_vector": (lambda x: layers.ReLU(6)(layers.GlobalMaxPooling2D()(x)), [0, 6]),
    "leaky": (lambda x: layers.LeakyReLU(0.2)(layers.GlobalMaxPooling2D()(x)), [0]),
    "large": (lambda x: ops.maximum(x, -300.0), [-300]),
    "channels": (lambda x: ops.maximum(x, np.arange(-3, 3, dtype="f")), [np.arange(-3, 3)]),
    "two_readers": (lambda x: layers.ReLU(6)(x) + ops.minimum(x, 2.0), [0, 2, 6]),
}  # fmt: skip


@pytest.mark.parametrize("name", BENDS)
def test_each_channel_lies_on_both_sides_of_each_bend(name):
    output, bends = BENDS[name]
    data = keras.Input(op_networks.IMAGE, name="data")
    graph, found = probed(keras.Model(data, output(data)))
    source = next(node.inputs[0] for node in graph.nodes if node.op not in ("Max", "AddV2"))
    array = found[source].reshape(-1, 6)
    ends = [np.full(6, -np.inf), *(np.broadcast_to(bend, 6) for bend in bends), np.full(6, np.inf)]
    for low, high in zip(ends, ends[1:], strict=False):
        assert ((array > low) & (array < high)).any(0).all()


def test_probes_are_made_again_of_their_regions():
    model = composition("squeeze_excite")
    first, second = probed(model)[1], probed(model)[1]
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("name", ["log", "length", "divide"])
def test_probes_lie_where_an_op_is_defined(name, tmp_path, pycaffe):
    rows = converted(op_networks.NETWORKS[name], tmp_path).rows(pycaffe)
    assert all(row.probed < 1e-5 for row in rows)


def test_a_norm_is_fed_what_it_was_trained_on():
    data = keras.Input((9, 9, 4), name="data")
    norm = layers.BatchNormalization()
    model = keras.Model(data, norm(data))
    mean, variance = np.float32([1e4, -3, 0, 50]), np.float32([25, 1e-4, 1, 1e4])
    norm.moving_mean.assign(mean)
    norm.moving_variance.assign(variance)
    array = probed(model)[1]["data"]
    outside = np.abs(array - mean) > 2.01 * np.sqrt(variance + norm.epsilon)
    assert not outside.any()
    assert (np.ptp(array, (0, 1, 2)) > np.sqrt(variance)).all()


def test_floors_are_the_size_of_a_sums_terms():
    """A dense layer of 300 numbers: its terms are w x, and the sum of them may be nothing."""
    kernel = np.random.default_rng(0).normal(size=(300, 40)).astype("f")
    trace = function_trace(lambda x: x @ kernel, (1, 300))
    graph, tensors = reader.read(trace, "net")
    found = probes.computed(graph, trace, tensors)
    fed = found.fed("x0", (1, 300))
    terms = np.sqrt(np.square(fed) @ np.square(kernel))
    ((name, floor),) = found.floors.items()
    assert floor.shape == found.outputs[name].shape
    assert (floor / terms).min() > 0.2 and (floor / terms).max() < 2.5


# Faults that a user's input does not show: composition, layer, its blob, change of one number.
HIDDEN = {
    "noise behind a dead ReLU": (
        lambda x: layers.Conv2D(4, 3, name="hidden")(layers.ReLU()(x - 1e3)), 0,
        lambda array, at: 100 * (array[at] + 1),
    ),
    "a gain of 1e-4 beside 1e3": (
        lambda x: layers.Rescaling(1.0, name="hidden")(x)
        * np.float32([1e3, 1e-4, 1e3, 1e3, 1e3, 1e3]),
        0, lambda array, at: -7 * array[at] if at == 1 else array[at],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HIDDEN)
def test_what_a_users_input_does_not_reach(name, runtime, tmp_path):
    output, blob, change = HIDDEN[name]
    whole = converted(output, tmp_path)
    assert planted.verdict(lambda: whole.rows(runtime)) is None
    caffemodel = whole.handoff.caffemodel
    layer, _, _ = next(entry for entry in planted.numbers(caffemodel) if entry[2] > 4)
    planted.change_number(caffemodel, layer, blob, 1, change)
    assert "on the probes" in planted.verdict(lambda: whole.rows(runtime))


# Bounds and slopes that the input does not reach: composition, right text, wrong text.
BOUNDS = {
    "a clip": (lambda x: layers.ReLU(6)(x), "shift: -6.0", "shift: -60.0"),
    "a slope": (
        lambda x: layers.LeakyReLU(0.2)(ops.abs(x) + 0.1), "negative_slope: 0.2",
        "negative_slope: 0.3",
    ),
    "a floor": (lambda x: ops.maximum(x, -70.0), "shift: -70.0", "shift: -69.0"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOUNDS)
def test_a_bound_that_no_number_reaches(name, runtime, tmp_path):
    output, right, wrong = BOUNDS[name]
    whole = converted(output, tmp_path)
    text = whole.handoff.prototxt.read_text()
    assert right in text
    whole.handoff.prototxt.write_text(text.replace(right, wrong))
    assert "on the probes" in planted.verdict(lambda: whole.rows(runtime))


def mobile(x):
    """A block as MobileNetV3 has them: depthwise, hard swish, squeeze and excite, residual."""
    y = layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(x))
    y = layers.Activation("hard_silu")(y)
    y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, 1, "same", use_bias=False)(y))
    y = layers.ReLU(6)(y)
    gate = layers.Conv2D(4, 1, activation="relu")(layers.GlobalAveragePooling2D(keepdims=True)(y))
    y = y * layers.Conv2D(8, 1, activation="hard_sigmoid")(gate)
    return layers.Softmax()(layers.Dense(5)(layers.Flatten()(layers.Conv2D(6, 1)(y) + x)))


def mixer(x):
    """What ConvNeXt is made of."""
    y = layers.LayerNormalization(epsilon=1e-6)(layers.DepthwiseConv2D(5, padding="same")(x))
    y = layers.Dense(6)(ops.gelu(layers.Dense(12)(y), approximate=False))
    return layers.GlobalAveragePooling2D()(x + y * np.linspace(0.1, 1, 6, dtype="f"))


def decoder(x):
    """Down and up again, as a U-Net does."""
    y = layers.AveragePooling2D(3, 2, "same")(layers.LeakyReLU(0.2)(layers.Conv2D(6, 3)(x)))
    y = layers.UpSampling2D(2, interpolation="bilinear")(y)
    y = layers.Conv2DTranspose(4, 3, 2, padding="same", activation="elu")(y)
    return layers.Conv2D(2, 1, activation="sigmoid")(layers.Concatenate()([y, y * y]))


def norms(x):
    y = ops.clip(layers.BatchNormalization()(x), -1, 0.7)
    return ops.softplus(layers.RMSNormalization()(y)) / (2.0 + ops.abs(x))


def classifier(x):
    return randomise(mnistcls.build())(x)


FIVE = {
    "mobile": mobile, "mixer": mixer, "decoder": decoder, "norms": norms, "mnistcls": classifier,
}  # fmt: skip


def shape_of(name):
    return (28, 28, 1) if name == "mnistcls" else op_networks.IMAGE


def both(name, folder, form):
    """(a network in one of its forms, the paths of its two files)."""
    whole = converted(FIVE[name], folder, shape_of(name))
    whole = Deployed(whole, folder) if form == "deploy" else whole
    return whole, whole.handoff.prototxt, whole.handoff.caffemodel


@pytest.mark.parametrize("form", ["inspectable", "deploy"])
@pytest.mark.parametrize("name", FIVE)
def test_any_wrong_number_of_a_caffemodel_is_found(name, form, pycaffe, tmp_path):
    whole, _, caffemodel = both(name, tmp_path, form)
    assert planted.verdict(lambda: whole.rows(pycaffe)) is None
    right, random = caffemodel.read_bytes(), np.random.default_rng(len(name))
    entries, missed = planted.numbers(caffemodel), []
    for _ in range(NUMBERS):
        layer, blob, count = entries[random.integers(len(entries))]
        at = random.integers(count)
        planted.change_number(caffemodel, layer, blob, at, planted.a_deviation_more)
        if planted.verdict(lambda: whole.rows(pycaffe)) is None:
            missed.append((layer, blob, at))
        caffemodel.write_bytes(right)
    assert missed == []


@pytest.mark.parametrize("form", ["inspectable", "deploy"])
@pytest.mark.parametrize("name", FIVE)
def test_any_wrong_number_of_a_prototxt_is_found(name, form, pycaffe, tmp_path):
    whole, prototxt, _ = both(name, tmp_path, form)
    right, random = prototxt.read_text(), np.random.default_rng(len(name))
    places, missed = planted.settings(prototxt), []
    for place in random.permutation(places)[:NUMBERS]:
        planted.change_setting(prototxt, place, lambda number: number + max(1, abs(number) // 2))
        if planted.verdict(lambda: whole.rows(pycaffe)) is None:
            missed.append(
                right[: place[1]].splitlines()[-1] + f" in line {right[: place[0]].count(chr(10))}"
            )
        prototxt.write_text(right)
    assert missed == []


def test_the_deploy_form_is_held_to_the_probes(pycaffe, tmp_path):
    whole = Deployed(converted(lambda x: layers.ReLU(6)(x - 9.0), tmp_path), tmp_path)
    assert planted.verdict(lambda: whole.rows(pycaffe)) is None
    text = whole.handoff.prototxt.read_text()
    whole.handoff.prototxt.write_text(text.replace("shift: -6.0", "shift: -5.0"))
    assert "on the probes" in planted.verdict(lambda: whole.rows(pycaffe))


def test_a_wrong_inspectable_form_is_told_where_it_is_the_measure(pycaffe, tmp_path):
    whole = Deployed(converted(lambda x: layers.ReLU(6)(x - 9.0), tmp_path), tmp_path)
    assert parity.first_stray(whole.proof(pycaffe).before, 1e-5) == (None, None)
    prototxt = whole.converted.handoff.prototxt
    prototxt.write_text(prototxt.read_text().replace("shift: -6.0", "shift: -5.0"))
    row, why = whole.proof(pycaffe).first_stray(1e-5)
    assert "Relu6 in the inspectable" in row.name and "on the probes" in why


@pytest.mark.parametrize("name", FIVE)
def test_the_probes_reach_every_number(name, runtime, tmp_path):
    whole = converted(FIVE[name], tmp_path, shape_of(name))
    found = whole.proof(runtime).reach
    assert found.missed == {} and found.reached == found.total
    assert found.total == sum(count for *_, count in planted.numbers(whole.handoff.caffemodel))


def test_what_is_not_reached_is_told(pycaffe, tmp_path):
    """A channel that is always 0, and a kernel's rows that meet padding only."""
    zeros = np.float32([1, 1, 0, 1, 1, 1])
    dead = Converted(
        function_trace(lambda x: zeros * x @ np.ones((6, 4), "f"), (1, 9, 9, 6)), tmp_path
    )
    net = dead.proof(pycaffe).reach
    assert net.missed == {}  # the product is fed anew: nothing is dead there
    message = schema.LayerParameter(
        name="conv", type="Convolution", bottom=["x"], top=["conv"],
        convolution_param={"num_output": 2, "kernel_size": [3], "pad": [1], "bias_term": False},
    )  # fmt: skip
    image = np.ones((1, 3, 1, 5), np.float32)
    image[:, 1] = 0
    found = reach.Reach.of([message], {"x": image})
    assert found.total == 2 * 3 * 9
    assert found.missed == {"conv": 2 * (3 * 9 - 2 * 3)}
    assert "not reached: conv 42" in str(found)
