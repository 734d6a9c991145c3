"""Every kind of model file: taken to real Caffe, and equal to what the model itself computes."""

import sys
import textwrap
from argparse import Namespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tests.harness import assert_equal, randomise
from tests.makers import (
    DATA,
    IMAGE,
    INCEPTION,
    RANDOM,
    Module,
    frozen,
    functional,
    inception,
    loaded,
    network,
    saved,
    several,
    started,
    v1,
)
from tests.pipeline import run
from tf2caffe.frontend import keras_file, load, trace


def proven(trace, folder, pycaffe, expected):
    """The layers' names, once all are equal in Caffe and the outputs are what is `expected`.

    That is a function of the inputs, {name: array}, to the list of outputs.
    """
    converted = assert_equal(trace, folder, pycaffe)
    outputs = [converted.layers[name] for name in converted.graph.outputs.values()]
    for ours, theirs in zip(outputs, expected(converted.inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    return [node.layer for node in converted.graph.nodes]


def answers(model):
    """What a Keras model itself gives, as a function of the inputs."""

    def expected(inputs):
        given = list(inputs.values())
        if isinstance(getattr(model, "_inputs_struct", None), dict):
            given = inputs
        given = given[0] if isinstance(given, list) and len(given) == 1 else given
        found = model(given, training=False)
        found = list(found.values()) if isinstance(found, dict) else tf.nest.flatten(found)
        return [np.asarray(output) for output in found]

    return expected


FUNCTIONAL = ["shared", "shared_1", "bn", "act", "inner/dw", "conv_1", "flat", "fc"]


def sequential(*first):
    parts = [layers.Conv2D(4, 3, name="c1"), layers.Flatten(name="f"), layers.Dense(3, name="d1")]
    model = keras.Sequential([*first, *parts])
    model.build((None, *IMAGE))
    return randomise(model)


def in_lists():
    image, extra, *outputs = several()
    return randomise(keras.Model([image, extra], outputs))


def in_dictionaries():
    image, extra, features, answer, joined = several()
    outputs = {"zfeatures": features, "answer": answer, "joined": joined}
    return randomise(keras.Model({"image": image, "extra": extra}, outputs))


SEVERAL = {"features", "pooled", "joined", "side", "class"}
KERAS = {
    "functional": (functional, set(FUNCTIONAL)),
    "sequential": (sequential, {"c1", "f", "d1"}),
    "sequential_input": (lambda: sequential(keras.Input(IMAGE)), {"c1", "f", "d1"}),
    "lists": (in_lists, SEVERAL),
    "dictionaries": (in_dictionaries, SEVERAL),
}


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", KERAS)
def test_keras(name, suffix, tmp_path, pycaffe):
    make, names = KERAS[name]
    model, path = make(), tmp_path / f"my{suffix}"
    model.save(path)
    assert set(proven(loaded(path), tmp_path, pycaffe, answers(model))) == names


CUSTOM = """
    import keras
    from keras import layers, ops

    @keras.saving.register_keras_serializable("mine")
    class Gate(layers.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

        def call(self, x):
            return ops.sigmoid(ops.matmul(x, self.kernel)) * 2.0

        def get_config(self):
            return super().get_config() | {"units": self.units}

    @keras.saving.register_keras_serializable("mine")
    class Net(keras.Model):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.conv = layers.Conv2D(4, 3, activation="relu", name="conv")
            self.flat, self.gate = layers.Flatten(name="flat"), Gate(units, name="gate")

        def call(self, x):
            return self.gate(self.flat(self.conv(x)))

        def get_config(self):
            return super().get_config() | {"units": self.units}
"""


@pytest.fixture
def custom(tmp_path):
    """(a file that registers classes, what is in it)."""
    file = tmp_path / "mine.py"
    file.write_text(textwrap.dedent(CUSTOM))
    load.register(file)
    made = {name: keras.saving.get_registered_object(f"mine>{name}") for name in ("Gate", "Net")}
    yield file, Namespace(**made)
    for name in made:
        keras.saving.get_custom_objects().pop(f"mine>{name}", None)


def test_custom_layer(custom, tmp_path, pycaffe):
    file, classes = custom
    data = keras.Input(IMAGE)
    x = classes.Gate(5, name="gate")(layers.Flatten(name="flat")(data))
    model, path = randomise(keras.Model(data, x)), tmp_path / "my.keras"
    model.save(path)
    names = proven(loaded(path, custom=file), tmp_path, pycaffe, answers(model))
    assert {name.split("/")[0] for name in names} == {"flat", "gate"}


@pytest.mark.parametrize("given", [None, [1, *IMAGE]])
def test_subclassed(given, custom, tmp_path, pycaffe):
    file, classes = custom
    model, path = classes.Net(5), tmp_path / "my.keras"
    model(np.zeros((1, *IMAGE)))
    randomise(model).save(path)
    names = proven(loaded(path, custom=file, shape=given), tmp_path, pycaffe, answers(model))
    assert names[:3] == ["conv", "conv/Relu", "flat"]


class Plain(layers.Layer):
    """A dense layer whose kernel Keras does not know."""

    def __init__(self, shape, **kwargs):
        super().__init__(**kwargs)
        self.kernel = tf.Variable(RANDOM.normal(size=shape).astype(np.float32))

    def call(self, x):
        return tf.matmul(x, self.kernel)


def test_variables_of_tensorflow(tmp_path, pycaffe):
    """Beside Keras's weights, in a model whose names are those of parts of the graph."""
    data = keras.Input((3,), name="weights")
    x = layers.Dense(4, name="0")(layers.Dense(5, name=".weights")(data))
    model = randomise(keras.Model(data, Plain((4, 6), name="plain")(x)))
    names = proven(trace.keras_trace(model), tmp_path, pycaffe, answers(model))
    assert names == [".weights", "0", "plain"]


def test_size_given(tmp_path, pycaffe):
    data = keras.Input((None, None, 3), name="data")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, name="conv")(data))
    model, path = randomise(keras.Model(data, x)), tmp_path / "my.keras"
    model.save(path)
    trace = loaded(path, shape=[1, *IMAGE])
    assert "conv" in proven(trace, tmp_path, pycaffe, answers(model))


