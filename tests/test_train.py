"""Steps 1 and 2: the data, the training, the checkpoint and the ten images."""

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import models
from models import mnistcls
from tf2caffe.failure import Failure
from tf2caffe.frontend import images, tf_import
from tf2caffe.frontend.keras_file import load_checkpoint
from tf2caffe.paths import Handoff
from tf2caffe.training import augmentation, replicas
from tf2caffe.training.augmentation import Limits
from tf2caffe.training.trainer import Training

PROJECT = Path(__file__).resolve().parents[1]


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, PROJECT / script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(script, *arguments):
    """Exit status, standard output and standard error of a script."""
    child = start(script, *arguments)
    out, err = child.communicate(timeout=120)
    return child.returncode, out, err


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which step 1 has run for two epochs of the sample, and what it said."""
    folder = tmp_path_factory.mktemp("trained")
    return folder, run("train.py", "--dir", folder, "--epochs", 2, "--data", mnistcls.SAMPLE)


def few(count=30):
    """So many blank digits of all classes, as Keras's npz has them."""
    pixels, labels = np.zeros((count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 10
    return {"x_train": pixels, "y_train": labels, "x_test": pixels, "y_test": labels}


def test_registered_networks():
    assert "mnistcls" in models.names()
    assert models.module("mnistcls") is mnistcls
    with pytest.raises(Failure, match="unknown model 'vgg'.*mnistcls"):
        models.module("vgg")


def test_training_says_what_it_does_and_no_more(trained):
    folder, (status, out, err) = trained
    sample = str(mnistcls.SAMPLE).removeprefix(f"{Path.cwd()}/")
    assert out.startswith(f"data: {sample}; 4,000 to train on, 1,000 to test\n")
    assert status == 0 and err == ""
    first_words = [line.split()[0] for line in out.splitlines()[1:]]
    assert first_words == ["epoch", "epoch", "test", "wrote:"]
    assert "test accuracy: 0.9" in out
    assert Image.open(folder / "imgs/mnistcls/tb-loss.png").format == "PNG"


def test_tensorboard_finds_curves_and_graph(trained):
    tf = tf_import.tensorflow()
    found = {}
    for curve in ("train", "test"):
        (file,) = (Handoff(trained[0], "mnistcls").logs / curve).iterdir()
        events = list(tf.compat.v1.train.summary_iterator(str(file)))
        values = [(event.step, value) for event in events for value in event.summary.value]
        assert {value.metadata.plugin_data.plugin_name for _, value in values} == {"scalars"}
        found[curve] = [(step, value.tag) for step, value in values]
        graphs = [event.graph_def for event in events if event.graph_def]
        assert len(graphs) == (curve == "train")
    assert found["test"] == [(s, tag) for s in (31, 62) for tag in ("loss", "accuracy")]
    assert found["train"].count((31, "loss")) == 1 and len(found["train"]) == 62 + 2


@pytest.mark.slow
def test_estimator_names_the_ten_digits(trained):
    folder, _ = trained
    status, out, err = run("estimator_predict.py", "--dir", folder)
    assert status == 0 and err == ""
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["image", "label", "confidence"]
    assert [line[0] for line in lines[1:11]] == [f"img{digit}.png" for digit in range(10)]
    assert sum(line[0] == f"img{line[1]}.png" for line in lines[1:11]) >= 8
    assert Image.open(folder / "imgs/mnistcls/tf/res10.png").format == "PNG"


@pytest.mark.slow
def test_same_seed_same_training():
    digits = mnistcls.read_digits(mnistcls.SAMPLE)
    digits = digits._replace(x_train=digits.x_train[::20], y_train=digits.y_train[::20])
    recipe = mnistcls.recipe(200, best=True)._replace(epochs=1, batch=32)
    trainings = [
        Training(mnistcls, digits, recipe, seed, replicas.strategy()) for seed in (7, 7, 8)
    ]
    runs = [training.epoch("")[0] for training in trainings]
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-4)
    assert not np.allclose(runs[0], runs[2], rtol=1e-2)


def test_undistorted_images_are_as_they_were():
    digits = mnistcls.read_digits(mnistcls.SAMPLE).x_test[:100, ..., None]
    none, some = Limits(0, 0, 0, 0, 0), Limits(0.2, 0.1, 0.1, 0.1, 2, bend=1)
    for limits, part in ((none, 1.0), (some, 0.0)):
        np.testing.assert_array_equal(augmentation.distort(digits, limits, (1, 2), part), digits)


def test_each_image_is_distorted_in_its_own_way_and_each_time_alike():
    digit = mnistcls.read_digits(mnistcls.SAMPLE).x_test[:1, ..., None]
    limits = Limits(0.2, 0.1, 0.1, 0.1, 2, bend=1)
    same, again, other = (
        augmentation.distort(digit.repeat(8, axis=0), limits, seed).numpy()
        for seed in ((1, 2), (1, 2), (1, 3))
    )
    np.testing.assert_array_equal(same, again)
    assert len(np.unique(np.concatenate([same, other]), axis=0)) == 16
    assert same.shape == (8, 28, 28, 1) and same.min() >= 0 and same.max() <= digit.max()


def test_moved_pixels_are_interpolated_and_around_them_is_zero():
    image = np.arange(1, 13, dtype=np.float32).reshape(1, 3, 4, 1)
    y, x = np.indices((3, 4), np.float32).reshape(2, -1) + np.float32([[0.25], [-0.5]])
    framed = np.pad(image[0, ..., 0], 1)
    rows = 0.75 * framed[1:-1] + 0.25 * framed[2:]
    expected = (rows[:, :-2] + rows[:, 1:-1]) / 2
    found = augmentation.sampled(image, np.stack([y, x])[None]).numpy()
    np.testing.assert_allclose(found.reshape(3, 4), expected, rtol=1e-6)
    far = np.stack([y + 50, x - 50])[None]
    assert not augmentation.sampled(image, far).numpy().any()


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        (Limits(0.1, 0, 0, 0, 0), 13.5 * np.sqrt(2) * 0.1),
        (Limits(0, 0.1, 0, 0, 0), 13.5 * np.sqrt(2) * 0.1),
        (Limits(0, 0, 0.1, 0, 0), 13.5 * 0.1),
        (Limits(0, 0, 0, 0.1, 0), 13.5 * 0.1),
        (Limits(0, 0, 0, 0, 2), 2 * np.sqrt(2)),
    ],
)
def test_no_pixel_is_moved_further_than_the_limit(limits, most):
    places = augmentation.straight(2000, 28, 28, limits, (1, 2), 1.0).numpy()
    moved = np.linalg.norm(places - np.indices((28, 28)).reshape(2, -1), axis=1)
    assert most * 0.95 < moved.max() < most * 1.001


