"""What is done to images first: the options, the same for other tools, and the folded form."""

import json
import re

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import tf2caffe
from tests.harness import randomise
from tests.pipeline import complaint, run
from tf2caffe.failure import Failure
from tf2caffe.graph.preprocessing import Preprocessing

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CASES = {
    "nothing but the order": {"bgr": True},
    "mean and order": {"bgr": True, "mean": MEAN},
    "one mean": {"mean": (127.5,), "scale": 1 / 127.5},
    "scale": {"scale": 1 / 255},
    "all": {"bgr": True, "mean": MEAN, "std": STD},
    "one std": {"mean": MEAN, "std": (57.0,)},
    "negative scale": {"mean": (255.0,), "scale": -1 / 255},
}


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(1).integers(0, 256, (3, 9, 7, 3)).astype(np.float32)


def model(padding, channels=3):
    data = keras.Input((9, 7, channels), name="data")
    x = layers.Conv2D(4, 3, padding=padding, use_bias=False, name="conv")(data)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Dense(5, name="dense")(layers.Flatten(name="flat")(x))
    return randomise(keras.Model(data, x, name="small"))


@pytest.mark.parametrize("case", CASES)
def test_red_green_blue_however_the_network_takes_them(case, pixels):
    options = CASES[case]
    wide = np.asarray(pixels, np.float64) - np.array(options.get("mean", 0))
    wide = wide / np.array(options.get("std", 1)) * options.get("scale", 1)
    wide = wide[..., ::-1] if options.get("bgr") else wide
    found = Preprocessing.of(**options).apply(pixels)
    assert found.dtype == np.float32 and np.allclose(found, wide, rtol=1e-5, atol=1e-5)


def test_folded_into_a_model_of_float16(tmp_path, pixels, opencv):
    """Its own numbers are rounded: it is not compared with them, as without the preprocessing."""
    data = keras.Input((9, 7, 3), name="data", dtype="float32")
    x = layers.Conv2D(4, 3, name="conv", dtype="mixed_float16")(data)
    small = randomise(keras.Model(data, layers.Flatten(name="flat", dtype="float32")(x)))
    small.save(tmp_path / "small.keras")
    options = Preprocessing.of(scale=1 / 255, folded=True)
    given = {"folder": tmp_path, "preprocessing": options}
    converted = tf2caffe.convert(tmp_path / "small.keras", **given)
    verdict = tf2caffe.prove(converted, data=pixels, preprocessing=options, runtime=opencv)
    assert verdict.equal
    assert any("its own numbers are rounded" in line for line in verdict.remarks())


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("case", CASES)
def test_folded_it_is_proven_in_both_forms(case, padding, tmp_path, pixels, runtime):
    """The network takes the pixels, and gives what the model gives of prepared ones."""
    small, options = model(padding), Preprocessing.of(**CASES[case], folded=True)
    given = {"folder": tmp_path, "deploy": True, "preprocessing": options}
    converted = tf2caffe.convert(small, **given)
    verdict = tf2caffe.prove(converted, data=pixels, preprocessing=options, runtime=runtime)
    assert verdict.equal, verdict
    deployed = tf2caffe.prove("small", folder=tmp_path, deploy=True, runtime=runtime)
    assert deployed.equal, deployed
    expected = small(options.apply(pixels)).numpy()
    for one in (verdict, deployed):
        found = one.rows[-1].caffe
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    assert np.array_equal(verdict.found.kept.inputs["data"], pixels)
    prepared = json.loads((tmp_path / "nets/small.parity.json").read_text())["preprocessing"]
    assert prepared["folded"] and prepared["order"] == "RGB"
    names = [layer.name for layer in converted.forms[0].net.layers]
    assert any(name.startswith("preprocessing_") for name in names)


def test_without_padding_nothing_is_left_of_it(tmp_path, pixels, opencv):
    """The first convolution takes it in, unless it pads zeros, which a shift would reach."""
    counts = {}
    for padding in ("same", "valid"):
        for options in (Preprocessing.of(mean=MEAN, std=STD, folded=True), None):
            given = {"folder": tmp_path, "deploy": True, "preprocessing": options}
            forms = tf2caffe.convert(model(padding), **given).forms
            counts[padding, bool(options)] = len(forms[1].net.layers)
    assert counts["valid", True] == counts["valid", False]
    assert counts["same", True] == counts["same", False] + 1


