"""The files that people have: made by the library that writes them, and read."""

import shutil

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from google.protobuf import text_format

from tests.harness import assert_equal, random_input, randomise
from tests.makers import (
    IMAGE,
    Module,
    frozen,
    functional,
    inception,
    loaded,
    network,
    saved,
    started,
    v1,
)
from tests.test_original import said
from tf2caffe.failure import Failure
from tf2caffe.frontend import load
from tf2caffe.frontend.source import handoff_of

LOGITS = "InceptionV1/Logits"


def session(make=inception):
    make(v1.placeholder(tf.float32, [None, *IMAGE], "x"))
    return started()


@pytest.mark.parametrize("old", [True, False])
def test_slots_of_an_old_optimiser(old, tmp_path, pycaffe):
    """`add_slot`: TensorFlow 2's loader cannot make what only Keras 2 has."""
    optimisers = tf_keras.optimizers.legacy if old else tf_keras.optimizers
    layers = [tf_keras.layers.Conv2D(4, 3, activation="relu", input_shape=IMAGE),
              tf_keras.layers.BatchNormalization(), tf_keras.layers.Flatten(),
              tf_keras.layers.Dense(3)]  # fmt: skip
    model = tf_keras.Sequential(layers)
    model.compile(optimisers.Adam(0.1), "mse")
    model.fit(random_input((8, *IMAGE)), random_input((8, 3)), verbose=0)
    model.save(tmp_path / "my", save_format="tf")
    trace = loaded(tmp_path / "my")
    assert said(trace) in ("compared: each output the same",) or "within" in said(trace)
    image = random_input((1, *IMAGE))
    (ours,) = trace.function(trace.outputs.values())({next(iter(trace.inputs)): image})
    np.testing.assert_allclose(ours, model(image), rtol=1e-4, atol=1e-5)
    assert_equal(trace, tmp_path, pycaffe)


def test_signatures_are_listed(tmp_path):
    module, path = Module(), tmp_path / "my"
    tf.saved_model.save(module, path, {"classify": module.classify, "switched": module.switched})
    told = (r"choose one with --signature: classify \(image \(None, None, None, 3\)\), switched "
            r"\(image \(None, 9, 11, 3\), training \(\)\)")  # fmt: skip
    with pytest.raises(Failure, match=rf"no signature serving_default; {told}$"):
        loaded(path)
    with pytest.raises(Failure, match=r"no signature clasify; .*; did you mean classify\?$"):
        loaded(path, signature="clasify")
    assert "compared" in said(loaded(path, signature="classify", shape=[1, *IMAGE]))


def test_no_warnings(old_graph, tmp_path, capfd):
    with old_graph.as_default():
        x = v1.placeholder(tf.float32, [None, *IMAGE], "x")
        output = inception(x)
        v1.saved_model.simple_save(started(), str(tmp_path / "my"), {"x": x}, {"logits": output})
    capfd.readouterr()
    said(loaded(tmp_path / "my"))
    assert "WARNING" not in capfd.readouterr().err


def test_text_forms(tmp_path):
    with tf.Graph().as_default():
        path = frozen(session(), LOGITS, tmp_path)
    graph = v1.GraphDef.FromString(path.read_bytes())
    path.with_suffix(".pbtxt").write_text(text_format.MessageToString(graph))
    assert said(loaded(path.with_suffix(".pbtxt"))).startswith("compared: each output ")
    path.with_suffix(".pbtxt").write_text("node {")
    with pytest.raises(Failure, match=r"my.pbtxt is damaged, or not what its name says"):
        loaded(path.with_suffix(".pbtxt"))


def test_a_checkpoint_without_a_name(tmp_path):
    with tf.Graph().as_default():
        path = saved(session(), tmp_path)
    folder = tmp_path / "net"
    folder.mkdir()
    for file in tmp_path.glob(f"{path.stem}.*"):
        shutil.copy(file, folder / f".{file.name.removeprefix(path.stem + '.')}")
    assert said(loaded(folder / ".meta", outputs=[LOGITS])).startswith("compared: each output ")
    assert handoff_of(str(folder / ".meta"), folder=tmp_path).name == "net"
    for other in (path.with_suffix(".index"), next(tmp_path.glob("*.data-*"))):
        assert said(loaded(other, outputs=[LOGITS])).startswith("compared: each output ")
        path.unlink(missing_ok=True) if other.suffix != ".index" else None


def test_a_checkpoint_of_tensorflow_2(tmp_path):
    tf.train.Checkpoint(model=functional()).write(str(tmp_path / "ckpt"))
    with pytest.raises(Failure, match=r"ckpt.index holds a checkpoint's weights alone.*ckpt.meta"):
        loaded(tmp_path / "ckpt.index")


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_archives(kind, tmp_path):
    functional().export(tmp_path / "in" / "model", verbose=False)
    path = shutil.make_archive(tmp_path / "my", kind, tmp_path / "in")
    assert said(loaded(tmp_path / path)).startswith("compared: each output ")
    (tmp_path / path).write_bytes(b"PK\3\4 no")
    with pytest.raises(Failure, match="archive"):
        loaded(tmp_path / path)


def test_a_folder_in_a_folder(tmp_path):
    functional().export(tmp_path / "hub" / "1", verbose=False)
    assert said(loaded(tmp_path / "hub")).startswith("compared: each output ")


