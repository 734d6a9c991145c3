"""Odd models, taken through steps 3 to 6: proven equal, or refused in one true line a cause."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from tests import harness, op_networks
from tests.deployed import Deployed
from tests.harness import TOLERANCE, Converted, assert_equal, function_trace
from tests.makers import loaded, v1
from tests.pipeline import run
from tf2caffe.caffe import handwritten, mapping
from tf2caffe.failure import Failure
from tf2caffe.frontend import reader, tf_import
from tf2caffe.graph import graph
from tf2caffe.proof import activations, probes

IMAGE, VECTOR, NUMBER = (1, 5, 7, 6), (1, 6), (1,)


def weights(*shape):
    return tf.constant(np.random.default_rng(0).normal(size=shape).astype(np.float32))


# Description -> (function, the shapes of its inputs): single numbers, vectors, images and more.
CONVERTED = {
    "divided by its largest": (lambda x: x / tf.reduce_max(x), [IMAGE]),
    "divided by its sum and one": (lambda x: x / (tf.reduce_sum(x * x) + 1.0), [IMAGE]),
    "minus its mean, axes kept": (lambda x: x - tf.reduce_mean(x, keepdims=True), [IMAGE]),
    "vector divided by its largest": (lambda x: x / tf.reduce_max(tf.abs(x)), [VECTOR]),
    "least of all": (lambda x: tf.reduce_min(x), [IMAGE]),
    "sum of five axes' products": (lambda x: tf.nn.relu(x) * tf.nn.sigmoid(x), [(1, 2, 3, 4, 5)]),
    "number": (lambda x: x * 2.0, [NUMBER]),
    "number, several ops": (lambda x: tf.nn.relu(x - 0.5) + tf.exp(x) * x, [NUMBER]),
    "number becomes a vector": (lambda x: tf.matmul(x[:, None], weights(1, 4)), [NUMBER]),
    "number times image": (lambda x, y: x * y, [NUMBER, IMAGE]),
    "last number of each": (lambda x: x[:, 2], [VECTOR]),
    "dense to one number": (lambda x: tf.reshape(x @ weights(6, 1), [-1]), [VECTOR]),
    "one pixel's one channel": (lambda x: x[:, 2, 3, 4] * 3.0, [IMAGE]),
    "one number without batch": (lambda x: x[0, 2, 3, 4] * 3.0, [IMAGE]),
    "axes added by a slice": (lambda x: x[:, None, None, :] * 2.0, [VECTOR]),
    "axes added, some taken": (lambda x: x[:, None, 1:4] * 2.0, [VECTOR]),
    "gate of new axes": (
        lambda x: x * tf.sigmoid(tf.reduce_mean(x, [1, 2]) @ weights(6, 6))[:, None, None, :],
        [IMAGE],
    ),
    "dense of five axes": (lambda x: tf.tensordot(x, weights(6, 4), 1), [(1, 3, 4, 5, 6)]),
    "einsum of five axes": (
        lambda x: tf.einsum("abcde,ef->abcdf", x, weights(6, 4)) + weights(4), [(1, 3, 4, 5, 6)],
    ),
    "joined along the second of five": (lambda x: tf.concat([x, x * 2], 1), [(1, 3, 4, 5, 6)]),
    "five axes and a constant": (lambda x: x * weights(3, 4, 5, 6), [(1, 3, 4, 5, 6)]),
    "window larger than the image": (lambda x: tf.nn.max_pool2d(x, 99, 2, "SAME"), [IMAGE]),
    "size-1 axis read backwards": (lambda x: x[..., ::-1] * 2.0, [(1, 5, 1)]),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVERTED)
def test_converted(name, runtime, tmp_path):
    """In both forms."""
    function, shapes = CONVERTED[name]
    converted = Converted(function_trace(plain(function), *shapes), tmp_path)
    for row in [*converted.rows(runtime), *Deployed(converted, tmp_path).rows(runtime)]:
        assert max(row.error, row.own) <= TOLERANCE, row


def plain(function):
    return tf.autograph.experimental.do_not_convert(function)


@pytest.mark.parametrize("alpha", [0.7, 1.0, 3.0])
def test_elu_with_an_alpha(alpha, runtime, tmp_path):
    data = keras.Input(IMAGE[1:], name="data")
    model = keras.Model(data, layers.ELU(alpha)(data))
    converted = harness.assert_equal(model, tmp_path, runtime)
    assert [node.op for node in converted.graph.nodes] == ["Elu"]


@pytest.mark.parametrize("alpha", [0.0, -0.5])
def test_elu_of_any_alpha(alpha, runtime, tmp_path):
    data = keras.Input(IMAGE[1:], name="data")
    harness.assert_equal(keras.Model(data, layers.ELU(alpha)(data)), tmp_path, runtime)


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_dilated_transposed_convolution(padding, runtime, tmp_path):
    """TensorFlow computes it by oneDNN only; without, step 3 says so."""
    data = keras.Input(IMAGE[1:], name="data")
    layer = layers.Conv2DTranspose(4, 3, dilation_rate=2, padding=padding, name="up")
    model = harness.randomise(keras.Model(data, layer(data)))
    try:
        harness.assert_equal(model, tmp_path, runtime)
    except Failure as failure:
        assert str(failure).startswith("up/Conv2DBackpropInput (Conv2DBackpropInput): TensorFlow")
        assert "with TF_ENABLE_ONEDNN_OPTS=1 in the environment, it can" in str(failure)


def at_random(x):
    return tf.cast(tf.reduce_max(x) * 0, tf.int32)


# What a function computes, of tensors of these shapes -> what refuses it.
REFUSED = {
    "computed kernel": (
        lambda x, y: tf.nn.conv2d(x, tf.reshape(y, (1, 1, 6, 1)), 1, "SAME"), [IMAGE, VECTOR],
        r"\(Conv2D\): its kernel is computed, which tf2caffe does not convert yet"),
    "computed position": (
        lambda x: tf.slice(x, [0, at_random(x)], [1, 2]), [VECTOR],
        r"\(Slice\): it computes its begin from the input"),
    "computed axis": (lambda x: tf.reduce_sum(x, at_random(x), keepdims=True), [VECTOR],
                      r"\(Sum\): it computes its axis from the input"),
    "softmax over the batch": (tf.nn.softmax, [NUMBER], r"\(Softmax\): its axis is that of the"),
    "batch reduced, axes kept": (lambda x: tf.reduce_mean(x, [0, 1, 2], keepdims=True), [IMAGE],
                                 r"\(Mean\): it reduces the batch axis"),
    "not a number": (lambda x: x * np.nan, [VECTOR], r"\(Mul\): .* nan"),
}  # fmt: skip


# What was once refused: a product from the left, or of vectors; tensors of five axes.
ONCE_REFUSED = {
    "constant and matrix": (lambda x: tf.einsum("abc,bd->adc", x, weights(5, 2)), [(1, 5, 6)]),
    "constant from the left": (lambda x: tf.matmul(weights(4, 5), x), [(1, 5, 6)]),
    "vector from the left": (lambda x: tf.matmul(weights(1, 1), x), [VECTOR]),
    "two vectors": (tf.matmul, [(1, 1), VECTOR]),
    "transposed vector": (lambda x: tf.matmul(x, weights(1, 4), transpose_a=True), [(1, 6)]),
    "mean over five axes": (lambda x: tf.reduce_mean(x, [1, 2]), [(1, 3, 4, 5, 6)]),
    "broadcast of five axes": (lambda x: x * tf.nn.relu(x[:, :, :, :1]), [(1, 3, 4, 5, 6)]),
    "slice of five axes": (lambda x: x[:, 1:], [(1, 3, 4, 5, 6)]),
    "constant with more axes": (lambda x: x + weights(1, 1, 1, 6), [VECTOR]),
}


@pytest.mark.parametrize("name", ONCE_REFUSED)
def test_once_refused(name, runtime, tmp_path):
    function, shapes = ONCE_REFUSED[name]
    assert_equal(function_trace(plain(function), *shapes), tmp_path, runtime)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    function, shapes, told = REFUSED[name]
    traced = function_trace(plain(function), *shapes)
    with pytest.raises(Failure, match=told) as raised:
        Converted(traced, tmp_path)
    assert "damaged" not in str(raised.value)


def test_remapper_is_put_back():
    options = tf.config.optimizer.get_experimental_options
    for before in (None, True, False):
        tf.config.optimizer.set_experimental_options({"remapping": before})
        with tf_import.unfused():
            assert options()["remapping"] is False
        assert options().get("remapping") is before
    tf.config.optimizer.set_experimental_options({"remapping": None})


def frozen_loop(path, reads=True):
    """TF1's while loop of three rounds, on the input or on a constant."""
    enabled = v1.control_flow_v2_enabled()
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as made:
            x = v1.placeholder(tf.float32, (1, 4), "x")
            start = x if reads else tf.ones((1, 4))
            _, y = v1.while_loop(
                lambda at, y: at < 3.0,
                lambda at, y: (at + 1.0, tf.nn.relu(y) * 0.5),
                [tf.constant(0.0), start],
                name="rnn",
            )
            tf.identity(x + y, "out")
    finally:
        if enabled:
            v1.enable_control_flow_v2()
    path.write_bytes(made.as_graph_def().SerializeToString())