def test_bends_are_smooth_and_of_unit_size():
    bends = augmentation.bends(1000, 28, 28, (1, 2)).numpy().reshape(-1, 2, 28, 28)
    np.testing.assert_allclose(bends.std(axis=0), 1, atol=0.1)
    assert abs(bends.mean(axis=0)).max() < 0.2
    for axis in (2, 3):
        assert np.diff(bends, axis=axis).std() < 0.3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "status", "line"),
    [(signal.SIGKILL, -signal.SIGKILL, ""), (signal.SIGINT, 1, "interrupted; {} contains epoch ")],
)
def test_stopped_run_leaves_a_whole_checkpoint(tmp_path, how, status, line):
    child = start("train.py", "--dir", tmp_path, "--epochs", 500, "--data", mnistcls.SAMPLE)
    while not child.stdout.readline().startswith("epoch   1/500"):
        assert child.poll() is None, child.stderr.read()
    child.send_signal(how)
    _, err = child.communicate(timeout=60)
    checkpoint = tmp_path / "checkpoints" / "mnistcls.keras"
    assert child.returncode == status
    assert line.format(checkpoint) in err and err.count("\n") == bool(line)
    assert load_checkpoint(Handoff(tmp_path, "mnistcls")).name == "mnistcls"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nonet",), "unknown model 'nonet'; the known ones: "),
        (("--epochs", 0), "--epochs 0: at least one is needed"),
        (("--seed", -1), "--seed -1: must be from 0"),
        (("--data", "nowhere.npz"), "nowhere.npz: No such file or directory"),
        (("--data", __file__), "not a zip archive"),
    ],
)
def test_errors_are_one_line(tmp_path, arguments, line):
    status, out, err = run("train.py", "--dir", tmp_path, *arguments)
    assert (status, out, err.count("\n")) == (1, "", 1) and line in err


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "checkpoints").touch()
    status, out, err = run("train.py", "--dir", tmp_path, "--data", mnistcls.SAMPLE)
    assert (status, out, err.count("\n")) == (1, "", 1) and "checkpoints" in err


