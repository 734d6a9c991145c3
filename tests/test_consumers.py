"""The matrix of consumers, as far as it needs none of their environments."""

import keras
import numpy as np
import pytest

from consumers import matrix, networks, tools
from tests import harness, op_networks
from tf2caffe.caffe import blobs, folding
from tf2caffe.failure import Failure
from tf2caffe.frontend import reader, weights
from tf2caffe.paths import Handoff


def forms(model, folder):
    """The two forms of a Keras model, not run."""
    handoff = Handoff(folder, "net")
    graph, _ = reader.read(harness.traced(model), "net")
    weights.save(graph, handoff.weights)
    net, fitted = harness.rebuilt(handoff)
    yield fitted
    yield folding.deploy(net, folding.outputs_of(graph, blobs.load(handoff.blobs)))


def test_networks_have_every_construct(tmp_path):
    have, unmet = set(), {}
    for name in networks.NETWORKS:
        for net in forms(networks.built(name), tmp_path / "network" / name):
            have |= networks.constructs(net)
    for name in set(op_networks.NETWORKS) - {"log"}:  # which has no portable equal
        data = keras.Input(op_networks.IMAGE, name="data")
        model = harness.randomise(keras.Model(data, op_networks.NETWORKS[name](data)))
        for net in forms(model, tmp_path / "op" / name):
            unmet |= dict.fromkeys(networks.constructs(net) - have, name)
    assert not unmet


@pytest.fixture(scope="module")
def mobile(tmp_path_factory):
    """Both forms of one of the networks."""
    return matrix.converted("mobile", tmp_path_factory.mktemp("mobile"))


@pytest.fixture(scope="module")
def expected(mobile, pycaffe):
    return mobile[0].run(pycaffe)


@pytest.fixture(scope="module")
def opencv():
    with tools.OpenCV() as consumer:
        yield consumer


@pytest.fixture
def edited(mobile):
    """A function that replaces text in the deploy form's or the inspectable prototxt."""
    kept = {case.form: case.files.prototxt.read_text(encoding="utf-8") for case in mobile}

    def edit(case, old, new):
        text = kept[case.form]
        assert old in text
        case.files.prototxt.write_text(text.replace(old, new), encoding="utf-8")
        return case

    yield edit
    for case in mobile:
        case.files.prototxt.write_text(kept[case.form], encoding="utf-8")


def test_equal_in_both_forms(mobile, expected, opencv):
    for case in mobile:
        word, error = opencv.judge(case, expected)
        assert word == "equal"
        assert float(error) < 1e-5


def test_an_epsilon_that_differs_is_wrong(mobile, expected, opencv, edited):
    case = edited(mobile[0], "eps: 0.01 ", "eps: 0.001 ")
    word, error = opencv.judge(case, expected)
    assert word == "WRONG"
    assert float(error.split()[0]) > 1e-4


def test_another_shape_is_wrong(mobile, expected, opencv):
    (blob,) = expected
    other = {blob: np.concatenate([expected[blob], expected[blob]])}
    assert opencv.judge(mobile[0], other) == ("WRONG", f"inf ({blob})")


def test_what_is_not_a_number_is_wrong():
    assert tools.difference(np.ones(2), np.array([1, np.nan])) == np.inf


def test_a_layer_that_there_is_not_is_refused(mobile, expected, opencv, edited):
    case = edited(mobile[1], 'type: "Softmax"', 'type: "Softmex"')
    word, reason = opencv.judge(case, expected)
    assert word == "refused"
    assert "Softmex" in reason


def test_all_equal_is_told(capsys):
    matrix.conclude([("mobile, deploy, opencv", "equal", "1e-07")])
    assert capsys.readouterr().out == "\nall 1 equal\n"


@pytest.mark.parametrize("word", ["WRONG", "refused"])
def test_what_is_not_equal_fails(word, capsys):
    found = [("mobile, deploy, opencv", "equal", "1e-07"), ("mobile, deploy, rknn", word, "why")]
    with pytest.raises(Failure, match="of 2"):
        matrix.conclude(found)
    assert ("mobile, deploy, rknn: why" in capsys.readouterr().out) == (word == "refused")


@pytest.mark.parametrize("consumer", [
    tools.OpenVINO, tools.RKNN, tools.Netron, tools.MNN, tools.Nncase, tools.HHB,
])  # fmt: skip
def test_a_consumer_that_is_not_there(consumer, tmp_path, monkeypatch):
    monkeypatch.setattr(tools, "ENVIRONMENTS", tmp_path)
    with pytest.raises(Failure, match=str(tmp_path)):
        consumer()


@pytest.mark.parametrize("arguments", [["--consumers", "opencv,foo"], ["foo"]])
def test_what_is_not_known(arguments, monkeypatch):
    monkeypatch.setattr("sys.argv", ["matrix.py", *arguments])
    with pytest.raises(Failure, match="unknown .*: foo; known: "):
        matrix.arguments()