def test_loops_of_tf1(tmp_path):
    frozen_loop(tmp_path / "loop.pb")
    reader.read(loaded(tmp_path / "loop.pb"), "net")  # see test_loops
    frozen_loop(tmp_path / "constant.pb", reads=False)  # of what does not depend on the input
    reader.read(loaded(tmp_path / "constant.pb"), "net")


NAMES = ["file", "input:x", "layer:x", "@images", "@shown", "x.npy", "a b", "å", "x" * 300]


def test_layers_called_anything(tmp_path):
    """And each keeps what it computed, in the `.npz`."""
    layers = {name: np.full((2, 3), at, np.float32) for at, name in enumerate(NAMES)}
    inputs = {name: -array for name, array in layers.items()}
    regions = {name: np.ones((1, 2, 2, 1), np.float32) for name in NAMES}
    kept = activations.Activations(inputs, layers, ["one", "two"], 0, "0")
    kept.probes = probes.Probes(regions, layers, {})
    activations.save(tmp_path / "kept.npz", kept)
    found = activations.load(tmp_path / "kept.npz")
    for ours, theirs in ((layers, found.layers), (inputs, found.inputs)):
        assert list(ours) == list(theirs)
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert found.images == ["one", "two"]
    assert list(found.probes.regions) == list(found.probes.outputs) == NAMES