def test_two_states_are_not_mixed(tmp_path, pixels):
    options = Preprocessing.of(mean=MEAN, folded=True)
    tf2caffe.prove(tf2caffe.convert(model("same"), folder=tmp_path), data=pixels, runtime="opencv")
    tf2caffe.convert(model("same"), folder=tmp_path, preprocessing=options)
    with pytest.raises(Failure, match="two different states of the model"):
        tf2caffe.prove("small", folder=tmp_path, runtime="opencv")


SNIPPETS = {
    "RKNN-Toolkit2": ("mean_values=[[103.53, 116.28, 123.675]]", "quant_img_RGB2BGR=True"),
    "OpenVINO": ('"data[103.53,116.28,123.675]"', "--reverse_input_channels"),
    "Caffe": ("--fold-preprocessing",),
}


def test_other_tools():
    """Numbers stand in the network's order, blue first; one factor is all that Caffe has."""
    found = Preprocessing.of(bgr=True, mean=MEAN, std=STD).record("data", 3)
    for tool, parts in SNIPPETS.items():
        assert all(part in found["snippets"][tool] for part in parts), found["snippets"]
    one = Preprocessing.of(mean=(104.0,), scale=1 / 255).record("data", 1)["snippets"]
    assert one["Caffe"] == "transform_param { scale: 0.00392156863 mean_value: 104 }"
    assert one["RKNN-Toolkit2"] == "rknn.config(mean_values=[[104.0]], std_values=[[255.0]])"
    folded = Preprocessing.of(bgr=True, mean=MEAN, std=STD, folded=True).record("data", 3)
    assert "mean_values=[[0.0, 0.0, 0.0]]" in folded["snippets"]["RKNN-Toolkit2"]
    assert "BGR" not in folded["snippets"]["RKNN-Toolkit2"] and folded["order"] == "RGB"


def test_caffes_transform_is_what_is_proven(pixels):
    """(x - mean) * scale, read from the snippet, is what the network was run on."""
    options = Preprocessing.of(bgr=True, mean=MEAN, scale=1 / 58)
    text = options.record("data", 3)["snippets"]["Caffe"]
    mean = np.array(re.findall(r"mean_value: (\S+)", text), np.float64)
    scale = float(re.search(r"scale: (\S+)", text)[1])
    assert np.allclose((pixels[..., ::-1] - mean) * scale, options.apply(pixels), atol=1e-5)


@pytest.mark.parametrize(
    "options, told",
    [
        ("--std 58 --scale 2", "--std and --scale contradict"),
        ("--scale 1/255 --mean 0.5 --std 0.25,0.5,1", "write --mean 127.5 --std 63.75,127.5,255"),
        ("--std 1,0,1", "--std must be greater than 0"),
        ("--mean 1,2", "--mean has 2 numbers, the input 3 channels"),
        ("--std 1,2", "--std has 2 numbers, the input 3 channels"),
    ],
)
def test_what_cannot_be_meant(options, told, tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (7, 9)).save(tmp_path / "photos/a.png")
    model("same").save(tmp_path / "small.keras")
    given = "small.keras", "--images", "photos", *options.split()
    assert told in complaint(run("tf_predict.py", *given, cwd=tmp_path), "tf_predict.py")


def test_folded_by_the_scripts(tmp_path):
    model("same").save(tmp_path / "small.keras")
    options = "--mean", "127.5", "--scale", "1/127.5"
    line = complaint(run("save_weights.py", "small.keras", *options, cwd=tmp_path),
                     "save_weights.py")  # fmt: skip
    assert "--mean does nothing here: step 3 prepares the images" in line
    both = "small.keras", *options, "--fold-preprocessing"
    for command in (("tf_predict.py", *both), ("save_weights.py", *both),
                    ("build_caffe.py", "small")):  # fmt: skip
        assert run(*command, cwd=tmp_path).status == 0
    ended = run("caffe_predict.py", "small", "--runtime", "opencv", cwd=tmp_path)
    assert ended.status == 0 and "EQUAL: all" in ended.out
    line = complaint(run("tf_predict.py", "small.keras", "--fold-preprocessing", cwd=tmp_path),
                     "tf_predict.py")  # fmt: skip
    assert "--fold-preprocessing needs one of" in line