def test_split_of_the_sample_is_always_the_same():
    first, second = (mnistcls.read_digits(mnistcls.SAMPLE) for _ in range(2))
    assert first.x_train.shape == (4000, 28, 28) and first.x_test.shape == (1000, 28, 28)
    assert np.bincount(first.y_test).tolist() == [100] * 10
    assert all(map(np.array_equal, first[:4], second[:4]))
    train_set = {image.tobytes() for image in first.x_train}
    assert not any(image.tobytes() in train_set for image in first.x_test)


def test_first_data_that_exists(tmp_path, monkeypatch):
    def no_network():
        raise OSError("URL fetch failure -- no route")

    named, own, cached = (tmp_path / name for name in ("named.npz", "own", "cache"))
    monkeypatch.setattr(mnistcls, "DATA", own)
    monkeypatch.setenv("KERAS_HOME", str(cached))
    monkeypatch.setattr(mnistcls, "download", no_network)
    for path in (named, own / "mnist.npz", cached / "datasets" / "mnist.npz"):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **few())
    assert mnistcls.load_data(named).origin == str(named)
    assert mnistcls.load_data().origin == str(own / "mnist.npz")
    shutil.rmtree(own)
    assert mnistcls.load_data().origin == str(cached / "datasets" / "mnist.npz")
    shutil.rmtree(cached)
    reason = "the shipped sample, 5,000 digits (no download: no route)"
    assert mnistcls.load_data().origin == reason


def test_sample_without_a_network(tmp_path):
    program = (
        "import pathlib; from models import mnistcls; mnistcls.DATA = pathlib.Path('nowhere');"
        "print(mnistcls.load_data().origin)"
    )
    nobody = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    environment = os.environ | nobody | {"KERAS_HOME": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    refused = r"the shipped sample, 5,000 digits \(no download: .*[Cc]onnection refused\)\n"
    assert re.fullmatch(refused, said.stdout) and said.stderr == ""
    assert not list(tmp_path.glob("datasets/*"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"y_test": None}, "there is no y_test in it"),
        ({"x_train": np.zeros((30, 784), np.uint8)}, r"x_train is uint8 \(30, 784\)"),
        ({"x_train": np.zeros((30, 28, 28))}, r"x_train is float64 \(30, 28, 28\)"),
        ({"x_test": np.zeros((3, 28, 28), np.uint8)}, r"y_test is uint8 \(30,\)"),
        ({"y_train": np.zeros(30)}, r"y_train is float64 \(30,\)"),
        ({"y_train": np.full(30, 10)}, "y_train holds no labels, or others"),
        ({"y_train": np.full(30, -1)}, "y_train holds no labels, or others"),
        ({"y_train": np.array([{}] * 30)}, "allow_pickle=False"),
        ({name: array[:0] for name, array in few().items()}, "y_train holds no labels"),
    ],
)
def test_data_that_is_not_mnist(tmp_path, changes, complaint):
    path = tmp_path / "digits.npz"
    arrays = few() | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(Failure, match=f"digits.npz: not MNIST's npz: .*{complaint}"):
        mnistcls.read_digits(path)


@pytest.mark.parametrize("keep", [0, 1, 1000, 400_000, 821_000])
def test_data_cut_short(tmp_path, keep):
    path = tmp_path / "digits.npz"
    path.write_bytes(mnistcls.SAMPLE.read_bytes()[:keep])
    with pytest.raises(Failure, match="digits.npz: .*not a zip archive, or a damaged one"):
        mnistcls.read_digits(path)