def test_outputs_called_anything(tmp_path, opencv):
    """Steps 3 to 6, on what a SavedModel may call its outputs."""
    relu = {name: lambda x, at=at: tf.nn.relu(x) * float(at + 2) for at, name in enumerate(NAMES)}
    made = tf.Module()
    made.call = tf.function(
        plain(lambda x: {name: function(x) for name, function in relu.items()}),
        [tf.TensorSpec((1, 5), name="x")],
    )
    tf.saved_model.save(made, str(tmp_path / "saved"), made.call.get_concrete_function())
    converted = Converted(loaded(tmp_path / "saved"), tmp_path)
    activations.save(converted.handoff.activations, converted.kept)
    converted.kept = activations.load(converted.handoff.activations)
    assert {row.name.partition("/")[0] for row in converted.rows(opencv)} >= {"file", "@images"}


def test_names_that_cannot_be_printed():
    data = keras.Input((5,), name="data")
    traced = harness.traced(keras.Model(data, layers.ReLU(name="re")(data)))
    traced.outputs = {"a\nb": next(iter(traced.outputs.values()))}
    traced.layers = frozenset()
    with pytest.raises(
        Failure, match=r"'a\\nb/Relu': the name has characters that cannot be printed"
    ):
        reader.read(traced, "net")


@pytest.mark.slow
def test_scripts_on_single_numbers(tmp_path):
    """All that the network computes is one number a batch, also in the pictures."""
    with tf.Graph().as_default() as made:
        tf.multiply(v1.placeholder(tf.float32, (1,), "x"), 2.0, name="file")
    (tmp_path / "scalar.pb").write_bytes(made.as_graph_def().SerializeToString())
    for script, *arguments in (
        ("tf_predict.py", tmp_path / "scalar.pb"),
        ("save_weights.py", tmp_path / "scalar.pb"),
        ("build_caffe.py", "scalar", "--deploy"),
        ("caffe_predict.py", "scalar", "--runtime", "opencv"),
        ("caffe_predict.py", "scalar", "--runtime", "opencv", "--deploy"),
    ):
        ended = run(script, *arguments, "--dir", tmp_path / "box")
        assert (ended.status, ended.err) == (0, "")
    assert (tmp_path / "box/imgs/scalar/compare.png").exists()


