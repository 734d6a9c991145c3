"""What cannot be taken to Caffe: every cause at once, by name, with what to do; nothing is left."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests import harness
from tests.makers import (
    IMAGE,
    Module,
    frozen,
    functional,
    inception,
    loaded,
    norm,
    saved,
    started,
    v1,
)  # fmt: skip
from tests.pipeline import complaint, contents, run
from tests.refusals import MAPS, SEQUENCE, VECTOR, function_trace, refusal, weights
from tf2caffe import api
from tf2caffe.caffe import forms
from tf2caffe.caffe.net import Net
from tf2caffe.failure import Failure
from tf2caffe.frontend import reader, trace
from tf2caffe.frontend.weights import save
from tf2caffe.paths import Handoff


def integers(x):
    return tf.quantization.quantize(x, -1.0, 1.0, tf.qint8)[0]


def lookup(x):
    keys, values = tf.constant([1, 2], tf.int64), tf.constant([1.0, 2.0])
    table = tf.lookup.KeyValueTensorInitializer(keys, values)
    return tf.lookup.StaticHashTable(table, 0.0).lookup(tf.cast(x, tf.int64))


# What is not computed of a batch of images that are parts of one.
OF_ONE_IMAGE = {
    "transposed": lambda x: tf.nn.conv2d_transpose(x, weights(2, 2, 5, 4), (4, 8, 6, 5), 2),
    "depth to space": lambda x: tf.nn.depth_to_space(x, 2),
    "space to depth": lambda x: tf.nn.space_to_depth(x[:, :, :2], 2),
    "patches": lambda x: tf.image.extract_patches(
        x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"
    ),
    "normalised": tf.nn.lrn,
    "bilinear": lambda x: tf.image.resize(x, (8, 9)),
    "nearest": lambda x: tf.image.resize(x, (8, 9), "nearest"),
}


@pytest.mark.parametrize("name", OF_ONE_IMAGE)
def test_batch_of_parts_of_an_image(name, tmp_path):
    """It was refused as a damaged graph.json, or ended in a traceback."""
    function = OF_ONE_IMAGE[name]
    traced = function_trace(lambda x: function(tf.reshape(x, (4, 4, 3, 4))), (1, 16, 3, 4))
    assert any("it computes on 4 images" in line for line in refusal(traced, tmp_path))


# Description -> (function of one tensor, the tensor's shape, the line that refuses it).
REFUSED = {
    # by the reader
    "condition": (lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2, lambda: x), MAPS,
                  r"If \(StatelessIf\): control flow .* decide it"),
    "choice": (lambda x: tf.where(tf.cast(x, tf.int32) > 0, x, x * 2.0), MAPS,
               r"Select \(SelectV2\): a choice that depends on the data; say it with relu"),
    "three dimensions": (lambda x: tf.nn.conv3d_transpose(
        x, weights(2, 2, 2, 3, 4), (1, 8, 8, 8, 3), 2), (1, 4, 4, 4, 4),
        r"\(Conv3DBackpropInputV2\): of windows of three dimensions .* not transposed"),
    "filled": (lambda x: tf.image.crop_and_resize(x, [[0.1, 0.2, 1.5, 0.9]], [0], [3, 4],
                                                  extrapolation_value=2.0), MAPS,
               r"\(CropAndResize\): it fills what lies beyond the image"),
    "boxes": (lambda x: tf.image.crop_and_resize(x, x[0, 0, :1], [0], [3, 4]), MAPS,
              r"\(CropAndResize\): it computes its boxes from the input"),
    "rounded": (tf.quantization.fake_quant_with_min_max_args, MAPS,
                r"\(FakeQuantWithMinMaxArgs\): .* save the model without quantisation"),
    "quantised": (lambda x: tf.quantization.dequantize(integers(x), -1.0, 1.0), MAPS,
                  r"\(QuantizeV2\): it computes in integers.* before it is quantised"),
    "random": (lambda x: x + tf.random.normal([4]), MAPS,
               r"\(RandomStandardNormal\): random numbers.* save the model for inference"),
    "random of a shape": (lambda x: x + tf.random.normal(tf.shape(x)), MAPS, r"random numbers"),
    "table": (lookup, VECTOR, r"\(LookupTableFindV2\): a table .* begin it after"),
    "cast": (lambda x: tf.cast(tf.cast(x, tf.int32), tf.float32), MAPS,
             r"\(Cast\): it changes the type .* leave it out"),
    "gather": (lambda x: tf.gather(weights(5, 3), tf.cast(x, tf.int32)), VECTOR,
               r"\(GatherV2\): it computes its indices from the input"),
    "statistics": (lambda x: v1.nn.fused_batch_norm(x, weights(4), weights(4))[0], MAPS,
                   r"\(FusedBatchNormV3\): it takes the statistics of the batch.* for inference"),
    "short": (lambda x: tf.cast(tf.nn.relu(tf.cast(x, tf.int16)), tf.float32), MAPS,
              r"Relu \(Relu\): it computes in int16; .* build the model in float32"),
    "dynamic": (lambda x: tf.matmul(tf.boolean_mask(x[0, 0], x[0, 0, :, 0] > 0), weights(4, 3)),
                MAPS,
                r"Where \(Where\): a choice that depends on the data"),
    "constant output": (lambda x: (x * 2, tf.constant([1.0, 2.0])), MAPS,
                        r"y1 \(output\): it does not depend on the input; leave it out"),
    # by the layout
    "batch statistics": (lambda x: x - tf.nn.moments(x, [0, 1, 2])[0], MAPS,
                         r"moments/mean \(Mean\): it reduces the batch"),
    # by the mapping
    "argmax read": (lambda x: tf.matmul(tf.one_hot(tf.argmax(x, -1), 12), weights(12, 3)), VECTOR,
                    r"\(OneHot\): .* end the network before it"),
    "pooled channels": (lambda x: tf.nn.max_pool(x, [1, 1, 1, 2], [1, 1, 1, 2], "VALID"), MAPS,
                        r"\(MaxPool\): ksize \[1, 1, 1, 2\] .* channels"),
    "far padding": (lambda x: tf.nn.max_pool2d(x, 2, 2, [[0, 0], [3, 3], [3, 3], [0, 0]]), MAPS,
                    r"\(MaxPool\): Caffe cannot pad"),
    "batch averaged": (lambda x: tf.reduce_mean(x, [0, 1, 2], keepdims=True), MAPS,
                       r"\(Mean\): .* batch"),
    "local norm": (lambda x: tf.nn.lrn(x, bias=0.0), MAPS, r"\(LRN\): bias 0.0"),
    "base": (lambda x: tf.pow(-2.0, x), MAPS, r"\(Pow\): its base is not above 0"),
    "exponents": (lambda x: tf.pow(x, [1.0, 2.0, 3.0, 4.0]), MAPS, r"\(Pow\): .* one exponent"),
    "two powers": (lambda x: tf.pow(x, x + 1.0), MAPS, r"\(Pow\): .* of x > 0, build exp"),
}  # fmt: skip


# What was once refused: (function, the tensor's shape).
CONVERTED = {
    "cumsum": (lambda x: tf.cumsum(x, 1), MAPS),
    "power of two": (lambda x: tf.pow(2.0, x), MAPS),
    "powers of channels": (lambda x: tf.pow([0.5, 1.0, 2.0, 3.0], x), MAPS),
    "attention": (lambda x: tf.matmul(x, x, transpose_b=True), SEQUENCE),
    "einsum": (lambda x: tf.einsum("bij,bkj->bik", x, x), SEQUENCE),
    "mirror": (lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"), MAPS),
    "batch moved": (lambda x: tf.transpose(x, [1, 0, 2, 3]), MAPS),
    "batch joined": (lambda x: tf.concat([x, x], 0), MAPS),
    "batch reduced": (lambda x: tf.reduce_mean(x, [0, 1, 2]), MAPS),
    "batch reshaped": (lambda x: tf.reshape(x, [2, 6, 8, 2]), MAPS),
    "five axes cut": (lambda x: tf.nn.relu(tf.reshape(x, [1, 6, 4, 2, 4]))[:, 2], MAPS),
    "constant joined": (lambda x: tf.concat([x, weights(1, 6, 8, 2)], 3), MAPS),
    "padded vector": (lambda x: tf.pad(x, [[0, 0], [1, 1]]), VECTOR),
    "padded channels": (lambda x: tf.pad(x, [[0, 0], [0, 0], [0, 0], [1, 1]]), MAPS),
    "backwards": (lambda x: x[:, ::-1], MAPS),
    "choice": (lambda x: tf.where(x > 0.0, x, x * 2.0), MAPS),
    "channels first": (lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID", data_format="NCHW"), MAPS),
    "broadcast rank": (lambda x: x * tf.reduce_mean(x, [1, 2]), MAPS),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_converted(name, runtime, tmp_path):
    function, shape = CONVERTED[name]
    harness.assert_equal(function_trace(function, shape), tmp_path, runtime)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    function, shape, line = REFUSED[name]
    problems = refusal(function_trace(function, shape), tmp_path)
    assert any(re.search(line, problem) for problem in problems), problems


@keras.saving.register_keras_serializable("odd")
class Odd(layers.Layer):
    """Three things that Caffe has not."""

    def call(self, x):
        return tf.math.igamma(1.0, tf.floor(tf.sin(x)))


def odd_model():
    data = keras.Input(MAPS[1:])
    x = layers.Conv2D(4, 3, name="conv1")(Odd(name="odd1")(data))
    return keras.Model(data, Odd(name="odd2")(x))


def test_all_at_once(tmp_path):
    """The reader's refusals all come together, under the names of the layers."""
    problems = refusal(trace.keras_trace(odd_model()), tmp_path)
    told = [problem.split(":")[0] for problem in problems]
    kinds = ("Sin", "Floor", "Igamma")
    assert told == [f"{name}/{kind} ({kind})" for name in ("odd1", "odd2") for kind in kinds]