@pytest.mark.slow
def test_a_thousand_layers(tmp_path):
    """Keras calls itself for each; Python's own limit is 1,000 calls."""
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(10_000)
        x = data = keras.Input((3,))
        for _ in range(1000):
            x = layers.ReLU()(x)
        keras.Model(data, x).save(tmp_path / "chain.keras")
        sys.setrecursionlimit(1000)
        assert len(trace.keras_trace(keras_file.keras_model(tmp_path / "chain.keras")).layers) > 999
    finally:
        sys.setrecursionlimit(limit)


def test_keras_2(tmp_path, pycaffe):
    """A file that Keras 2 wrote (see tests/data/keras2.py), with what it answered there."""
    trace, known = loaded(DATA / "keras2.h5"), np.load(DATA / "keras2.npz")
    function = trace.function(trace.outputs.values())
    ours = [function({"data": image[None]})[0][0] for image in known["image"]]
    np.testing.assert_allclose(ours, known["answer"], rtol=1e-4, atol=1e-6)
    assert_equal(trace, tmp_path, pycaffe)


def test_whole_numbers(tmp_path, pycaffe):
    """An image of bytes becomes floats first: Caffe takes floats at once."""
    data = keras.Input(IMAGE, name="data", dtype="uint8")
    x = layers.Conv2D(4, 3, name="conv")(layers.Rescaling(1 / 127.5, -1, name="scaled")(data))
    model, path = randomise(keras.Model(data, x)), tmp_path / "my.keras"
    model.save(path)
    trace = loaded(path)
    image = RANDOM.integers(0, 256, (1, *IMAGE))
    (ours,) = trace.function(trace.outputs.values())({"data": image.astype(np.float32)})
    np.testing.assert_allclose(ours, model(image.astype(np.uint8)), rtol=1e-4, atol=1e-5)
    assert_equal(trace, tmp_path, pycaffe)


@pytest.mark.parametrize("name", ["functional", "lists", "dictionaries"])
def test_keras_exported(name, tmp_path, pycaffe):
    make, names = KERAS[name]
    model, path = make(), tmp_path / "my"
    model.export(path, verbose=False)
    trace = loaded(path)
    result = tf.saved_model.load(path).signatures["serving_default"]

    def expected(inputs):
        given = {known: inputs[known] for known in result.structured_input_signature[1]}
        answer = [result(**{k: tf.constant(v[at : at + 1]) for k, v in given.items()})
                  for at in (0, 1)]  # fmt: skip
        return [np.concatenate([part[key] for part in answer]) for key in trace.outputs]

    assert set(proven(trace, tmp_path / "caffe", pycaffe, expected)) == names


@pytest.fixture
def module(tmp_path):
    module, path = Module(), tmp_path / "my"
    signatures = {"classify": module.classify, "switched": module.switched}
    tf.saved_model.save(module, path, signatures)
    return module, path


