"""What steps 5 and 6 take for a network's name: the name, the model's file, a file in nets/."""

from argparse import Namespace
from pathlib import Path

import pytest

from tests.pipeline import complaint, run
from tf2caffe import cli
from tf2caffe.failure import Failure

HERE = Path(".")
# what is given -> the name, the folder, whether it is the deploy form
NAMES = {
    "my": ("my", HERE, False),
    "my.keras": ("my", HERE, False),
    "models/my.h5": ("my", HERE, False),
    "frozen.v2.pb": ("frozen.v2", HERE, False),
    "nets/my.prototxt": ("my", HERE, False),
    "nets/my.deploy.prototxt": ("my", HERE, True),
    "out/nets/my.caffemodel": ("my", Path("out"), False),
    "out/nets/my.deploy.parity.json": ("my", Path("out"), True),
    "/there/nets/my.blobs.json": ("my", Path("/there"), False),
    "my.v2": ("my.v2", HERE, False),
}


def found(text, folder=HERE):
    args = Namespace(name=text, dir=folder, deploy=False)
    cli.find_name(args)
    return args.name, args.dir, args.deploy


@pytest.mark.parametrize("text", NAMES)
def test_names(text):
    assert found(text) == NAMES[text]


def test_folders(tmp_path, monkeypatch):
    (tmp_path / "saved/my").mkdir(parents=True)
    (tmp_path / "nets").mkdir()
    assert found(str(tmp_path / "saved/my"))[0] == "my"
    assert found(str(tmp_path / "nets/my.prototxt"), tmp_path)[:2] == ("my", tmp_path)
    with pytest.raises(Failure, match="name two folders; give one of them"):
        found(str(tmp_path / "nets/my.prototxt"), tmp_path / "other")
    with pytest.raises(Failure, match="is not in a folder called nets"):
        found("elsewhere/my.prototxt")
    monkeypatch.chdir(tmp_path / "nets")
    assert found("my.prototxt")[:2] == ("my", tmp_path)


def test_scripts(work, tmp_path):
    """Both steps on the same network, named in other ways."""
    built = run("build_caffe.py", "anywhere/mnistcls.keras", "--deploy", "--dir", work)
    assert (built.status, built.err) == (0, "")
    for file, count in (("mnistcls.prototxt", 14), ("mnistcls.deploy.caffemodel", 8)):
        ended = run("caffe_predict.py", work / "nets" / file, "--runtime", "opencv")
        assert ended.status == 0 and f"EQUAL: all {count} layers" in ended.out
    line = complaint(run("build_caffe.py", "other.keras", cwd=tmp_path), "build_caffe.py")
    assert "save_weights.py (step 4) makes it" in line or "save_weights.py" in line