def pooled_channels(x):
    return tf.nn.max_pool(x, [1, 1, 1, 2], [1, 1, 1, 2], "VALID")


def test_all_mappings_at_once(tmp_path):
    problems = refusal(
        function_trace(lambda x: tf.pow(tf.nn.lrn(pooled_channels(x), bias=0.0), [1.0, 2.0]),
                       MAPS), tmp_path,
    )  # fmt: skip
    kinds = ("MaxPool", "LRN", "Pow")
    assert len(problems) == 3
    assert all(f"({kind})" in told for kind, told in zip(kinds, problems, strict=True))


def three_stages(x):
    """By the reader (Sin), by the mapping (LRN, Pow), by the target (Log)."""
    y = tf.nn.relu(tf.nn.lrn(x, bias=0.0))
    return tf.math.log(tf.pow(tf.sin(tf.nn.relu(x) + y), [1.0, 2.0, 3.0, 4.0]))


def test_all_stages_at_once(tmp_path):
    with pytest.raises(Failure) as raised:
        api.convert(function_trace(three_stages, MAPS), name="net", folder=tmp_path)
    told = re.findall(r"^  .*?\((\w+)\):", str(raised.value), re.MULTILINE)
    assert told == ["Sin", "LRN", "Pow", "Log"] and contents(tmp_path) == {}