def test_saved_module(module, tmp_path, pycaffe):
    module, path = module
    trace = loaded(path, signature="classify", shape=[1, *IMAGE])
    names = proven(
        trace, tmp_path / "caffe", pycaffe,
        lambda inputs: [module.classify(inputs["image"])["answer"]],
    )  # fmt: skip
    assert names == ["conv1", "conv1/Relu", "head/Mean", "head"]


def test_saved_condition(module, tmp_path, pycaffe):
    module, path = module
    trace = loaded(path, signature="switched")
    names = proven(
        trace, tmp_path / "caffe", pycaffe,
        lambda inputs: [module.switched(inputs["image"], tf.constant(False))["maps"]],
    )  # fmt: skip
    assert names[0] == "conv1"


def test_keras_frozen(tmp_path, pycaffe):
    model = functional()
    function = tf.function(lambda data: model(data, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec([None, *IMAGE], name="data"))
    graph = convert_variables_to_constants_v2(concrete).graph
    path = tmp_path / "my.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    assert proven(loaded(path), tmp_path, pycaffe, answers(model)) == FUNCTIONAL


def in_session(session, output, given):
    """What a TF1 session makes of the inputs, as a function of them."""
    return lambda inputs: [session.run(output, given(next(iter(inputs.values()))))]


def test_frozen_graph(old_graph, tmp_path, pycaffe):
    with old_graph.as_default():
        x = v1.placeholder(tf.float32, [None, *IMAGE], "x")
        output, session = inception(x), started()
    path = frozen(session, "InceptionV1/Logits", tmp_path)
    expected = in_session(session, output, lambda image: {x: image})
    assert proven(loaded(path), tmp_path / "1", pycaffe, expected) == INCEPTION
    trace = loaded(path, inputs=["x:0"], outputs=["InceptionV1/Logits:0"])
    assert proven(trace, tmp_path / "2", pycaffe, expected) == INCEPTION


def test_frozen_from_within(old_graph, tmp_path, pycaffe):
    """Inputs and outputs in the middle of a graph."""
    with old_graph.as_default():
        x = v1.placeholder(tf.float32, [None, *IMAGE], "x")
        inception(tf.nn.avg_pool2d(x, 2, 1, "SAME", name="before"))
        session = started()
    path, inner = frozen(session, "InceptionV1/Logits", tmp_path), "InceptionV1/Conv2d_1a/Relu"
    expected = in_session(session, f"{inner}:0", lambda image: {"before:0": image})
    trace = loaded(path, inputs=["before"], outputs=[inner])
    names = proven(trace, tmp_path, pycaffe, expected)
    assert names == ["Conv2D", "BatchNorm", "Relu"]


def test_checkpoint(old_graph, tmp_path, pycaffe):
    with old_graph.as_default():
        x = v1.placeholder(tf.float32, [None, None, None, 3], "x")
        output, session = inception(x), started()
        path = saved(session, tmp_path)
    trace = loaded(path, shape=[1, *IMAGE], outputs=["InceptionV1/Logits"])
    expected = in_session(session, output, lambda image: {x: image})
    assert proven(trace, tmp_path, pycaffe, expected) == INCEPTION


def test_old_saved_model(old_graph, tmp_path, pycaffe):
    """A SavedModel of TF1, as Estimators left them."""
    with old_graph.as_default():
        x = v1.placeholder(tf.float32, [None, *IMAGE], "x")
        output, session = inception(x), started()
        v1.saved_model.simple_save(session, str(tmp_path / "my"), {"x": x}, {"logits": output})
    expected = in_session(session, output, lambda image: {x: image})
    names = proven(loaded(tmp_path / "my"), tmp_path / "caffe", pycaffe, expected)
    assert names == [*INCEPTION[:-1], "logits"]


def trained(logits, labels):
    """A loss, and one step of an optimiser, so that gradients and slots are in the graph."""
    with v1.name_scope("loss"):
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        loss = tf.reduce_mean(loss) + v1.losses.get_regularization_loss()
    return v1.train.MomentumOptimizer(1e-3, 0.9).minimize(loss)


def inference(values, fused):
    """The same network in a graph of its own, in use, with the values of a training session."""
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None, *IMAGE])
        logits, session = network(x, False, fused, lambda x: x), started()
        for variable in v1.global_variables():
            variable.load(values[variable.op.name], session)
    return in_session(session, logits, lambda image: {x: image})


def values_of(session):
    return {variable.op.name: session.run(variable) for variable in v1.global_variables()}


