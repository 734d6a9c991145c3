"""What a user mistakes, in the order in which he meets it: one line each, status 1, no file."""

import re

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from tests.pipeline import PROJECT, complaint, contents, run, run_warm


def network(height, width, channels=3):
    photo = keras.Input((height, width, channels), name="photo")
    y = layers.Conv2D(4, 3, name="conv")(photo)
    probs = layers.Dense(5, activation="softmax", name="probs")
    return keras.Model(photo, probs(layers.GlobalAveragePooling2D()(y)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as a user's may look. Nothing in it may change."""
    box = tmp_path_factory.mktemp("box")
    network(8, 9).save(box / "my.keras")
    network(None, None).save(box / "free.keras")
    network(8, 9, 4).save(box / "four.keras")
    network(8, 9).save_weights(box / "my.weights.h5")
    network(8, 9).export(box / "exported" / "1")
    for name, array in ARRAYS.items():
        np.save(box / f"{name}.npy", array)
    for name, content in FILES.items():
        (box / name).parent.mkdir(parents=True, exist_ok=True)
        (box / name).write_bytes(content)
    (box / "empty").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for name in ("photos/a.png", "cut/a.jpg"):
        (box / name).parent.mkdir()
        Image.fromarray(pixels).save(box / name)
    whole = (box / "cut/a.jpg").read_bytes()
    (box / "cut/a.jpg").write_bytes(whole[: len(whole) // 2])
    return box


ARRAYS = {
    "chw": np.zeros((2, 3, 8, 9), np.float32),
    "one": np.zeros((8, 9, 3), np.float32),
    "other": np.zeros((1, 4, 4, 3), np.float32),
    "nan": np.full((1, 8, 9, 3), np.nan, np.float32),
    "words": np.array([["a"]]),
}
FILES = {
    "pointer.keras": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "page.h5": b"<!DOCTYPE html><html></html>",
    "nothing.keras": b"",
    "net.onnx": b"x",
    "net.pth": b"x",
    "net.ckpt.meta": b"x",
    "my.json": b"{}",
    "few.txt": b"a\nb\n",
    "latin.txt": b"caf\xe9\n" * 5,
    "broken.py": b"import nothing_such\n",
    "file": b"",
    "texts/a.txt": b"x",
    "tf_weights/my/graph.json": b"{}",
}
# The command -> the line. `tf2caffe` begins with the model's file, the steps with their own names.
MISTAKES = {
    # the model's path
    "tf2caffe": "arguments are required: model",
    "tf2caffe my.kers": r"my.kers does not exist \(did you mean my.keras\?\)",
    "tf2caffe net.ckpt": r"net.ckpt does not exist \(did you mean net.ckpt.meta\?\)",
    "tf2caffe empty": "empty is a folder without saved_model.pb",
    "tf2caffe net.onnx": "net.onnx is a model in ONNX",
    "tf2caffe net.pth": "net.pth is a model of PyTorch",
    "tf2caffe net.ckpt.index": "net.ckpt.meta is damaged, or not what its name says",
    "tf2caffe my.json": "my.json is no model of Keras",
    "tf2caffe my.weights.h5": "holds weights alone, not the network",
    "tf2caffe exported/1/saved_model.pb": "is part of a SavedModel; give its folder: exported/1",
    "tf2caffe photos/a.png": r"photos/a.png is not a .keras, .h5",
    # what is in the file
    "tf2caffe pointer.keras": "is a pointer of Git LFS.*git lfs pull",
    "tf2caffe page.h5": "is a web page; download the file itself",
    "tf2caffe nothing.keras": "is empty; save the model again",
    "tf2caffe my.keras --custom broken.py": "--custom broken.py: ModuleNotFoundError: .*nothing_s",
    "tf2caffe my.keras --custom nowhere.py": "--custom nowhere.py does not exist",
    # names and folders
    "tf2caffe my.keras --name a/b": "'a/b' cannot be in the names of files",
    "tf2caffe my.keras --name my.deploy": "my.deploy: .* change --name",
    "tf2caffe my.keras --out file": "argument --dir/--out: file is a file, not a folder",
    "tf2caffe my.keras --out file/in/it": "argument --dir/--out: file is a file, not a folder",
    # shapes
    "tf2caffe free.keras": "inputs of unknown size: photo",
    "tf2caffe free.keras --shape 8,9,3": "--shape 8,9,3: .*; try --shape 1,8,9,3",
    "tf2caffe free.keras --shape 1,3,8,9": "--shape 1,3,8,9: .*; try --shape 1,8,9,3",
    "tf2caffe free.keras --shape 4,8,9,3": "--shape 4,8,9,3: .*the batch is 1",
    "tf2caffe free.keras --shape 1x8x9x3": "argument --shape: '1x8x9x3' is not .*1,224,224,3",
    "tf2caffe my.keras --shape 1,9,8,3": "--shape 1,9,8,3: input photo is",
    # input: arrays
    "tf2caffe my.keras --input nowhere.npy": "--input nowhere.npy does not exist",
    "tf2caffe my.keras --input chw.npy": r"not \(N, 8, 9, 3\); put the channels last",
    "tf2caffe my.keras --input one.npy": r"not \(N, 8, 9, 3\); add the axis of the images",
    "tf2caffe my.keras --input other.npy": r"float32 \(1, 4, 4, 3\), not \(N, 8, 9, 3\)$",
    "tf2caffe my.keras --input nan.npy": "photo holds NaN or infinity",
    "tf2caffe my.keras --input words.npy": "photo is <U1",
    "tf2caffe my.keras --input photos": "--input photos: .*; --images takes images",
    "tf2caffe my.keras --input few.txt": "--input few.txt: not a .npy or .npz file",
    # input: images
    "tf2caffe my.keras --images nowhere": "nowhere: no images here",
    "tf2caffe my.keras --images empty": "empty: no images here",
    "tf2caffe my.keras --images texts": "texts: no images here",
    "tf2caffe my.keras --images file": "file: not an image",
    "tf2caffe my.keras --images cut": "cut/a.jpg: cannot be read as an image: .*truncated",
    "tf2caffe four.keras --images photos": "photo has 4 channels, an image 1 or 3",
    "tf2caffe my.keras --images photos --image b": "--image b: not one of a",
    "tf2caffe my.keras --images photos --mean 1,2": "--mean has 2 numbers, the input 3 channels",
    "tf2caffe my.keras --images photos --mean a": "argument --mean: 'a' is not a finite number",
    "tf2caffe my.keras --images photos --scale 0": "argument --scale: '0' is not a number other",
    "tf2caffe my.keras --mean 1": "--mean does nothing here: there are no images",
    # labels and layers
    "tf2caffe my.keras --labels few.txt": "--labels has 2 lines, the network 5 answers",
    "tf2caffe my.keras --pictures --labels nowhere.txt": "nowhere.txt: No such file",
    "tf2caffe my.keras --pictures --labels latin.txt": "latin.txt is not a text file in UTF-8",
    "tf2caffe my.keras --pictures --labels few.txt": "--labels has 2 lines, the network 5 answers",
    "tf2caffe my.keras --pictures --layers cnv": "--layers cnv: no layer",
    # options
    "tf2caffe my.keras --target rknnn": "argument --target: invalid choice: 'rknnn' .*'rknn'",
    "tf2caffe my.keras --target": "argument --target: expected one argument",
    "tf2caffe my.keras --runtime caffe": "argument --runtime: invalid choice: 'caffe'",
    "tf2caffe my.keras --outptu x": r"unrecognized .*--outptu x \(did you mean --outputs\?\)",
    "tf2caffe my.keras other.keras": "unrecognized arguments: other.keras",
    "tf2caffe my.keras --tolerance 0": "argument --tolerance: '0' is not a number greater than 0",
    "tf2caffe my.keras --caffe-python /no": "/no: No such file or directory",
    "tf2caffe my.keras --prototxt nowhere": "--prototxt nowhere does not exist",
    "tf2caffe my.keras --prototxt my.json": "my.json is not a Caffe prototxt",
    "tf2caffe my.keras --export-calibration file": "--export-calibration file is a file",
    # the steps, in another order, or given what another takes
    "train.py my.keras": "unknown model 'my.keras'; the known ones: mnistcls",
    "train.py --epochs 0": "--epochs 0: at least one is needed",
    "train.py --data few.txt": "few.txt: not MNIST's npz",
    "estimator_predict.py": "no checkpoint yet; step 1 makes it: python train.py mnistcls",
    "tf_predict.py": "no checkpoint yet; step 1 makes it: python train.py mnistcls",
    "tf_predict.py my": "unknown model 'my'; .*of your own is named by its file: my.keras",
    "save_weights.py mnist": "unknown model 'mnist'; the known ones: mnistcls",
    "build_caffe.py": r"tf_weights/mnistcls/graph.json does not exist; .*\(step 4\)",
    "build_caffe.py my.keras": "tf_weights/my/graph.json is damaged .*save_weights.py",
    "build_caffe.py out/my": "is a path; this step takes the name .* such as my",
    "build_caffe.py my": "tf_weights/my/graph.json is damaged .*save_weights.py",
    "caffe_predict.py": "nets/mnistcls.blobs.json does not exist; build_caffe.py",
    "caffe_predict.py --runtime opencv --caffe-python x": "contradict each other",
}
# Seen before TensorFlow is imported, so that they are told at once.
AT_ONCE = (
    "tf2caffe net.onnx",
    "tf2caffe my.keras --images cut",
    "tf2caffe my.keras --input few.txt",
    "tf2caffe my.kers",
    "tf2caffe my.keras --out file",
)


def told(command, folder, runner):
    """The one line; nothing in the folder has changed but what was complete before the proof."""
    script, *arguments = command.split()
    path = "tf2caffe/__main__.py" if script == "tf2caffe" else script
    return complaint(runner(path, *arguments, cwd=folder), script)


@pytest.mark.parametrize("command", MISTAKES)
def test_mistake(command, folder, tmp_path):
    before = contents(folder)
    out = [] if "--out" in command or not command.startswith("tf2caffe ") else ["--out", tmp_path]
    line = told(" ".join([command, *map(str, out)]), folder, run_warm)
    assert re.search(MISTAKES[command], line), line
    assert contents(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize("command", AT_ONCE)
def test_real_process(command, folder):
    """As a user runs it; without TensorFlow, which would be found missing."""
    blocked = folder.parent / "blocked"
    blocked.mkdir(exist_ok=True)
    (blocked / "tensorflow.py").write_text("raise SystemExit('TensorFlow is imported')")

    def runner(path, *arguments, cwd):
        return run(path, *arguments, cwd=cwd, PYTHONPATH=f"{blocked}:{PROJECT}")

    assert re.search(MISTAKES[command], told(command, folder, runner))