def test_mapping_and_target_at_once(tmp_path):
    def network(x):
        return tf.math.log(tf.abs(tf.pow(x, [1.0, 2.0, 3.0, 4.0])))

    with pytest.raises(Failure) as raised:
        api.convert(function_trace(network, MAPS), name="net", folder=tmp_path)
    told = re.findall(r"^  .*?\((\w+)\):", str(raised.value), re.MULTILINE)
    assert told == ["Pow", "Log"]


def cut_graph(x):
    y = tf.identity(tf.nn.relu(tf.nn.conv2d(x, weights(3, 3, 3, 4), 1, "SAME")), "middle")
    side = tf.nn.bias_add(tf.nn.conv2d(x, weights(1, 1, 3, 2), 1, "SAME"), weights(2))
    tf.multiply(tf.math.sin(y), 2.0, name="y")
    tf.nn.relu(side, "side")


def test_cut_here(runtime, tmp_path):
    """The line of --outputs that a refusal gives converts what comes before."""
    path = graph_file(tmp_path, cut_graph)
    with pytest.raises(Failure) as raised:
        api.convert(path, folder=tmp_path, outputs=["y", "side"])
    (line,) = re.findall(r"--outputs (\S+)", str(raised.value))
    assert line == "Relu,side"
    built = api.convert(path, folder=tmp_path, shape=[1, *IMAGE], outputs=line.split(","))
    assert api.prove(built, runtime=runtime).equal


