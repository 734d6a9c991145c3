"""The net's outputs are the model's: which they are, in what order, and how each lies."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from tests.deployed import Deployed
from tests.harness import TOLERANCE, Converted, function_trace, randomise
from tests.makers import loaded
from tests.pipeline import run_warm
from tf2caffe.caffe import blobs, forms, mapping, orders, outputs, schema
from tf2caffe.caffe.builder import Builder
from tf2caffe.caffe.net import Net
from tf2caffe.frontend import reader
from tf2caffe.frontend import trace as traces
from tf2caffe.graph import graph, layout
from tf2caffe.paths import Handoff
from tf2caffe.proof import parity

IMAGE = (9, 11, 3)


def conv(x, channels=4, **settings):
    return layers.Conv2D(channels, 3, padding="same", **settings)(x)


def shuffled_pixels(x, block=2):
    """ESPCN's pixel shuffle, written with reshapes."""
    _, height, width, channels = x.shape
    x = layers.Reshape((height, width, block, block, channels // block**2))(x)
    x = layers.Permute((1, 3, 2, 4, 5))(x)
    return layers.Reshape((height * block, width * block, channels // block**2), name="shuffle")(x)


def patches(x):
    """An image cut into patches of 3x1 pixels, a row for each."""
    x = layers.Permute((1, 3, 2, 4))(layers.Reshape((3, 3, 11, 4))(conv(x)))
    return layers.Reshape((33, 12), name="patches")(x)


def variational(x):
    mean = layers.Dense(5, name="mean")(layers.GlobalAveragePooling2D()(conv(x)))
    return [mean, layers.Dense(3, name="decoded")(mean)]


def pyramid(x):
    first = conv(x, name="p3")
    second = layers.MaxPooling2D(2, name="p4")(first)
    return [second, first, layers.MaxPooling2D(2, name="p5")(second)]


def activation_map(x):
    """The class activation map beside the label."""
    features = conv(x, name="features")
    pooled = layers.GlobalAveragePooling2D()(features)
    return [layers.Dense(3, name="label")(pooled), features]


def twice(x):
    return [conv(x, name="y")] * 2


def twice_moved(x):
    flat = layers.Flatten(name="flat")(conv(x))
    return [flat, layers.ReLU(name="relu")(flat), flat]


def joined(x):
    return layers.Concatenate(name="joined")(
        [layers.Flatten()(conv(x)), layers.Flatten()(conv(x, 2)), layers.GlobalMaxPooling2D()(x)]
    )


def boxes(x):
    """SSD's heads: the boxes of two feature maps, and the classes'."""
    maps = [conv(x, 8), layers.MaxPooling2D(2)(conv(x, 8))]
    rows = [layers.Reshape((-1, 4))(one) for one in maps]
    return [
        layers.Concatenate(axis=1, name="boxes")(rows),
        layers.Softmax(name="classes")(layers.Reshape((-1, 4))(conv(x, 8))),
    ]


def image_and_transposed(x):
    image = conv(x, name="image")
    return [image, layers.Permute((3, 1, 2), name="turned")(image)]


def read_as_it_lies(x):
    """A vector that a dense layer takes as it lies, and which is an output too."""
    flat = layers.Flatten(name="flat")(conv(x))
    return [flat, layers.Dense(3, name="dense")(flat)]


def log_softmax(x):
    return layers.Activation("log_softmax", name="logits")(layers.Flatten()(conv(x)))


def cut_across(x):
    return conv(layers.Reshape((11, 9, 3))(x), name="last")


def shuffled_and_pooled(x):
    """The shuffled channels are put in order once, though the pooling reads them twice."""
    x = layers.Permute((1, 2, 4, 3))(layers.Reshape((9, 11, 2, 3))(conv(x, 6)))
    return layers.AveragePooling2D(3, 2, "same", name="pool")(layers.Reshape((9, 11, 6))(x))


# Model -> its outputs for an image, and the blobs of them.
MODELS = {
    "flatten": (lambda x: layers.Flatten(name="vector")(conv(x)), "vector"),
    "policy": (lambda x: layers.Softmax(name="moves")(layers.Flatten()(conv(x, 7))), "moves"),
    "log_softmax": (log_softmax, "logits"),
    "shuffle": (lambda x: shuffled_pixels(conv(x)), "shuffle"),
    "shuffle_colours": (lambda x: shuffled_pixels(conv(x, 27), 3), "shuffle"),
    "shuffle_then_conv": (lambda x: conv(shuffled_pixels(conv(x)), name="last"), "last"),
    "patches": (patches, "patches"),
    "turned": (lambda x: layers.Permute((2, 1, 3), name="turned")(conv(x)), "turned"),
    "channels_first": (lambda x: layers.Permute((3, 1, 2), name="turned")(conv(x)), "turned"),
    "turned_and_read": (
        lambda x: conv(layers.Permute((3, 1, 2))(conv(x)), name="last"), "last",
    ),
    "sequence": (lambda x: layers.Reshape((99, 4), name="rows")(conv(x)), "rows"),
    "sequence_turned": (
        lambda x: layers.Permute((2, 1), name="rows")(layers.Reshape((99, 4))(conv(x))), "rows",
    ),
    "five_axes": (lambda x: layers.Reshape((9, 11, 2, 2), name="cells")(conv(x)), "cells"),
    "joined": (joined, "joined"),
    "joined_relu": (lambda x: layers.ReLU(name="relu")(joined(x)), "relu"),
    "joined_softmax": (lambda x: layers.Softmax(name="shares")(joined(x)), "shares"),
    "joined_norm": (lambda x: layers.BatchNormalization(name="norm")(joined(x)), "norm"),
    "joined_cut": (lambda x: layers.Reshape((3, 199), name="rows")(joined(x)), "rows"),
    "cut_vector": (
        lambda x: layers.Identity(name="part")(layers.Flatten()(conv(x))[:, 5:50]), None,
    ),
    "cut_across": (cut_across, "last"),
    "turned_and_added": (
        lambda x: layers.Permute((2, 1, 3))(x) + np.arange(297, dtype="f").reshape(11, 9, 3), None,
    ),
    "boxes": (boxes, "boxes classes"),
    "variational": (variational, "mean/output decoded"),
    "pyramid": (pyramid, "p4/output p3/output p5"),
    "activation_map": (activation_map, "label features/output"),
    "heads": (lambda x: [conv(x, name="z"), layers.Conv2D(2, 1, name="y")(x)], "z y"),
    "named": (lambda x: {"b": conv(x, name="z"), "a": layers.Conv2D(2, 1, name="y")(x)}, "z y"),
    "input": (lambda x: [x, conv(x, name="y")], "data/output y"),
    "input_alone": (lambda x: x, "data/output"),
    "twice": (twice, "y/output y/output_"),
    "twice_moved": (twice_moved, None),
    "image_and_turned": (image_and_transposed, "image/output turned"),
    "read_as_it_lies": (read_as_it_lies, "flat/output dense"),
    "shuffled_and_pooled": (shuffled_and_pooled, "pool"),
}  # fmt: skip


def model_of(name):
    data = keras.Input(IMAGE, name="data")
    return randomise(keras.Model(data, MODELS[name][0](data)))


def expected(model, converted):
    """What the model itself gives, in the order of the graph's outputs."""
    given = model(next(iter(converted.inputs.values())))
    given = given if isinstance(given, dict) else dict(enumerate(tf.nest.flatten(given)))
    return [np.asarray(array) for array in given.values()]


def image_first(array):
    """An image as NCHW, anything else as it is."""
    return np.moveaxis(array, 3, 1) if array.ndim == 4 else array


def given(runtime, handoff, converted):
    """The outputs of the prototxt, in its order, as the runtime computes them."""
    table = blobs.load(handoff.blobs)
    fed = {
        entry.blob: entry.layout.to_caffe(converted.inputs[entry.name]) for entry in table.inputs
    }
    names = outputs.of_prototxt(schema.load(handoff.prototxt))
    found = runtime.run(handoff.prototxt, handoff.caffemodel, fed, names)
    return {name: found[name] for name in names}


@pytest.mark.parametrize("name", MODELS)
def test_model(name, runtime, tmp_path):
    model, names = model_of(name), MODELS[name][1]
    deployed = Deployed(model, tmp_path)
    converted = deployed.converted
    for form in (converted, deployed):
        found = given(runtime, form.handoff, converted)
        if names:
            assert list(found) == names.split()
        for array, wanted in zip(found.values(), expected(model, converted), strict=True):
            assert array.shape == image_first(wanted).shape
            assert parity.relative_error(image_first(wanted), array) <= TOLERANCE
        assert parity.first_stray(form.rows(runtime), TOLERANCE) == (None, None)
        assert outputs.difference(blobs.load(form.handoff.blobs), list(found)) is None


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_moved_in_caffe_s_order(name, tmp_path):
    """What the net then moves, its own layers ask for; each output is as it lies."""
    converted = Converted(model_of(name), tmp_path)
    network = graph.load(converted.handoff.graph)
    graph.load_weights(network, converted.handoff.weights)
    net = mapping.build(network, output_order="caffe")
    copies = [layer for layer in net.layers if layer.name.endswith(("/output", "/output_"))]
    assert {layer.type for layer in copies} <= {"Power"}
    assert net.outputs() == list(dict.fromkeys(output.blob for output in net.results))
    assert len(net.layers) <= len(converted.net.layers)


def test_order_is_told():
    """In words, of every kind."""
    image = layout.usual((4, 5, 6))
    assert layout.described(image) == "NCHW"
    assert layout.described(image.reshaped((120,))) == "as it lies: C, H, W"
    assert layout.described(layout.usual((4, 5))) == "as it lies: C, L"
    assert layout.described(layout.plain((4, 5, 6))) == "as TensorFlow"
    assert layout.described(layout.usual((7,))) == "as TensorFlow"


SWAPS = [
    ((3, 4), (1, 0)), ((5, 1, 7), (2, 1, 0)), ((4, 9, 11), (1, 2, 0)),
    ((2, 2, 9, 11), (2, 0, 3, 1)),
    ((6, 5, 7), (0, 2, 1)), ((3, 4, 5, 2, 3), (4, 2, 0, 3, 1)), ((40, 2, 3, 3), (0, 2, 1, 3)),
    ((2, 2, 3, 2, 2, 3, 2), (6, 4, 2, 0, 5, 3, 1)), ((2, 30, 30), (0, 2, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("sizes", "order"), SWAPS, ids=str)
def test_permuted(sizes, order, runtime, tmp_path):
    """To the bit."""
    net = Builder("net")
    shape = [1, sizes[0], 1, int(np.prod(sizes[1:]))]
    data = net.add("Input", "data", input_param={"shape": [{"dim": shape}]})
    blob = net.permute("moved", data, sizes, order)
    (tmp_path / "net.prototxt").write_text(net.prototxt())
    with (tmp_path / "net.caffemodel").open("wb") as file:
        net.write_caffemodel(file)
    array = np.random.default_rng(1).normal(size=(2, *shape[1:])).astype(np.float32)
    files = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    found = runtime.run(*files, {"data": array}, [blob])[blob]
    wanted = array.reshape(2, *sizes).transpose(0, *(at + 1 for at in order))
    assert np.array_equal(found.ravel(), wanted.ravel())


def test_what_is_in_order_costs_nothing():
    assert orders.plan((3, 4, 5), (0, 1, 2)) == []
    assert orders.plan((3, 1, 5), (1, 0, 2)) == []
    assert len(orders.plan((4, 9, 11), (1, 2, 0))) == 1  # (C, H, W) -> (H, W, C)
    assert len(orders.plan((9, 11, 4), (2, 0, 1))) == 1


def labels(x):
    """Of a flattened map, and of each pixel of an image that another layer reads."""
    image = conv(x, name="image")
    flat = layers.Flatten(name="moves")(conv(x, 7))
    return [
        ops.argmax(flat, -1),
        layers.Conv2D(2, 1, name="last")(image),
        ops.argmax(image, -1),
        ops.argmax(image, 1),
    ]


def test_labels(runtime, tmp_path):
    """ArgMax is left to the caller, who finds the same label on the blob."""
    data = keras.Input(IMAGE, name="data")
    model = randomise(keras.Model(data, labels(data)))
    deployed = Deployed(model, tmp_path, images=4)
    converted = deployed.converted
    for form in (converted, deployed):
        found, rows = given(runtime, form.handoff, converted), form.rows(runtime)
        assert list(found) == ["moves", "last", "image/output"]  # two labels, of one blob
        first, _, second, third = expected(model, converted)
        assert np.array_equal(found["moves"].argmax(1), first)
        assert np.array_equal(found["image/output"].argmax(1), second)
        assert np.array_equal(found["image/output"].argmax(2), np.moveaxis(third, 2, 1))
        table = blobs.load(form.handoff.blobs)
        assert outputs.wrong_labels(table, rows, converted.layers, TOLERANCE) == []
        name = table.outputs[0].tensorflow
        other = converted.layers | {name: (converted.layers[name] + 1) % 693}
        wrong = outputs.wrong_labels(table, rows, other, TOLERANCE)
        assert wrong == [(image, table.outputs[0].name) for image in range(4)]


def test_label_beside_its_shares(tmp_path, pycaffe):
    """The largest number of the softmax is that of what it reads, which then is no output."""
    data = keras.Input(IMAGE, name="data")
    scores = layers.Dense(3, name="scores")(layers.GlobalMaxPooling2D()(data))
    ends = [ops.argmax(scores, -1), layers.Softmax(name="shares")(scores)]
    converted = Converted(keras.Model(data, ends), tmp_path, images=5)
    assert converted.net.outputs() == ["shares"]
    rows, table = converted.rows(pycaffe), blobs.load(converted.handoff.blobs)
    assert outputs.wrong_labels(table, rows, converted.layers, TOLERANCE) == []


def test_axis_of_a_label(capsys):
    """As the blob has it."""
    entry = blobs.Blob("x", "x", layout.usual((4, 5, 6)))
    output = outputs.Output("label", "label/ArgMax", "x", [1, 6, 4, 5], "NCHW", 3)
    outputs.print_map(blobs.Table([], [entry], [], [], "", [], [output]))
    told = "label is an ArgMax, which is left to the caller: the index of the largest number of x"
    assert f"{told} along axis 1\n" in capsys.readouterr().out


def test_ties_are_no_wrong_labels():
    """Whichever of two equal numbers is taken; not a number that is less."""
    output = outputs.Output("y", "y/ArgMax", "x", [1, 3], "as TensorFlow", 1)
    table = blobs.Table([], [], [], [], "", [], [output])
    scores = np.array([[1, 2, 2 + 1e-6], [0, 1, 3]], np.float32)
    row = parity.Row("x", "x", scores, scores, 0, 0, 1)
    assert outputs.wrong_labels(table, [row], {"y/ArgMax": np.array([1, 2])}, 1e-5) == []
    assert outputs.wrong_labels(table, [row], {"y/ArgMax": np.array([2, 1])}, 1e-5) == [(1, "y")]


def test_label_beside_its_numbers(tmp_path):
    """Both are found on the one blob."""
    data = keras.Input(IMAGE, name="data")
    scores = layers.Dense(3, name="scores")(layers.GlobalMaxPooling2D()(data))
    converted = Converted(keras.Model(data, [ops.argmax(scores, -1), scores]), tmp_path)
    assert converted.net.outputs() == ["scores"]
    assert [output.blob for output in converted.net.results] == ["scores", "scores"]


def test_vitis_has_no_power(tmp_path):
    """The last layer of an output that is read is a Scale there."""
    data = keras.Input(IMAGE, name="data")
    model = randomise(keras.Model(data, pyramid(data)))
    deployed = Deployed(model, tmp_path, target="vitis")
    for net in (deployed.converted.fitted, deployed.net):
        assert net.outputs() == ["p4/output", "p3/output", "p5"]
        assert [layer.type for layer in net.layers[-3:]] == ["Scale", "Scale", "Pooling"]


@pytest.mark.parametrize("kind", ["list", "dict", "nested"])
def test_keras_order(kind, tmp_path):
    """As they were declared, also from a file."""
    data = keras.Input(IMAGE, name="data")
    made = {name: layers.Conv2D(2, 1, name=name)(data) for name in ("z", "y", "x")}
    given = {"list": [*made.values()], "dict": made, "nested": {"b": [made["z"]], "a": made["y"]}}
    keras.Model(data, given[kind]).save(tmp_path / "my.keras")
    names = list(reader.read(loaded(tmp_path / "my.keras"), "my")[0].outputs.values())
    assert names == [f"{name}/Conv2D" for name in "zyx"][: 2 if kind == "nested" else 3]


def test_saved_model_order(tmp_path):
    """The format has none: Keras's own names are counted, not spelt."""
    data = keras.Input(IMAGE, name="data")
    made = [layers.Conv2D(1, 1, name=f"c{at}")(data) for at in range(12)]
    keras.Model(data, made).export(str(tmp_path / "saved"), verbose=False)
    trace = loaded(tmp_path / "saved")
    assert list(trace.outputs) == [f"output_{at}" for at in range(12)]


def test_frozen_order(tmp_path):
    """That of --outputs; an output may be an input."""
    with tf.Graph().as_default() as frozen:
        x = tf.compat.v1.placeholder(tf.float32, (1, 4), "x")
        tf.abs(tf.nn.relu(x, name="first"), name="second")
    path = tmp_path / "my.pb"
    path.write_bytes(frozen.as_graph_def().SerializeToString())
    trace = loaded(path, inputs=["x"], outputs=["second", "x", "first"])
    converted = Converted(trace, tmp_path)
    assert list(converted.graph.outputs) == ["second", "x", "first"]
    assert converted.net.outputs() == ["second", "x/output", "first/output"]


def test_unused_input_is_told(tmp_path):
    trace = function_trace(lambda x, y: tf.abs(y), (1, 3), (1, 4))
    converted = Converted(trace, tmp_path)
    assert converted.graph.unused == ["x0"]
    assert graph.load(converted.handoff.graph).unused == ["x0"]


def test_names_of_several_outputs_of_one_layer():
    """Keras calls both as the layer."""

    class Two(layers.Layer):
        def call(self, x):
            return x * 2, x * 3

    data = keras.Input(IMAGE, name="data")
    model = keras.Model(data, Two(name="two")(data))
    assert list(traces.keras_trace(model).outputs) == ["output_0", "output_1"]


def net_of(text):
    return schema.parse(text, "net.prototxt").layer


def test_written_in_place():
    """What a layer writes over what it reads is an output."""
    net = Net("net")
    for message in net_of("""
        layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }
        layer { name: "y" type: "Power" bottom: "x" top: "y" }
        layer { name: "z" type: "TanH" bottom: "x" top: "z" }
        layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
    """):
        net.append(message, [])
    assert net.outputs() == ["z", "y"]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """A model with two outputs through the scripts, and what they said."""
    folder = tmp_path_factory.mktemp("scripts")
    data = keras.Input(IMAGE, name="data")
    randomise(keras.Model(data, activation_map(data))).save(folder / "my.keras")
    said = {}
    for script in ("tf_predict.py", "save_weights.py", "build_caffe.py", "caffe_predict.py"):
        model = folder / "my.keras" if script in ("tf_predict.py", "save_weights.py") else "my"
        options = ["--deploy"] if script == "build_caffe.py" else []
        said[script] = run_warm(script, model, "--dir", folder, *options)
        assert said[script].status == 0, said[script]
    return folder, said


def test_map(scripts):
    folder, said = scripts
    assert (
        """
output    blob             shape     order
label     label            1x3       as TensorFlow
features  features/output  1x4x9x11  NCHW
"""
        in said["build_caffe.py"].out
    )
    for file in ("my.blobs.json", "my.parity.json", "my.deploy.blobs.json"):
        found = json.loads((folder / "nets" / file).read_text())["outputs"]
        assert [one["name"] for one in found] == ["label", "features"]
        assert found[1] | {"axis": None} == {
            "name": "features", "tensorflow": "features/Conv2D", "blob": "features/output",
            "shape": [1, 4, 9, 11], "order": "NCHW", "axis": None,
        }  # fmt: skip
    ended = run_warm("caffe_predict.py", "my", "--dir", folder, "--deploy")
    assert ended.status == 0 and "EQUAL: all " in ended.out


SOFTMAX = 'layer { name: "stray" type: "Softmax" bottom: "label" top: "stray" }\n'
POWER = 'layer { name: "more" type: "Power" bottom: "features" top: "more" }\n'
HANDWRITTEN = {
    "equal": (lambda text: text, None),
    "stray": (
        lambda text: text + SOFTMAX,
        "no output is label (label); stray is an output, but none of the model's",
    ),
    "second": (lambda text: text + POWER, "more is an output, but none of the model's"),
    "missing": (
        lambda text: text.replace('"features/output"', '"other"'),
        "no output is features (features); other is an output, but none of the model's",
    ),
    "order": (
        lambda text: "layer {".join(
            [*text.split("layer {")[:-2], *text.split("layer {")[:-3:-1]]
        ),
        "the outputs come as features/output, label, the model's as label, features/output",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HANDWRITTEN)
def test_written_by_hand(name, scripts, tmp_path):
    folder, _ = scripts
    change, told = HANDWRITTEN[name]
    own = tmp_path / "own.prototxt"
    own.write_text(change((folder / "nets/my.prototxt").read_text()))
    assert run_warm("build_caffe.py", "my", "--dir", folder, "--prototxt", own).status == 0
    ended = run_warm("caffe_predict.py", "my", "--dir", folder, "--runtime", "opencv")
    if told is None:
        assert ended.status == 0, ended
    else:
        prototxt = folder / "nets/my.prototxt"
        assert ended.status == 1
        told = f"NOT EQUAL: the outputs of {prototxt} are not the model's: {told}\n"
        assert ended.err == told
    assert run_warm("build_caffe.py", "my", "--dir", folder).status == 0


def test_edited_on_disk(scripts):
    """A layer behind an output, in the file alone."""
    folder, _ = scripts
    assert run_warm("build_caffe.py", "my", "--dir", folder, "--deploy").status == 0
    for form, option in (("my", ()), ("my.deploy", ("--deploy",))):
        path = folder / f"nets/{form}.prototxt"
        path.write_text(path.read_text() + SOFTMAX)
        options = ("--dir", folder, "--runtime", "opencv", *option)
        ended = run_warm("caffe_predict.py", "my", *options)
        assert ended.status == 1 and "stray is an output, but none of the model's" in ended.err


def test_nothing_stale(scripts):
    """A build without --deploy takes an earlier deploy form away; any build, another's proof."""
    folder, _ = scripts
    assert run_warm("build_caffe.py", "my", "--dir", folder, "--deploy").status == 0
    for options in ((), ("--deploy",)):
        ended = run_warm("caffe_predict.py", "my", "--dir", folder, "--runtime", "opencv", *options)
        assert ended.status == 0, ended
    forms = [Handoff(folder, "my", deploy) for deploy in (False, True)]
    assert all(form.parity.exists() and form.diagram.exists() for form in forms)
    assert run_warm("build_caffe.py", "my", "--dir", folder, "--deploy").status == 0
    assert all(form.parity.exists() for form in forms)  # it is the same network
    weight = next((folder / "tf_weights/my").glob("*-kernel.npy"))
    kernel = np.load(weight)
    np.save(weight, np.full_like(kernel, np.nan))
    ended = run_warm("build_caffe.py", "my", "--dir", folder)
    assert ended.status == 1 and all(form.parity.exists() for form in forms)  # nothing is lost
    np.save(weight, kernel * 2)
    assert run_warm("build_caffe.py", "my", "--dir", folder).status == 0
    names = {path.name for path in (folder / "nets").iterdir()}
    assert names == {"my.prototxt", "my.caffemodel", "my.blobs.json"}
    assert not forms[1].diagram.exists() and forms[0].diagram.exists()
    np.save(weight, kernel)


def test_half_a_build_leaves_all_as_it_was(tmp_path, monkeypatch):
    """Where the second form cannot be written, the first is not replaced either."""
    deployed = Deployed(model_of("heads"), tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "nets").iterdir()}
    converted = deployed.converted
    broken = Net("net")
    monkeypatch.setattr(broken, "write_caffemodel", lambda file: file.write(1))
    built = [(converted.handoff, converted.net, "", deployed.table)]
    built.append((deployed.handoff, broken, "", deployed.table))
    with pytest.raises(TypeError):
        forms.write_all(built)
    assert {path.name: path.read_bytes() for path in (tmp_path / "nets").iterdir()} == before


def test_option_by_hand(scripts, tmp_path):
    folder, _ = scripts
    options = ("--prototxt", folder / "nets/my.prototxt", "--output-order", "caffe")
    ended = run_warm("build_caffe.py", "my", "--dir", folder, *options)
    assert ended.status == 1 and "--output-order does not apply to --prototxt" in ended.err


def test_option(tmp_path):
    """A Flatten at the end, as it lies."""
    data = keras.Input(IMAGE, name="data")
    model = keras.Model(data, layers.Flatten(name="vector")(conv(data)))
    Converted(model, tmp_path)
    ended = run_warm("build_caffe.py", "net", "--dir", tmp_path, "--output-order", "caffe")
    assert "\nvector  vector  1x396  as it lies: C, H, W\n" in ended.out
    ended = run_warm("build_caffe.py", "net", "--dir", tmp_path)
    assert "\nvector  vector  1x396  as TensorFlow\n" in ended.out


class Moves:
    """A random chain of ops that split, join and change places of axes, or ask for an order."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.steps = [self.random.choice(list(MOVES)) for _ in range(self.random.integers(2, 6))]
        self.state = self.random.bit_generator.state

    def __call__(self, x):
        self.random.bit_generator.state = self.state  # TensorFlow may trace it again
        made = []
        for step in self.steps:
            x = MOVES[step](x, self.random)
            made.append(x)
        return x, made[self.random.integers(len(made))]


def reshaped(x, random):
    """Two axes joined, or one split; or the axes of another number of the same size."""
    shape = list(x.shape[1:])
    at = random.integers(len(shape))
    factor = next((n for n in (2, 3, 5) if shape[at] % n == 0), 1)
    if len(shape) > 1 and random.random() < 0.6:
        at = random.integers(len(shape) - 1)
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    elif len(shape) < 4:
        shape[at : at + 1] = [factor, shape[at] // factor]
    else:
        shape = [int(np.prod(shape[:2])), int(np.prod(shape[2:]))]
    return tf.reshape(x, [1, *shape])


def transposed(x, random):
    return tf.transpose(x, [0, *(1 + random.permutation(len(x.shape) - 1))])


def constant(shape, random):
    return random.normal(size=shape).astype(np.float32)


def convolved(x, random):
    if len(x.shape) != 4:
        return tf.nn.relu(x)
    return tf.nn.conv2d(x, constant((2, 2, x.shape[3], 4), random) / 4, 1, "SAME")


def dense(x, random):
    if len(x.shape) > 4:
        return -x
    return tf.tensordot(x, constant((x.shape[-1], 6), random) / 4, 1)


def normed(x, random):
    numbers = [np.abs(constant(x.shape[-1:], random)) + 0.5 for _ in range(4)]
    return tf.nn.batch_normalization(x, *map(tf.constant, numbers), 1e-3)


def cut(x, random):
    if len(x.shape) > 4:
        return x * 2.0
    at = random.integers(1, len(x.shape))
    begin = [0] * len(x.shape)
    begin[at] = min(1, x.shape[at] - 1)
    return tf.slice(x, begin, [-1] * len(x.shape))


MOVES = {
    "reshape": reshaped,
    "reshape again": reshaped,
    "transpose": transposed,
    "transpose again": transposed,
    "flatten": lambda x, random: tf.reshape(x, [1, -1]),
    "join": lambda x, random: tf.concat([tf.reshape(x, [1, -1]), tf.reshape(2 * x, [1, -1])], 1),
    "softmax": lambda x, random: tf.nn.softmax(x),
    "relu": lambda x, random: tf.nn.leaky_relu(x),
    "array": lambda x, random: x + constant(x.shape, random),
    "dense": dense,
    "convolve": convolved,
    "norm": normed,
    "cut": cut,
}


@pytest.mark.parametrize("seed", range(40))
def test_random_moves(seed, pycaffe, tmp_path):
    """Chains of them end in TensorFlow's order; none is refused."""
    moves = tf.autograph.experimental.do_not_convert(Moves(seed))
    deployed = Deployed(Converted(function_trace(moves, (1, 4, 6, 5)), tmp_path), tmp_path)
    converted = deployed.converted
    for form in (converted, deployed):
        found = given(pycaffe, form.handoff, converted)
        for image in range(2):
            wanted = moves(tf.constant(converted.inputs["x0"][image : image + 1]))
            for array, one in zip(found.values(), wanted, strict=True):
                one = image_first(one.numpy())[0]
                assert array[image].shape == one.shape
                assert parity.relative_error(one, array[image]) <= TOLERANCE
        assert parity.first_stray(form.rows(pycaffe), TOLERANCE) == (None, None)
