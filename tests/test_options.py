"""Options that do nothing where they are given, or cannot be meant: refused before any work."""

import json
import re

import pytest
from PIL import Image

from tests.pipeline import complaint, contents, run

# Options of step 3 or 4 -> the complaint. The model need not exist.
MODELS = {
    "weights of a .keras": ("my.keras --weights w.h5", "--weights does nothing here: .*is none"),
    "two shapes": ("my.keras --shape 1,2 --shape 1,3", "--shape: give each of several inputs with"),
    "signature of a .keras": ("my.keras --signature a", "--signature does nothing .* SavedModel"),
    "signature of a .pb": ("my.pb --signature a", "--signature does nothing here"),
    "signature of mnistcls": ("mnistcls --signature a", "--signature does nothing here"),
    "a .keras taken as floats": ("my.keras --dequantise", "--dequantise .* only a .tflite is"),
    "layers of mnistcls": ("mnistcls --custom my.py", "--custom does nothing here: mnistcls is a"),
}  # fmt: skip
INPUTS = {
    "mean of random numbers": ("my.keras --mean 1", "--mean does nothing here: there are no"),
    "scale of random numbers": ("my.keras --scale 2", "--scale does nothing here"),
    "order of random numbers": ("my.keras --bgr", "--bgr does nothing here"),
    "image of random numbers": ("my.keras --image a", "--image does nothing here"),
    "mean of an input": ("my.keras --input x.npy --mean 1", "--mean does nothing here: --input"),
    "mean of 0 of an input": ("my.keras --input x.npy --mean 0", "--mean does nothing here"),
    "scale of an input": ("my.keras --input x.npy --scale 2", "--scale does nothing here"),
    "order of an input": ("my.keras --input x.npy --bgr", "--bgr does nothing here"),
    "two inputs": ("my.keras --input x.npy --images photos", "--input and --images contradict"),
    "no images": ("my.keras --images nowhere", "nowhere: no images here"),
}  # fmt: skip
# Options that argparse refuses.
USAGE = {
    "scale of 0": ("tf_predict.py", "--scale 0"),
    "scale of nan": ("tf_predict.py", "--scale nan"),
    "scale of inf": ("tf_predict.py", "--scale inf"),
    "mean of nan": ("tf_predict.py", "--mean 1,nan,2"),
    "mean of nothing": ("tf_predict.py", "--mean 1,,2"),
    "no layers": ("tf_predict.py", "--layers ,"),
    "no outputs": ("save_weights.py", "--outputs ,"),
    "shape of 0": ("save_weights.py", "--shape 1,0,3"),
    "tolerance of 0": ("caffe_predict.py", "--tolerance 0"),
    "negative tolerance": ("caffe_predict.py", "--tolerance -1e-5"),
    "tolerance of nan": ("caffe_predict.py", "--tolerance nan"),
    "tolerance of inf": ("caffe_predict.py", "--tolerance inf"),
    "no time": ("caffe_predict.py", "--caffe-timeout 0"),
    "no number of epochs": ("train.py", "--epochs x"),
}  # fmt: skip
# Steps 5 and 6, without any files.
LATER = {
    "list and deploy": ("build_caffe.py", "--target list --deploy", "--deploy does nothing here"),
    "list and prototxt": ("build_caffe.py", "--target list --prototxt x", "--prototxt does"),
    "labels that are not drawn": (
        "caffe_predict.py", "--deploy --labels a", "--labels does nothing here"),
    "a Python for OpenCV": (
        "caffe_predict.py", "--runtime opencv --caffe-python x", "contradict each other"),
    "calibration into a file": (
        "caffe_predict.py", "--export-calibration file", "file is a file, not a folder"),
}  # fmt: skip


@pytest.fixture
def box(tmp_path):
    """A folder with images, a file, and what looks like a SavedModel."""
    for name in ("photos", "saved"):
        (tmp_path / name).mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "photos" / "a.png")
    (tmp_path / "file").write_text("")
    return tmp_path


def refused(box, script, options):
    before = contents(box)
    line = complaint(run(script, *options.split(), cwd=box), script)
    assert contents(box) == before
    return line


@pytest.mark.parametrize("script", ["tf_predict.py", "save_weights.py"])
@pytest.mark.parametrize("name", MODELS)
def test_of_models(name, script, box):
    options, words = MODELS[name]
    assert re.search(words, refused(box, script, options))


@pytest.mark.parametrize("name", INPUTS)
def test_of_inputs(name, box):
    options, words = INPUTS[name]
    assert re.search(words, refused(box, "tf_predict.py", options))


@pytest.mark.parametrize("name", LATER)
def test_of_later_steps(name, box):
    script, options, words = LATER[name]
    assert re.search(words, refused(box, script, options))


@pytest.mark.parametrize("name", USAGE)
def test_usage(name, box):
    script, options = USAGE[name]
    ended = run(script, *options.split(), cwd=box)
    option = options.split()[0]
    assert ended.status == 1 and "Traceback" not in ended.err
    assert f"argument {option}" in ended.err.splitlines()[-1]


def test_drawn_layers_and_labels_are_looked_for_first(work):
    """Before the network is run; and the calibration is not left either."""
    for options, words in (
        ("--layers conv1/*,nothing", "--layers nothing: no layer has such a name"),
        ("--labels nowhere.txt", "nowhere.txt: No such file"),
        ("--labels few.txt", "--labels has 2 lines, the network 10 answers"),
    ):
        (work / "few.txt").write_text("a\nb\n")
        line = refused(work, "caffe_predict.py", f"--export-calibration left {options}")
        assert words in line
    assert "no layer has such a name" in refused(work, "tf_predict.py", "--layers nothing")
    path = work / "nets/mnistcls.blobs.json"
    table = json.loads(path.read_text())
    path.write_text(json.dumps(table | {"answers": []}))
    assert "--labels does nothing here" in refused(work, "caffe_predict.py", "--labels few.txt")


@pytest.mark.slow
def test_shape_of_a_known_network(work):
    line = refused(work, "save_weights.py", "--shape 1,9,9,1")
    assert "--shape 1,9,9,1: input data is (None, 28, 28, 1)" in line


@pytest.mark.slow
def test_order_of_one_channel(work):
    assert "--bgr does nothing here" in refused(work, "tf_predict.py", "--bgr")
