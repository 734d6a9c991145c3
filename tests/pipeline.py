"""The six scripts as a user runs them: each in a process of its own, in a folder of their own."""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from models import mnistcls

PROJECT = Path(__file__).resolve().parents[1]
SCRIPTS = (
    "train.py", "estimator_predict.py", "tf_predict.py",
    "save_weights.py", "build_caffe.py", "caffe_predict.py",
)  # fmt: skip
OFFLINE = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")  # nobody answers


class Ended(NamedTuple):
    """What a script said, and its exit status."""

    status: int
    out: str
    err: str


def start(script, *arguments, cwd="/", **environment):
    return subprocess.Popen(
        [sys.executable, PROJECT / script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        cwd=cwd,
        env=os.environ | OFFLINE | environment,
    )


def end(process):
    out, err = process.communicate(timeout=300)
    return Ended(process.returncode, out, err)


def run(script, *arguments, cwd="/", **environment):
    return end(start(script, *arguments, cwd=cwd, **environment))


def run_warm(script, *arguments, cwd="/", seconds=0, memory=0, **environment):
    """Like `run`, and faster: see `warm`. It may be limited to so many seconds and bytes."""
    server = warm_server(*((5, 6) if script in SCRIPTS[4:] else (1, 2, 3, 4)))
    request = [str(PROJECT / script), *map(str, arguments)], OFFLINE | environment
    server.stdin.write(json.dumps([*request, str(cwd), seconds, memory]) + "\n")
    server.stdin.flush()
    return Ended(*json.loads(server.stdout.readline()))


@functools.cache
def warm_server(*steps):
    """Started once for the steps; it ends with the tests, when its standard input does."""
    modules = ["tf2caffe.api", "tf2caffe.caffe.listing", "tf2caffe.proof.calibration"]
    modules += [f"tf2caffe.pictures.{name}" for name in ("diagram", "figures", "layers")]
    if 4 in steps:
        modules += ["keras", "h5py", "models", "tf2caffe.training.metrics"]
        modules += ["tf2caffe.training.replicas", "tf2caffe.training.trainer"]
        names = ("images", "inputs", "load", "original", "reader", "source", "weights")
        modules += [f"tf2caffe.frontend.{name}" for name in names]
    return subprocess.Popen(
        [sys.executable, Path(__file__).with_name("warm.py"), *modules],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        cwd="/",
    )


def run_all(*commands):
    """Several scripts at once, each given as (script, argument, ...)."""
    processes = [start(*command) for command in commands]
    return [end(process) for process in processes]


def complaint(ended, script):
    """The one line that a script said before it gave up."""
    assert ended.status == 1, ended
    assert ended.err.startswith(f"{script}: ") and ended.err.count("\n") == 1, ended.err
    assert ended.err.endswith("\n")
    return ended.err.removeprefix(f"{script}: ").strip()


def contents(folder):
    """{path: digest} of all files below the folder; folders have none."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else None
        for path in sorted(Path(folder).rglob("*"))
    }


class Pipeline(NamedTuple):
    """Where the six scripts have run, what they said, and where from."""

    folder: Path
    said: dict
    cwd: Path


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The six scripts, run once in order for a short training. Not to be changed: see `work`."""
    folder, cwd = tmp_path_factory.mktemp("finished"), tmp_path_factory.mktemp("elsewhere")
    said = {}
    for script in SCRIPTS:
        arguments = ["--dir", folder]
        if script == "train.py":
            arguments += ["--epochs", 1]
            if (PROJECT / "data" / "mnist.npz").exists():
                arguments += ["--data", mnistcls.SAMPLE]  # or it would not be short
        keras_home = tmp_path_factory.getbasetemp() / "no-keras"
        said[script] = run(script, *arguments, cwd=cwd, KERAS_HOME=str(keras_home))
        assert said[script].status == 0, said[script]
    return Pipeline(folder, said, cwd)


@pytest.fixture
def work(finished, tmp_path):
    """A copy of the folder in which the six scripts have run, free to be changed."""
    return shutil.copytree(finished.folder, tmp_path / "work")


@contextlib.contextmanager
def mounted(folder, *options):
    """A file system mounted on `folder`; needs root. Skips the test where that is not allowed."""
    told = subprocess.run(["mount", *options, folder], capture_output=True, text=True)
    if told.returncode:
        needed = os.environ.get("REQUIRE_PYCAFFE")  # set where all tests must run
        (pytest.fail if needed else pytest.skip)(f"mount: {told.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
