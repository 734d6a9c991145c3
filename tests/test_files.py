"""Files whole or not at all, alike from run to run; and how tensors lie in them."""

import os
from math import prod

import numpy as np
import pytest

from tests.pipeline import contents, run_warm
from tf2caffe import paths
from tf2caffe.graph.layout import Layout, usual
from tf2caffe.paths import replacing, replacing_folder

ERRORS = [ValueError("no"), KeyboardInterrupt(), OSError(28, "No space left on device")]


def test_replacing_puts_the_new_in_the_place_of_the_old(tmp_path):
    path = tmp_path / "made" / "net.png"
    for text in ("old", "new"):
        with replacing(path) as temporary:
            assert temporary.parent == path.parent and temporary.suffix == path.suffix
            temporary.write_text(text)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == text
    assert contents(path.parent).keys() == {"net.png"}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("there", [True, False])
def test_error_while_replacing_leaves_the_old(tmp_path, error, there):
    path = tmp_path / "net.png"
    if there:
        path.write_text("old")
    before = contents(tmp_path)
    with pytest.raises(type(error)), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert contents(tmp_path) == before


def test_replacing_what_cannot_be_replaced(tmp_path):
    (tmp_path / "net.png" / "full").mkdir(parents=True)
    before = contents(tmp_path)
    with pytest.raises(OSError) as raised, replacing(tmp_path / "net.png") as temporary:
        temporary.write_text("new")
    assert raised.value.filename == str(tmp_path / "net.png")  # not the temporary's name
    assert contents(tmp_path) == before


def write_folder(path, texts):
    with replacing_folder(path) as temporary:
        assert contents(temporary) == {}
        for name, text in texts.items():
            (temporary / name).write_text(text)


def test_replacing_a_folder_leaves_nothing_of_the_old(tmp_path):
    path = tmp_path / "made" / "net"
    write_folder(path, {"one": "old", "two": "old"})
    write_folder(path, {"two": "new", "three": "new"})
    assert {file.name: file.read_text() for file in path.iterdir()} == {
        "two": "new",
        "three": "new",
    }
    assert [file.name for file in path.parent.iterdir()] == ["net"]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("there", [True, False])
def test_error_while_replacing_a_folder_leaves_the_old(tmp_path, error, there):
    path = tmp_path / "net"
    if there:
        write_folder(path, {"one": "old"})
    before = contents(tmp_path)
    with pytest.raises(type(error)), replacing_folder(path) as temporary:
        (temporary / "one").write_text("half")
        raise error
    assert contents(tmp_path) == before


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_folder_is_never_lost(tmp_path, monkeypatch, error, when):
    """Stopped at the worst of moments, where the system cannot let folders change places."""
    path = tmp_path / "net"
    write_folder(path, {"one": "old"})
    moves = []

    def stopped(source, target):
        moves.append(target)
        if len(moves) == {"before": 2, "between": 3, "after": 3}[when]:
            if when == "after":
                rename(source, target)
            raise error
        rename(source, target)

    rename = os.rename
    monkeypatch.setattr(paths, "exchange", lambda first, second: False)
    monkeypatch.setattr(paths.os, "rename", stopped)
    with pytest.raises(type(error)):
        write_folder(path, {"one": "new"})
    monkeypatch.undo()
    assert (path / "one").read_text() == ("new" if when == "after" else "old")
    assert os.listdir(tmp_path) == ["net"]


def test_folder_is_there_all_the_time(tmp_path):
    """However often it is looked for while it is replaced, in two processes at once."""
    path = tmp_path / "net"
    write_folder(path, {"one": "old"})
    replacers = [os.fork(), os.fork()]
    if 0 in replacers:
        for _ in range(300):
            write_folder(path, {"one": "new"})
        os._exit(0)
    while os.waitpid(replacers[0], os.WNOHANG)[0] == 0:
        assert (path / "one").exists()
    assert os.waitpid(replacers[1], 0)[1] == 0
    assert (path / "one").read_text() == "new" and os.listdir(tmp_path) == ["net"]


