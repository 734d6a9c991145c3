"""ReLU6 run on real Caffe as layers that it has: the same numbers, wherever it stands."""

import keras
import numpy as np
import pytest
from keras import layers

import tf2caffe
from tests.harness import randomise
from tf2caffe.caffe import schema
from tf2caffe.proof import twin

HEAD = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }\n'
POWER = 'layer { name: "%s" type: "Power" bottom: "%s" top: "%s" power_param { scale: 2 } }\n'
SIX = 'layer { name: "%s" type: "ReLU6" bottom: "%s" top: "%s" }\n'
NETS = {
    "alone": HEAD + SIX % ("six", "x", "y"),
    "in place": HEAD + POWER % ("p", "x", "p") + SIX % ("six", "p", "p"),
    "in place, then read": (
        HEAD + POWER % ("p", "x", "p") + SIX % ("six", "p", "p") + POWER % ("q", "p", "q")
    ),
    "in place, then in place": (
        HEAD + POWER % ("p", "x", "p") + SIX % ("six", "p", "p") + POWER % ("q", "p", "p")
    ),
    "twice": HEAD + POWER % ("p", "x", "p") + SIX % ("a", "p", "p") + SIX % ("b", "p", "p"),
    "taken names": (
        HEAD + POWER % ("six/minus", "x", "six/own") + SIX % ("six", "six/own", "six/own")
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_each_blob_is_the_same(name, pycaffe, tmp_path):
    """As the layers say, one after the other, in numpy."""
    path, model = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    path.write_text(NETS[name])
    model.touch()
    x = np.float32([[-3, -1e-7], [0, 1e-8], [2.5, 5.9999995], [6, 1e5]])
    found = pycaffe.run(path, model, {"x": x})
    blobs = {"x": x}
    for layer in schema.load(path).layer[1:]:
        bottom = blobs[layer.bottom[0]]
        blobs[layer.top[0]] = bottom * 2 if layer.type == "Power" else np.clip(bottom, 0, 6)
    assert found.keys() == blobs.keys()
    for blob, array in blobs.items():
        np.testing.assert_array_equal(found[blob], array)
    assert [one.name for one in tmp_path.iterdir() if "twin" in one.name] == []


def test_the_twin_has_no_relu6_and_only_blobs_of_its_own():
    for text in NETS.values():
        net, _ = twin.of(schema.parse(text, "net"))
        assert not twin.has_relu6(net)
        names = [layer.name for layer in net.layer]
        assert len({*names}) == len(names)


def network():
    data = keras.Input((9, 8, 3), name="data")
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="conv")(data)
    x = layers.ReLU(6, name="six")(layers.BatchNormalization(name="norm")(x))
    y = layers.DepthwiseConv2D(3, padding="same", name="deep")(x)
    y = layers.ReLU(6, name="deep_six")(layers.BatchNormalization(name="deep_norm")(y))
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Add(name="add")([x, y]))
    return randomise(keras.Model(data, layers.Dense(4, name="dense")(x), name="net"))


def test_a_deploy_form_is_proven_on_real_caffe_and_it_is_said(pycaffe, opencv, tmp_path):
    converted = tf2caffe.convert(network(), folder=tmp_path, deploy=True, target="rknn")
    types = [layer.type for layer in converted.forms[1].net.layers]
    assert types.count("ReLU6") == 2
    tf2caffe.prove(converted, runtime=pycaffe)
    found = {
        engine.name: tf2caffe.prove("net", folder=tmp_path, deploy=True, runtime=engine)
        for engine in (pycaffe, opencv)
    }
    assert all(verdict.equal for verdict in found.values())
    said = "ReLU6, which BVLC Caffe does not have, was run as Power, Eltwise MAX and ReLU"
    assert said in found["pycaffe"].remarks() and said not in found["opencv"].remarks()


def test_a_wrong_relu6_is_found(pycaffe, tmp_path):
    converted = tf2caffe.convert(network(), folder=tmp_path, deploy=True, target="rknn")
    tf2caffe.prove(converted, runtime=pycaffe)
    path = converted.forms[1].handoff.prototxt
    path.write_text(path.read_text().replace('type: "ReLU6"', 'type: "ReLU"', 1))
    verdict = tf2caffe.prove("net", folder=tmp_path, deploy=True, runtime=pycaffe)
    assert not verdict.equal and "six" in verdict.why


def test_folded_layers_keep_their_names(tmp_path):
    """A convolution with its BatchNorm is called as the convolution; blobs.json knows the other."""
    converted = tf2caffe.convert(network(), folder=tmp_path, deploy=True, target="rknn")
    deployed = converted.forms[1]
    named = [(one.name, one.tops[0]) for one in deployed.net.layers if one.type == "Convolution"]
    assert named == [("conv", "conv"), ("deep", "deep")]
    assert {*deployed.table.aliases} == {"conv", "deep"}
    before = {layer.name for layer in converted.forms[0].net.layers}
    assert {*deployed.table.aliases.values()} <= before
    text = deployed.handoff.prototxt.read_text()
    assert text.startswith("# made by tf2caffe ") and "# target: rknn, deploy form\n" in text
    assert "# input data: 1x3x9x8, NCHW, float32\n" in text