def test_cut_here_of_keras(runtime, tmp_path):
    data = keras.Input(IMAGE)
    x = layers.Conv2D(4, 3, activation="relu", name="conv1")(data)
    model = keras.Model(data, layers.Conv2D(2, 1)(Odd(name="odd1")(x)))
    with pytest.raises(Failure) as raised:
        api.convert(model, name="net", folder=tmp_path)
    (line,) = re.findall(r"--outputs (\S+)", str(raised.value))
    built = api.convert(model, name="net", folder=tmp_path, outputs=line.split(","))
    assert api.prove(built, runtime=runtime).equal


def test_whole_numbers_used_as_such(tmp_path):
    data = keras.Input((5,), dtype="int32", name="words")
    model = keras.Model(data, layers.Embedding(7, 3, name="table")(data))
    problems = refusal(trace.keras_trace(model), tmp_path)
    assert problems[0].startswith("words (int32 input): an op reads it as such")
    assert any("Gather" in problem and "indices" in problem for problem in problems)


def test_digits_of_float64(tmp_path):
    """Weights of more digits than float32 has: the first of them is named."""
    data = keras.Input(IMAGE, dtype="float32")
    model = keras.Model(data, layers.Conv2D(4, 3, name="conv1", dtype="float64")(data))
    with pytest.raises(Failure, match="conv1/kernel.* is float64, with more digits"):
        api.convert(model, name="net", folder=tmp_path)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_too_large(tmp_path):
    """Beyond what protobuf reads: the size is told. (The weights are one number, seen often.)"""
    net = Net("net", {})
    data = net.add("Input", "data", input_param={"shape": [{"dim": [1, 2**15]}]})
    kernel = np.broadcast_to(np.float32(1), (2**14 + 1, 2**15))
    param = {"num_output": len(kernel), "bias_term": False}
    net.add("InnerProduct", "dense", data, [kernel], inner_product_param=param)
    with pytest.raises(Failure, match=r"2,147,614,720 bytes of weights; .* 2,147,483,647"):
        forms.write_all([(Handoff(tmp_path, "net"), net, net.prototxt(), None)])
    assert contents(tmp_path) == {}


def graph_file(folder, build):
    """A .pb of the graph that `build` makes of a placeholder x."""
    path = folder / "my.pb"
    with tf.Graph().as_default() as graph:
        build(v1.placeholder(tf.float32, [None, *IMAGE], "x"))
        path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def asked(x):
    """A condition of which nothing tells how it is decided."""
    wide = v1.placeholder(tf.bool, [], "wide")
    tf.identity(tf.cond(wide, lambda: x * 2.0, lambda: tf.nn.relu(x)), "y")


def fed_number(x):
    tf.multiply(x, v1.placeholder(tf.float32, [], "strength"), name="y")


def unsaved(x):
    with v1.variable_scope("old", use_resource=False):
        w = v1.get_variable("w", [3])
    tf.multiply(x, w, name="y")


def hand_made_dropout(x):
    """Zeros at random without the factor that makes up for them: another function in use."""
    tf.multiply(x, tf.floor(tf.random.uniform([3]) + 0.5), name="y")