@pytest.mark.parametrize("write", [write_folder, lambda path, texts: write_file(path)])
def test_what_dead_processes_left_is_removed(tmp_path, write):
    """Not what others may still be writing: other processes, other machines, other networks."""
    path, host = tmp_path / "net", os.uname().nodename
    dead = os.fork() or os._exit(0)
    os.waitpid(dead, 0)
    left = {name: tmp_path / name for name in (
        f".net.{host}.{dead}", f".net.{host}.{os.getppid()}", f".net.elsewhere.{dead}",
        f".net2.{host}.{dead}", f".net.{host}.{dead}.png", f"net.{host}.{dead}", ".net",
    )}  # fmt: skip
    for name, file in left.items():
        write_folder(file, {"one": "half"}) if name.endswith("d") else file.write_text("half")
    write(path, {"one": "new"})
    assert set(os.listdir(tmp_path)) == {*left, "net"} - {f".net.{host}.{dead}"}


def write_file(path):
    with replacing(path) as temporary:
        temporary.write_text("new")


def random_shape(random, low, high):
    return tuple(random.choice([1, 2, 3, 4, 6], random.integers(low, high + 1)).tolist())


def other_shape(random, size):
    """Random axes with so many elements in all."""
    axes = []
    while size > 1 and len(axes) < 3 and random.random() < 0.8:
        axes.append(int(random.choice([d for d in range(1, size + 1) if size % d == 0])))
        size //= axes[-1]
    return (*axes, size)


def numbered(shape):
    """Two images whose elements are all different."""
    return np.arange(2 * prod(shape)).reshape(2, *shape)


def test_images_and_vectors_lie_as_caffe_has_them():
    image = numbered((3, 5, 2))
    assert np.array_equal(usual((3, 5, 2)).to_caffe(image), image.transpose(0, 3, 1, 2))
    assert np.array_equal(usual((7,)).to_caffe(numbered((7,))), numbered((7,)))
    line = numbered((5, 3))
    assert np.array_equal(usual((5, 3)).to_caffe(line), line.transpose(0, 2, 1)[:, :, None])


def test_flattened_image_lies_in_caffe_s_order():
    layout = usual((3, 5, 2)).reshaped((30,))
    image = numbered((3, 5, 2))
    flat = layout.to_caffe(image.reshape(2, 30))
    assert np.array_equal(flat, image.transpose(0, 3, 1, 2).reshape(2, 30))


@pytest.mark.parametrize("seed", range(20))
def test_layouts_go_there_and_back(seed):
    """And a reshape, which moves nothing in TensorFlow, moves nothing in Caffe's blob."""
    random, reshapes = np.random.default_rng(seed), 0
    for _ in range(20):
        layout = usual(random_shape(random, 1, 4))
        tensor = numbered(layout.tf_shape)
        for _ in range(4):
            blob = layout.to_caffe(tensor)
            assert blob.shape == (2, *layout.caffe_shape)
            assert np.array_equal(layout.to_tf(blob), tensor)
            plain = usual(layout.tf_shape).to_caffe(tensor)
            same = blob.shape == plain.shape and np.array_equal(blob, plain)
            assert layout.is_usual() == same, layout
            shape = other_shape(random, prod(layout.tf_shape))
            try:
                after = layout.reshaped(shape)
            except ValueError:
                continue  # what cannot be carried is refused
            reshapes += 1
            assert after.tf_shape == shape
            tensor = tensor.reshape(2, *shape)
            assert np.array_equal(after.to_caffe(tensor).ravel(), blob.ravel()), (layout, shape)
            layout = after
        flat = layout.reshaped((prod(layout.tf_shape),))  # can always be
        assert flat.caffe_shape == flat.tf_shape
        joined = tensor.reshape(2, -1)
        assert np.array_equal(flat.to_caffe(joined).ravel(), layout.to_caffe(tensor).ravel())
    assert reshapes > 30


@pytest.mark.parametrize("seed", range(5))
def test_joined_layouts_go_there_and_back(seed):
    index = np.random.default_rng(seed).permutation(12)
    layout = Layout((12,), ((0,),), ((0,),), tuple(index.tolist()))
    tensor = numbered((12,))
    blob = layout.to_caffe(tensor)
    assert np.array_equal(blob, tensor[:, index])
    assert np.array_equal(layout.to_tf(blob), tensor)


def test_the_proof_of_another_network_does_not_stay(work):
    proof = work / "nets/mnistcls.parity.json"
    assert proof.exists()
    assert run_warm("build_caffe.py", "--dir", work).status == 0
    assert proof.exists()
    weight = work / "tf_weights/mnistcls/conv01-kernel.npy"
    np.save(weight, np.load(weight) * 2)
    assert run_warm("build_caffe.py", "--dir", work).status == 0
    assert not proof.exists()