INPUT = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 6 } } %s }
layer { name: "x" type: "Data" top: "x" top: "label" include { phase: TRAIN } }
layer { name: "y" type: "ReLU" bottom: "x" top: "y" %s }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" %s }
"""
TRAINED = "include { phase: TRAIN }"


def by_hand(text, folder):
    """Step 5 of a prototxt that is written by hand; its folder."""
    converted = Converted(
        function_trace(plain(lambda x: {"y": tf.nn.relu(x)}["y"]), VECTOR), folder
    )
    network = graph.load(converted.handoff.graph)
    own = folder / "own.prototxt"
    own.write_text(text.replace('"x"', '"x0"').replace('"y"', '"y0"'))
    net, table = handwritten.load(own, network)
    return converted, net, table, handwritten.text(own, net)


@pytest.mark.parametrize("rules", [
    ("", "", TRAINED), ("include { phase: TEST }", "include { max_level: 0 }", TRAINED),
    ("", "exclude { phase: TRAIN }", "exclude { phase: TEST }"),
    ("", "include { not_stage: 'a' }", "include { stage: 'a' }"),
    ("", "exclude { min_level: 1 }", "include { min_level: 1 }"),
])  # fmt: skip
def test_layers_for_training_by_hand(rules, runtime, tmp_path):
    """They are left out, as Caffe leaves them out; OpenCV would not."""
    converted, net, table, text = by_hand(INPUT % rules, tmp_path)
    assert [layer.name for layer in net.layers] == ["x0", "y0"] and "loss" not in text
    files = converted.handoff
    files.prototxt.write_text(text)
    table.write(files.blobs)
    assert all(row.own <= TOLERANCE for row in converted.rows(runtime))


def test_phase_by_hand(tmp_path):
    with pytest.raises(Failure, match=r"layer y0: `phase: TRAIN` lets it compute as in training"):
        by_hand(INPUT % ("", "phase: TRAIN", TRAINED), tmp_path)
    text = INPUT.replace('layer { name: "x" type: "Data"', "#") % ("", "", "")
    own = text.split('layer { name: "loss"')[0].split("#")
    own = own[0] + own[1].partition("\n")[2]
    assert by_hand(own, tmp_path)[3] == own.replace('"x"', '"x0"').replace('"y"', '"y0"')


def test_our_own_bug_is_a_traceback(tmp_path, monkeypatch):
    converted = Converted(function_trace(tf.nn.relu, VECTOR), tmp_path)
    monkeypatch.setitem(mapping.OPS, "Relu", lambda node, net: net.blobb(node))
    with pytest.raises(AttributeError):
        harness.rebuilt(converted.handoff)


SPOILT = {
    "attention to padding": ("Conv2D", ("attrs", "padding"), "FULL", "its padding is 'FULL', not"),
    "stride 0": ("Conv2D", ("attrs", "strides"), [1, 0, 1, 1], "four numbers from 1 on"),
    "stride that is a text": ("Conv2D", ("attrs", "strides", 1), "2", "four numbers from 1 on"),
    "stride that fits nothing": ("Conv2D", ("attrs", "strides", 1), 2, "its shape is"),
    "padding by no numbers": ("Conv2D", ("attrs", "padding"), "EXPLICIT", "its explicit_paddings"),
    "kernel turned": ("Conv2D", ("weights", "kernel", "shape"), [3, 3, 6, 4], "its kernel is"),
    "bias too long": ("Conv2D", ("weights", "bias", "shape"), [7], r"its bias is \(7,\), not"),
    "bias that is none": ("Conv2D", ("weights", "bias"), None, r"weights\.bias is not an object"),
    "weight of no such name": (
        "Conv2D", ("weights", "slope"), {"file": "a.npy", "shape": [4]}, "its weights are"),
    "setting of no such name": ("Conv2D", ("attrs", "pad"), 1, "its setting pad is not known"),
    "reads twice": ("Conv2D", ("inputs",), ["data", "data"], "it reads 2 tensors"),
    "another shape": ("Conv2D", ("shape",), [1, 5, 7, 5], "its shape is"),
    "layout of another tensor": (
        "Conv2D", ("layout", "sizes"), [5, 7, 5], r"its layout is of \(1, 5, 7, 5\), not"),
    "pool of three axes": ("MaxPool", ("attrs", "ksize"), [1, 2, 2], "four numbers from 1 on"),
    "sum of different shapes": ("AddV2", ("inputs",), ["data", "conv/Conv2D"], "do not fit"),
    "three operands": ("AddV2", ("attrs",), {"x": 1.0}, "it reads 2 tensors and has"),
    "axis that is not there": ("Mean", ("attrs", "axis"), 4, "there is no axis 4"),
    "axis that is a number with a point": ("Mean", ("attrs", "axis"), 1.0, "an axis or a list"),
    "flag that is a number": ("Mean", ("attrs", "keep_dims"), 1, "true or false"),
    "dense of another size": ("MatMul", ("weights", "kernel", "shape"), [3, 5], "its kernel is"),
    "variance that is missing": ("FusedBatchNormV3", ("weights", "variance"), ..., "its weights"),
    "epsilon below 0": ("FusedBatchNormV3", ("attrs", "epsilon"), -1.0, "a number from 0 on"),
    "epsilon without end": ("FusedBatchNormV3", ("attrs", "epsilon"), np.inf, "from 0 on"),
}  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Steps 3 and 4 of a network with an op of each sort."""
    data = keras.Input(IMAGE[1:], name="data")
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, padding="same", name="conv")(data))
    x = layers.MaxPooling2D(2, name="pool")(layers.Add(name="sum")([x, layers.ReLU()(x)]))
    x = layers.Dense(3, name="fc")(ops.mean(x, axis=(1, 2)))
    model = harness.randomise(keras.Model(data, x))
    return Converted(model, tmp_path_factory.mktemp("written")).handoff