def fed(kind):
    """(images, labels) of a training graph, and what --inputs must be."""
    images = RANDOM.normal(size=(8, *IMAGE)).astype(np.float32)
    labels = RANDOM.integers(0, 5, 8)
    if kind == "placeholder":
        x = v1.placeholder_with_default(images, [None, *IMAGE], "x")
        return x, v1.placeholder_with_default(labels, [None], "labels"), "x"
    if kind == "iterator":
        dataset = tf.data.Dataset.from_tensor_slices((labels, images)).repeat().batch(8)
        labels, images = v1.data.make_one_shot_iterator(dataset).get_next()
        return images, labels, "IteratorGetNext:1"
    image, label = v1.train.slice_input_producer([images, labels])
    x, labels = v1.train.shuffle_batch([image, label], 8, 16, 8)
    return x, labels, "shuffle_batch"


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("kind", ["placeholder", "iterator", "queue"])
def test_training_checkpoint(kind, fused, old_graph, tmp_path, pycaffe):
    with old_graph.as_default():
        x, labels, name = fed(kind)
        keep = v1.placeholder_with_default(0.5, [], "keep_prob")
        logits = network(x, None, fused, lambda x: v1.nn.dropout(v1.nn.dropout(x, 0.7), keep))
        step, session = trained(logits, labels), started()
        coordinator = v1.train.Coordinator()
        threads = v1.train.start_queue_runners(session, coordinator)
        for _ in range(3):
            session.run(step)
        coordinator.request_stop()
        path, values = saved(session, tmp_path), values_of(session)
        session.close()
        coordinator.join(threads, stop_grace_period_secs=1, ignore_live_threads=True)
    trace = loaded(path, inputs=[name], outputs=["fc/BiasAdd"])
    names = proven(trace, tmp_path, pycaffe, inference(values, fused))
    assert {"conv1", "conv1/bn", "conv1/Relu", "conv2", "fc"} <= set(names)
    assert not any("dropout" in name for name in names)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("default", [None, False, True])
def test_switched_checkpoint(default, fused, old_graph, tmp_path, pycaffe):
    """BatchNorm and dropout that a placeholder switches between training and use."""
    with old_graph.as_default():
        x = v1.placeholder(tf.float32, [None, *IMAGE], "x")
        training = v1.placeholder(tf.bool, [], "is_training")
        if default is not None:
            training = v1.placeholder_with_default(default, [], "is_training")

        def dropped(x):
            return v1.cond(training, lambda: v1.nn.dropout(x, 0.5), lambda: tf.identity(x))

        network(x, training, fused, dropped)
        session = started()
        path, values = saved(session, tmp_path), values_of(session)
    trace = loaded(path, outputs=["fc/BiasAdd"])
    names = proven(trace, tmp_path, pycaffe, inference(values, fused))
    assert names.count("conv1") == names.count("fc") == 1


def test_condition_of_functions(tmp_path, pycaffe):
    """TF2's `If`, decided by a placeholder's default."""
    path = tmp_path / "my.pb"
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [None, *IMAGE], "x")
        off = v1.placeholder_with_default(False, [], "noisy")
        y = tf.cond(off, lambda: x * tf.random.normal([3]), lambda: tf.nn.relu(x))
        tf.identity(y * 2.0, "y")
        path.write_bytes(graph.as_graph_def().SerializeToString())
    expected = lambda inputs: [np.maximum(inputs["x"], 0) * 2]  # noqa: E731
    proven(loaded(path, outputs=["y"]), tmp_path, pycaffe, expected)


def steps(folder, given, name, *options):
    """Steps 3 to 6 as a user runs them; step 6 proves every layer."""
    for script, first in (
        ("tf_predict.py", [given, *options]),
        ("save_weights.py", [given, *options]),
        ("build_caffe.py", [name]),
        ("caffe_predict.py", [name]),
    ):
        ended = run(script, *first, "--dir", folder)
        assert ended.status == 0, ended
    return ended.out


@pytest.mark.slow
def test_scripts_keras(custom, tmp_path):
    file, classes = custom
    model = classes.Net(5)
    model(np.zeros((1, *IMAGE)))
    randomise(model).save(tmp_path / "my.keras")
    steps(tmp_path, tmp_path / "my.keras", "my", "--custom", file)
    assert (tmp_path / "nets" / "my.caffemodel").exists()


@pytest.mark.slow
def test_scripts_checkpoint(tmp_path):
    with tf.Graph().as_default():
        inception(v1.placeholder(tf.float32, [None, None, None, 3], "x"))
        path = saved(started(), tmp_path)
    steps(tmp_path, path, "my", "--name", "my", "--shape", "1,9,11,3", "--outputs",
          "InceptionV1/Logits")  # fmt: skip
