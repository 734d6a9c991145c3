"""Nothing is imported that Windows or macOS do not have; each text file is opened as UTF-8."""

import ast
import os
import subprocess
import sys

import pytest

from tests.pipeline import PROJECT, SCRIPTS

POSIX_ONLY = ("fcntl", "grp", "posix", "pwd", "resource", "termios")
FILES = sorted((PROJECT / "tf2caffe").rglob("*.py")) + [PROJECT / name for name in SCRIPTS]
# Imports every module with the modules that are missing there blocked, and what `os` and `signal`
# lack there removed; then asks for the help of the command.
ELSEWHERE = """
import os, signal, sys
import numpy, tensorflow, cv2  # these bring what their own wheels need there
for name in {blocked}:
    sys.modules[name] = None
for module, names in ((os, ("fork", "killpg", "setsid", "uname", "getuid")),
                      (signal, ("SIGKILL", "SIGALRM", "setitimer"))):
    for name in names:
        delattr(module, name)
sys.platform = {platform!r}
import importlib, pkgutil, tf2caffe
for found in pkgutil.walk_packages(tf2caffe.__path__, "tf2caffe."):
    if not found.name.endswith(("__main__", "pycaffe_worker", "opencv_worker")):
        importlib.import_module(found.name)

from pathlib import Path
from tf2caffe import paths
with paths.replacing_folder(Path({folder!r}) / "there") as made:
    (made / "file").touch()
with paths.replacing_folder(Path({folder!r}) / "there") as made:
    (made / "other").touch()
sys.argv = ["__main__.py", "--help"]
from tf2caffe import __main__
__main__.run()
"""


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_imports_elsewhere(platform, tmp_path):
    (tmp_path / "there").mkdir()
    code = ELSEWHERE.format(blocked=POSIX_ONLY, platform=platform, folder=str(tmp_path))
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", cwd=PROJECT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "usage: tf2caffe" in ended.stdout
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["other"]
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def calls(file):
    """The calls in a file that open a file as text, {line: the names of their arguments}."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        name = getattr(
            getattr(node, "func", None), "attr", getattr(getattr(node, "func", 0), "id", 0)
        )
        if isinstance(node, ast.Call) and name in ("read_text", "write_text", "open"):
            yield node, name, {keyword.arg for keyword in node.keywords}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_encodings(file):
    """The default is another one on Windows."""
    for node, name, given in calls(file):
        modes = [one.value for one in node.args if isinstance(one, ast.Constant)]
        binary = name == "open" and any("b" in str(mode) for mode in modes)
        elsewhere = ast.unparse(node.func) in OTHER_OPENS
        assert binary or elsewhere or "encoding" in given, f"{file.name}:{node.lineno}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_newer_than_python_3_10(file):
    text = file.read_text(encoding="utf-8")
    assert not [name for name in NEWER if name in text]


# What came with Python 3.11 or later.
NEWER = (
    "file_digest", "add_note", "catch_warnings(action", "contextlib.chdir", "tomllib", "StrEnum",
    "ExceptionGroup", "except*", "datetime.UTC", "math.cbrt", "math.exp2", "itertools.batched",
    "import Self", "delete_on_close",
)  # fmt: skip
# What opens no file as text.
OTHER_OPENS = ("Image.open", "os.open", "members.open", "tarfile.open", "webbrowser.open")
