"""What a user's own network is run on, and what of it is drawn."""

import numpy as np
import pytest
from PIL import Image

from tf2caffe.failure import Failure
from tf2caffe.frontend import inputs as given
from tf2caffe.graph.preprocessing import Preprocessing
from tf2caffe.paths import Handoff
from tf2caffe.pictures import layers

IMAGE = (1, 5, 7, 3)


def load(folder, shapes=None, data=None, images=None, **options):
    """What a network of these inputs is run on, with these options."""
    taken = {"data": data, "images": images, "preprocessing": Preprocessing.of(**options)}
    return given.load(Handoff(folder, "net"), shapes or {"data": IMAGE}, **taken)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(3).integers(0, 256, (2, 5, 7, 3), np.uint8)
    for at, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"photo{at}.png")
    return folder, pixels.astype(np.float32)


def test_images_are_prepared_as_caffe_does_it(photos, tmp_path):
    folder, pixels = photos
    options = {"images": folder, "bgr": True, "mean": [123.0, 117.0, 104.0], "scale": 0.5}
    inputs, names = load(tmp_path, **options)
    expected = (pixels[..., ::-1] - np.float32([104, 117, 123])) * np.float32(0.5)
    np.testing.assert_array_equal(inputs["data"], expected)
    assert names == ["photo0.png", "photo1.png"]


def test_one_image_as_it_is(photos, tmp_path):
    folder, pixels = photos
    inputs, names = load(tmp_path, images=folder / "photo1.png")
    np.testing.assert_array_equal(inputs["data"], pixels[1:])
    assert names == ["photo1.png"]


def test_test_images_of_the_network(photos, tmp_path):
    folder, pixels = photos
    target = Handoff(tmp_path, "net").test_images
    target.parent.mkdir(parents=True)
    folder.rename(target)
    inputs, _ = load(tmp_path)
    np.testing.assert_array_equal(inputs["data"], pixels)


def test_random_input_is_announced_and_the_same_each_time(tmp_path, capsys):
    first, names = load(tmp_path)
    again, _ = load(tmp_path)
    assert "input: random" in capsys.readouterr().out and names == ["random"]
    np.testing.assert_array_equal(first["data"], again["data"])
    assert first["data"].shape == IMAGE and first["data"].std() > 0.5


def test_arrays_as_the_model_takes_them(tmp_path):
    array = np.arange(2 * 105).reshape(2, 5, 7, 3)
    np.save(tmp_path / "x.npy", array)
    inputs, names = load(tmp_path, data=tmp_path / "x.npy")
    np.testing.assert_array_equal(inputs["data"], array.astype(np.float32))
    assert inputs["data"].dtype == np.float32 and names == ["x0", "x1"]
    np.savez(tmp_path / "xy.npz", a=np.ones((3, 4)), b=np.zeros((3, 2)))
    two = {"a": (1, 4), "b": (1, 2)}
    inputs, names = load(tmp_path, two, data=tmp_path / "xy.npz")
    assert inputs["a"].shape == (3, 4) and inputs["b"].shape == (3, 2) and len(names) == 3


def written(folder, name, array):
    np.save(folder / name, array)
    return folder / name


WRONG = {
    "shape": (lambda folder: written(folder, "x.npy", np.ones((2, 7, 5, 3))), r"\(N, 5, 7, 3\)"),
    "NaN": (lambda folder: written(folder, "x.npy", np.full(IMAGE, np.nan)), "NaN or infinity"),
    "text": (lambda folder: written(folder, "x.npy", np.array(["a"])), r"\(N, 5, 7, 3\)"),
    "number": (lambda folder: written(folder, "x.npy", np.float32(1)), r"\(N, 5, 7, 3\)"),
    "none": (lambda folder: written(folder, "x.npy", np.ones((0, 5, 7, 3))), r"\(N, 5, 7, 3\)"),
    "missing": (lambda folder: folder / "nowhere.npy", "does not exist"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_arrays(fault, tmp_path):
    make, told = WRONG[fault]
    with pytest.raises(Failure, match=f"--input .*{told}"):
        load(tmp_path, data=make(tmp_path))


def test_damaged_and_pickled_arrays(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"no array")
    (tmp_path / "x.npz").write_bytes(b"PK no archive")
    np.save(tmp_path / "pickled.npy", np.array([{}]), allow_pickle=True)
    for name in ("x.npy", "x.npz", "pickled.npy"):
        with pytest.raises(Failure, match=f"--input .*{name}"):
            load(tmp_path, data=tmp_path / name)


def test_names_of_arrays(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones((1, 4)))
    with pytest.raises(Failure, match=r"has \['a'\]; the inputs are \['a', 'b'\]"):
        load(tmp_path, {"a": (1, 4), "b": (1, 2)}, data=tmp_path / "x.npz")
    with pytest.raises(Failure, match="2 inputs; give a .npz"):
        path = written(tmp_path, "x.npy", np.ones((1, 4)))
        load(tmp_path, {"a": (1, 4), "b": (1, 2)}, data=path)


def test_images_where_they_do_not_fit(photos, tmp_path):
    folder, _ = photos
    with pytest.raises(Failure, match="not one image; give it with --input"):
        load(tmp_path, {"a": (1, 4)}, images=folder)
    with pytest.raises(Failure, match="has 4 channels, an image 1 or 3"):
        load(tmp_path, {"a": (1, 5, 7, 4)}, images=folder)
    with pytest.raises(Failure, match="--mean has 2 numbers, the input 3 channels"):
        load(tmp_path, images=folder, mean=[1.0, 2.0])
    with pytest.raises(Failure, match="nowhere: no images here"):
        load(tmp_path, images=tmp_path / "nowhere")


def test_the_image_that_is_shown():
    names = ["a.png", "img3.png", "b.jpg"]
    assert given.position(None, names) == 1
    assert given.position(None, names[::2]) == 0
    assert given.position("b", names) == given.position("b.jpg", names) == 2
    with pytest.raises(Failure, match="--image c: not one of a, img3, b"):
        given.position("c", names)


def test_layers_that_are_drawn(capsys):
    few = {f"conv{at}/Conv2D": at for at in range(10)}
    assert layers.chosen(few) == few
    assert list(layers.chosen(few, ["conv1*", "conv7/Conv2D"])) == [
        "conv1/Conv2D", "conv7/Conv2D",
    ]  # fmt: skip
    with pytest.raises(Failure, match="--layers dense: no layer has such a name"):
        layers.chosen(few, ["dense"])
    assert capsys.readouterr().out == ""
    many = {f"layer{at}": at for at in range(500)}
    some = list(layers.chosen(many))
    assert len(some) == layers.DRAWN and some[0] == "layer0" and some[-1] == "layer499"
    assert "48 of 500 layers are drawn" in capsys.readouterr().out


def test_labels(tmp_path):
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    classes = layers.labels(tmp_path / "labels.txt")
    sure = np.float32([[0.25, 0.75]])
    assert layers.captions(sure, classes) == (["dog  75.00%"], [None])
    assert layers.captions(sure, classes, ["dog"]) == (["dog  75.00%\nexpected: dog"], [True])
    assert layers.captions(sure, classes, ["cat"])[1] == [False]
    with pytest.raises(Failure, match="2 lines, the network 3 answers"):
        layers.captions(np.zeros((1, 3)), classes)
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(Failure, match="not a text file"):
        layers.labels(tmp_path / "labels.txt")