def spoilt(source, path, at):
    """A copy of `source` with the byte at this part of its length changed."""
    content = bytearray(source.read_bytes())
    content[int(len(content) * at)] ^= 0xFF
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_data_with_a_wrong_byte(tmp_path, at):
    spoilt(mnistcls.SAMPLE, tmp_path / "digits.npz", at)
    with pytest.raises(Failure, match="digits.npz: .*a damaged zip archive"):
        mnistcls.read_digits(tmp_path / "digits.npz")


def test_no_checkpoint_yet(tmp_path):
    status, out, err = run("estimator_predict.py", "--dir", tmp_path)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert f"no checkpoint yet; step 1 makes it: python train.py mnistcls --dir {tmp_path}" in err
    assert not (tmp_path / "imgs").exists()


@pytest.mark.parametrize("at", [0.001, 0.3, 0.6, 0.95])
def test_checkpoint_with_a_wrong_byte(trained, tmp_path, at):
    handoff = Handoff(tmp_path, "mnistcls")
    spoilt(Handoff(trained[0], "mnistcls").checkpoint, handoff.checkpoint, at)
    with pytest.raises(Failure, match="mnistcls.keras: .*make it anew: python train.py"):
        load_checkpoint(handoff)


def test_checkpoint_that_is_another_archive(tmp_path):
    handoff = Handoff(tmp_path, "mnistcls")
    handoff.checkpoint.parent.mkdir()
    with zipfile.ZipFile(handoff.checkpoint, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(Failure, match="mnistcls.keras: not a model that Keras can load"):
        load_checkpoint(handoff)


def test_shipped_images_are_mnist_s():
    names, pixels = images.test_images(Handoff("nowhere", "mnistcls"), mnistcls.SHAPE)
    assert names == [f"img{digit}.png" for digit in range(10)]
    assert pixels.shape == (10, 28, 28, 1) and pixels.dtype == np.float32
    assert (pixels[3] - 128).mean() == pytest.approx(-82.80, abs=0.01)
    assert pixels[3].var() == pytest.approx(7827.31, abs=0.1)


def test_images_are_fitted_and_it_is_said(tmp_path, capsys):
    Image.new("RGB", (30, 40), (255, 0, 0)).save(tmp_path / "img10.png")
    Image.new("1", (28, 28), 1).save(tmp_path / "img2.png")
    names, pixels = images.load_images(tmp_path, mnistcls.SHAPE)
    assert names == ["img2.png", "img10.png"] and pixels.shape == (2, 28, 28, 1)
    assert pixels[0].min() == 255 and pixels[1].max() == 76  # ITU-R 601's share of red
    said = capsys.readouterr().out
    assert "img10.png: in colour, converted to grey" in said
    assert "img10.png: 30x40, resized to 28x28" in said and "img2" not in said


def test_listed_images_in_colour(tmp_path):
    Image.new("L", (5, 4), 9).save(tmp_path / "grey.png")
    names, pixels = images.load_images([tmp_path / "grey.png"], (4, 5, 3))
    assert names == ["grey.png"] and (pixels == 9).all() and pixels.shape == (1, 4, 5, 3)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not an image"),
        (b"text", "not an image"),
        ((PROJECT / "imgs/test/mnistcls/img3.png").read_bytes()[:100], "cannot be read"),
    ],
)
def test_not_an_image(tmp_path, content, complaint):
    (tmp_path / "img0.png").write_bytes(content)
    with pytest.raises(Failure, match=f"img0.png: {complaint}"):
        images.load_images(tmp_path, mnistcls.SHAPE)


def test_folder_without_images(tmp_path):
    with pytest.raises(Failure, match="no images here"):
        images.load_images(tmp_path, mnistcls.SHAPE)


def test_warnings_are_not_held_back(capfd):
    with tf_import.stderr_without(tf_import.NOISE):
        os.write(2, b"I0000 00:00:1.0 1 port.cc:153] a note\nW0000 00:00:1.0 1 a.cc:1] a warning\n")
    assert capfd.readouterr().err == "W0000 00:00:1.0 1 a.cc:1] a warning\n"