@pytest.mark.parametrize("name", SPOILT)
def test_spoilt_record(name, written, tmp_path):
    op, (*path, last), value, told = SPOILT[name]
    record = json.loads(written.graph.read_text())
    node = next(node for node in record["nodes"] if node["op"] == op)
    part = node
    for key in path:
        part = part.setdefault(key, {})
    if value is ...:
        del part[last]
    else:
        part[last] = value
    (tmp_path / "graph.json").write_text(json.dumps(record))
    again = r"run save_weights\.py \(step 4\) again$"
    with pytest.raises(Failure, match=f"graph.json is damaged.*{told}.*{again}") as raised:
        graph.load(tmp_path / "graph.json")
    if value is not None:
        assert f"is damaged ({node['name']}: " in str(raised.value)


WRONG = (None, "x", -1, 0, 2, 1.5, True, [], {}, [0, 0], 10**9, 10**30, ...)


def spoilt(record):
    """Copies of a record, in each of which one field of an op is another value, or gone."""
    text = json.dumps(record)
    for at in range(len(record["nodes"])):
        for path in fields(record["nodes"][at]):
            for value in WRONG:
                copy = json.loads(text)
                *way, last = path
                part = copy["nodes"][at]
                for key in way:
                    part = part[key]
                if value is ...:
                    del part[last]
                else:
                    part[last] = value
                yield path, value, copy


def fields(value, path=()):
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from fields(item, (*path, key))


SPOILT_NETWORKS = ("transposed_extra", "dense_image", "slice_strided", "squeeze_excite",
                   "resize_smaller", "lrn", "padding_value", "max_pool_3_2_same")  # fmt: skip


@pytest.mark.parametrize("name", SPOILT_NETWORKS)
def test_every_field_of_an_op(name, tmp_path):
    """Whatever is in it, step 5 builds a network or says in one line what is wrong."""
    data = keras.Input(op_networks.IMAGE, name="data")
    model = harness.randomise(keras.Model(data, op_networks.NETWORKS[name](data)))
    handoff = Converted(model, tmp_path).handoff
    for path, value, record in spoilt(json.loads(handoff.graph.read_text())):
        handoff.graph.write_text(json.dumps(record))
        try:
            network = graph.load(handoff.graph)
            graph.load_weights(network, handoff.weights)
            mapping.build(network).prototxt()
        except Failure:
            continue
        except Exception as error:
            error.add_note(f"{path}: {value!r}")
            raise
        assert path[0] in ("name", "layer") or value not in (None, "x"), (path, value)