GRAPHS = {
    "condition": (asked, r"If \(StatelessIf\): control flow .* decide it"),
    "number": (fed_number, r"\(Placeholder\): it is fed .*--inputs"),
    "variable": (unsaved, r"w.* \(VariableV2\): a variable whose value is not in the file"),
    "dropout": (hand_made_dropout, r"\(RandomUniform\): random numbers"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_refused(name, tmp_path):
    build, line = GRAPHS[name]
    path = graph_file(tmp_path, build)
    problems = refusal(loaded(path, outputs=["y"]), tmp_path / "caffe")
    assert any(re.search(line, problem) for problem in problems), problems


@pytest.mark.parametrize("resource", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_no_moving_averages(fused, resource, tmp_path):
    """BatchNorm in training whose averages nothing updates cannot be guessed."""
    with tf.Graph().as_default(), v1.variable_scope("", use_resource=resource):
        tf.identity(norm(v1.placeholder(tf.float32, [None, *IMAGE], "x"), None, fused, False), "y")
        path = saved(started(), tmp_path)
    problems = refusal(loaded(path, outputs=["y"]), tmp_path / "caffe")
    expected = r"FusedBatchNorm.* statistics of the batch" if fused else r"moments.* batch"
    assert any(re.search(expected, problem) for problem in problems), problems


def test_options(tmp_path):
    """Names and sizes that do not fit the file: told with what would."""
    with tf.Graph().as_default():
        output = inception(v1.placeholder(tf.float32, [None, *IMAGE], "x"))
        tf.nn.softmax(output, name="second")
        tf.nn.relu(output, name="first")
        session = started()
    path = frozen(session, "InceptionV1/Logits", tmp_path)
    for options, words in (
        (
            {"outputs": ["InceptionV1/Logit"]},
            "--outputs InceptionV1/Logit: nothing is called so; .*V1/Logits",
        ),
        ({"inputs": ["z9"]}, "--inputs z9: nothing is called so; names like it"),
        ({"inputs": ["x:3"]}, "--inputs x:3: nothing is called so"),
        ({"shape": [1, 9, 11]}, r"--shape 1,9,11: input x is \(None, 9, 11, 3\)"),
        ({"shape": [1, 8, 11, 3]}, r"--shape 1,8,11,3: input x is"),
        ({"shape": [2, *IMAGE]}, "the batch is 1"),
    ):
        with pytest.raises(Failure, match=words):
            loaded(path, **options)
    both = path.with_name("both.pb")
    both.write_bytes(session.graph.as_graph_def().SerializeToString())
    with pytest.raises(Failure, match="--outputs NAME.*; candidates: second, first"):
        loaded(both)


def test_inputs_not_clear(tmp_path):
    """What feeds the graph is no placeholder: named, for --inputs."""
    with tf.Graph().as_default() as graph:
        dataset = tf.data.Dataset.from_tensor_slices(np.zeros((8, *IMAGE), np.float32)).batch(8)
        images = v1.data.make_one_shot_iterator(dataset).get_next()
        tf.nn.relu(images, name="y")
        path = tmp_path / "my.pb"
        path.write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(Failure, match="--inputs NAME.*; candidates: IteratorGetNext"):
        loaded(path, outputs=["y"])


def test_signatures(tmp_path):
    module = Module()
    signatures = {"classify": module.classify, "switched": module.switched}
    tf.saved_model.save(module, tmp_path / "my", signatures)
    with pytest.raises(Failure, match="no signature other; .*--signature: classify .*, switched"):
        loaded(tmp_path / "my", signature="other")
    with pytest.raises(Failure, match="no signature serving_default; choose one"):
        loaded(tmp_path / "my")
    with pytest.raises(Failure, match="inputs of unknown size: image .*--shape"):
        loaded(tmp_path / "my", signature="classify")
    tf.saved_model.save(tf.Module(), tmp_path / "none")
    with pytest.raises(Failure, match="has no signature; save it with"):
        loaded(tmp_path / "none")


def test_signature_takes_no_such_size(tmp_path):
    module = Module()
    tf.saved_model.save(module, tmp_path / "my", module.switched)
    with pytest.raises(Failure, match="--shape 1,5,5,3: input image is"):
        loaded(tmp_path / "my", shape=[1, 5, 5, 3])


def test_keras_sizes(tmp_path):
    data = keras.Input((None, None, 3), name="data")
    model = keras.Model(data, layers.Conv2D(4, 9)(data))
    with pytest.raises(Failure, match=r"inputs of unknown size: data .*--shape"):
        trace.keras_trace(model)
    with pytest.raises(Failure, match=r"cannot be traced: .* Negative"):
        trace.keras_trace(model, [1, 5, 5, 3])
    with pytest.raises(Failure, match=r"--shape 1,5,5: input data is"):
        trace.keras_trace(model, [1, 5, 5])


def refused_file(path, folder, *options):
    """The one line in which save_weights.py refuses a file; nothing is left of it."""
    ended = run("save_weights.py", path, "--dir", folder, *options)
    assert not folder.exists() or contents(folder) == {}
    return complaint(ended, "save_weights.py")


def make_files(folder):
    """{kind: (the file that is damaged, what is given)} of every kind of model."""
    model = functional()
    model.save(folder / "my.keras")
    model.save(folder / "my.h5")
    model.export(folder / "my", verbose=False)
    with tf.Graph().as_default():
        inception(v1.placeholder(tf.float32, [None, *IMAGE], "x"))
        session = started()
        meta, pb = saved(session, folder), frozen(session, "InceptionV1/Logits", folder)
    return {
        ".keras": (folder / "my.keras",) * 2,
        ".h5": (folder / "my.h5",) * 2,
        ".pb": (pb, pb),
        ".meta": (meta, meta),
        "index": (meta.with_suffix(".index"), meta),
        "data": (meta.with_suffix(".data-00000-of-00001"), meta),
        "SavedModel": (folder / "my" / "saved_model.pb", folder / "my"),
        "variables": (folder / "my" / "variables" / "variables.data-00000-of-00001", folder / "my"),
    }


DAMAGED = (".keras", ".h5", ".pb", ".meta", "index", "data", "SavedModel", "variables")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_files(tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged(kind, files, tmp_path):
    """Cut at several places, empty, or noise: told, and nothing else."""
    file, given = files[kind]
    whole = file.read_bytes()
    noise = np.random.default_rng(0).bytes(len(whole))
    try:
        for part in (0, 1 / 7, 0.5, 0.93, None):
            file.write_bytes(noise if part is None else whole[: int(len(whole) * part)])
            with pytest.raises(Failure) as raised:
                traced = loaded(given, outputs=["InceptionV1/Logits"])
                graph, _ = reader.read(traced, "net")
                save(graph, tmp_path / "left")
            assert "\n" not in str(raised.value) and len(str(raised.value)) < 600
            assert contents(tmp_path) == {}
    finally:
        file.write_bytes(whole)


def test_not_a_model(files, tmp_path):
    meta = files[".meta"][0]
    (tmp_path / "alone.meta").write_bytes(meta.read_bytes())
    (tmp_path / "empty.pb").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "raises.py").write_text("import nothing_of_this_name")
    file = files[".keras"][0]
    for path, options, words in (
        ("alone.meta", {"outputs": ["InceptionV1/Logits"]}, "its values cannot be read"),
        ("empty.pb", {}, "candidates: none found"),
        ("folder", {}, "not a SavedModel"),
        ("none.pb", {}, "does not exist"),
        ("raises.py", {}, "is not a .keras"),
        (files["SavedModel"][0], {}, "give its folder"),
        (file, {"custom": tmp_path / "none.py"}, "none.py does not exist"),
        (file, {"custom": tmp_path / "raises.py"}, "raises.py: ModuleNotFoundError"),
    ):
        with pytest.raises(Failure, match=words) as raised:
            loaded(tmp_path / path, **options)
        assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_for_scripts(files, tmp_path):
    """As a user meets it: the list, exit status 1, no traceback, nothing left."""
    line = refused_file(files["SavedModel"][0], tmp_path / "out")
    assert "give its folder" in line
    odd_model().save(tmp_path / "odd.keras")
    ended = run("save_weights.py", tmp_path / "odd.keras", "--dir", tmp_path / "out",
                "--custom", __file__)  # fmt: skip
    assert ended.status == 1 and not (tmp_path / "out").exists(), ended
    assert ended.err.startswith("save_weights.py: 6 thing(s) cannot be taken to Caffe:\n  odd1/")
    assert ended.err.count("\n") == 7


@keras.saving.register_keras_serializable("odd")
class Unknown(layers.Layer):
    def call(self, x):
        return x * 2


def test_keras_refused(tmp_path):
    data = keras.Input(IMAGE)
    for last, words in (
        (layers.Lambda(lambda x: x * 2), "a Lambda holds code.*--custom"),
        (Unknown(), "--custom FILE.py names the file"),
    ):
        for suffix in (".keras", ".h5"):
            path = tmp_path / f"my{suffix}"
            keras.Model(data, last(data)).save(path)
            known = keras.saving.get_custom_objects()
            kept = known.pop("odd>Unknown", None)
            try:
                with pytest.raises(Failure, match=words):
                    loaded(path)
            finally:
                known["odd>Unknown"] = kept


def test_size_of_subclassed():
    class Plain(keras.Model):
        def call(self, x):
            return x * 2

    with pytest.raises(Failure, match="does not tell its input's size; give it with --shape"):
        trace.keras_trace(Plain(name="plain"))