def graph_of(path):
    return v1.GraphDef.FromString(path.read_bytes())


def test_stale_shapes_and_dead_gradients(tmp_path):
    with tf.Graph().as_default():
        path = frozen(session(), LOGITS, tmp_path)
    graph = graph_of(path)
    for node in graph.node:
        if node.op == "Relu":
            stale = node.attr["_output_shapes"].list.shape.add()
            stale.dim.add(size=7)
    graph.node.add(name="gradients/of", op="TheOpOfAnother", input=[LOGITS])
    graph.node.add(name="gradients/two", op="Relu", input=["gradients/gone"])
    graph.node[-1].attr["T"].type = 1
    path.write_bytes(graph.SerializeToString())
    assert said(loaded(path)).startswith("compared: each output ")


def switched(name, old=False):
    """Dropout and BatchNorm that a boolean switches."""
    x = v1.placeholder(tf.float32, [None, *IMAGE], "x")
    training = v1.placeholder(tf.bool, name=name)
    network(x, training, True,
            lambda x: v1.cond(training, lambda: v1.nn.dropout(x, 0.5), lambda: x))  # fmt: skip
    return started()


def test_a_switch_without_a_name(old_graph, tmp_path):
    with old_graph.as_default():
        path = saved(switched(None), tmp_path)
    told = said(loaded(path, outputs=["fc/BiasAdd"]))
    assert told.startswith("compared: each output ")
    assert told.endswith("(Placeholder is taken as false; --set Placeholder=true takes it as true)")


def test_a_switch_that_is_set(old_graph, tmp_path):
    with old_graph.as_default():
        path = saved(switched("bn_mode"), tmp_path)
    assert said(loaded(path, outputs=["fc/BiasAdd"], switches={"bn_mode": False})).startswith(
        "compared: each output "
    )
    with pytest.raises(Failure, match="no placeholder bn_mod for --set; there are bn_mode"):
        loaded(path, outputs=["fc/BiasAdd"], switches={"bn_mod": False})


def test_what_the_loss_reads_is_the_output(old_graph, tmp_path):
    with old_graph.as_default():
        x = v1.placeholder(tf.float32, [None, *IMAGE], "x")
        labels = v1.placeholder(tf.int64, [None], "labels")
        logits = network(x, False, True, lambda x: x)
        with v1.name_scope("loss"):
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            loss = tf.reduce_mean(loss)
        with v1.name_scope("accuracy"):
            tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), labels), tf.float32))
        v1.train.AdamOptimizer().minimize(loss)
        path = saved(started(), tmp_path)
    trace = loaded(path)
    assert list(trace.outputs) == ["fc/BiasAdd"]
    assert said(trace).startswith("compared: each output ")


def test_a_decoder_in_front(tmp_path):
    with tf.Graph().as_default() as graph:
        contents = v1.placeholder(tf.string, [], "contents")
        image = tf.cast(tf.image.decode_jpeg(contents, 3), tf.float32, name="floats")
        image = v1.image.resize_bilinear(image[None], IMAGE[:2], name="resized")
        image.set_shape([1, *IMAGE])
        tf.reduce_mean(tf.nn.relu(image - 3.0), [1, 2], name="y")
        (tmp_path / "my.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(Failure, match="it decodes files; name the image.* candidates: floats$"):
        loaded(tmp_path / "my.pb")
    trace = loaded(tmp_path / "my.pb", inputs=["resized"])
    assert said(trace).startswith("compared: each output ")


def test_shapes_by_name(tmp_path):
    import keras

    one, two = keras.Input((None, None, 3), name="one"), keras.Input((None, 5), name="two")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(one))
    y = keras.layers.Flatten()(keras.layers.GlobalAveragePooling1D()(two))
    model = randomise(keras.Model([one, two], keras.layers.Concatenate()([x, y])))
    model.save(tmp_path / "my.keras")
    hint = "give it with --shape one=1,H,W,3 --shape two=1,T,5$"
    with pytest.raises(Failure, match=hint):
        loaded(tmp_path / "my.keras")
    trace = loaded(tmp_path / "my.keras", shape={"one": [1, 9, 11, 3], "two": [1, 4, 5]})
    assert said(trace).startswith("compared: each output ")
    with pytest.raises(Failure, match="--shape three=...: the inputs are one, two"):
        loaded(tmp_path / "my.keras", shape={"three": [1, 2]})


def test_result_beside_averages():
    """A BatchNorm's new average, that a training graph leaves unread, is no result."""
    enabled = v1.control_flow_v2_enabled()
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph:
            x = v1.placeholder(tf.float32, (1, 4, 4, 3), "x")
            training = v1.placeholder(tf.bool, (), "training")
            mean, _ = tf.nn.moments(x, [0, 1, 2], name="norm/moments")
            average = tf.constant([0.1, 0.2, 0.3])
            v1.cond(training, lambda: 0.9 * average + 0.1 * mean, lambda: average + 0.0 * mean)
            used = v1.cond(training, lambda: mean, lambda: average)
            tf.sigmoid(x - used, name="y")
    finally:
        if enabled:
            v1.enable_control_flow_v2()
    assert load.results(graph) == ["y"]
