"""Killed at any moment, starved of disk or rights, two at once: nothing that was complete is lost.

Every hand-off file is, to the byte, what it was or what it was to become; the next run succeeds and
removes what the killed ones left. `make killed N=100` kills every step a hundred times.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import mnistcls
from tests.pipeline import PROJECT, complaint, contents, end, run, run_warm, start
from tf2caffe import files
from tf2caffe.proof import runtimes

pytestmark = pytest.mark.slow

PROBE = hashlib.sha256(b"blat").hexdigest()  # what Python's tempfile writes to try a folder

COUNT = int(os.environ.get("KILLED", 5))  # runs of each step that are killed
OPENCV = ("--runtime", "opencv")
# script -> its arguments, and what of the folder it reads
STEPS = {
    "estimator_predict.py": ((), ("checkpoints",)),
    "tf_predict.py": (("net.keras",), ("net.keras",)),
    "save_weights.py": (("net.keras",), ("net.keras",)),
    "build_caffe.py": (("net", "--deploy"), ("tf_weights", "activations")),
    "caffe_predict.py": (("net", *OPENCV), ("nets", "activations")),
}
# about how many changes to the file system a run makes
CHANGES = {
    "estimator_predict.py": 5,
    "tf_predict.py": 20,
    "save_weights.py": 25,
    "build_caffe.py": 50,
    "caffe_predict.py": 25,
}
PROOF = ".parity.json"


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """Two folders in which all steps have run, for two states of the same networks."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    for seed, folder in enumerate(folders):
        models(folder, seed)
        for script, (arguments, _) in STEPS.items():
            ended = run_warm(script, *arguments, "--dir", ".", cwd=folder)
            assert (ended.status, ended.err) == (0, ""), ended
    return folders


def models(folder, seed):
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    (folder / "checkpoints").mkdir()
    mnistcls.build().save(folder / "checkpoints/mnistcls.keras")
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(2, 3, activation="relu", name="conv"),
            layers.Flatten(name="flatten"),
            layers.Dense(3, activation="softmax", name="dense"),
        ]
    )
    model.save(folder / "net.keras")


def take(box, state, paths):
    """Let what a step reads be that of another state."""
    for path in paths:
        if (state / path).is_dir():
            shutil.rmtree(box / path)
            shutil.copytree(state / path, box / path)
        else:
            shutil.copy(state / path, box / path)


def is_hidden(path):
    return any(part.startswith(".") for part in Path(path).parts)


def assert_whole(box, states):
    """Each file is one of the two states'; a proof may be gone, that of another network."""
    found, known = contents(box), [contents(state) for state in states]
    for path, digest in found.items():
        assert is_hidden(path) or digest in [state.get(path) for state in known], path
    missing = known[0].keys() - found.keys()
    assert all(path.endswith(PROOF) for path in missing), missing


@pytest.mark.parametrize("script", STEPS)
def test_killed_at_any_moment(script, states, tmp_path):
    (arguments, reads), random = STEPS[script], np.random.default_rng(COUNT)
    box = shutil.copytree(states[0], tmp_path / "box")
    (tmp_path / "tmp").mkdir()
    command = functools.partial(
        run_warm, script, *arguments, "--dir", ".", cwd=box, TMPDIR=str(tmp_path / "tmp")
    )
    started, killed = time.monotonic(), 0
    assert command().status == 0
    duration = time.monotonic() - started
    for number in range(COUNT):
        take(box, states[random.integers(2)], reads)
        if number % 2:
            ended = command(seconds=random.uniform(0.01, duration))
        else:
            ended = command(KILLED_AT=str(random.integers(1, CHANGES[script])))
        assert ended.status in (0, -signal.SIGALRM, -signal.SIGKILL), ended
        killed += ended.status != 0
        assert_whole(box, states)
    left = sum(map(is_hidden, contents(box)))
    take(box, states[0], reads)
    assert command().status == 0
    assert contents(box) == without_lost_proofs(contents(states[0]), box)
    assert set(contents(tmp_path / "tmp").values()) <= {PROBE}
    print(f"{script}: killed {killed} of {COUNT} times, {left} temporary files left and removed")
    assert killed


def without_lost_proofs(found, box):
    """Those that step 5 has removed, which only step 6 makes again."""
    lost = [path for path in found if path.endswith(PROOF) and not (box / path).exists()]
    return {path: digest for path, digest in found.items() if path not in lost}


def few_digits(path):
    digits = mnistcls.read_digits(mnistcls.SAMPLE)
    few = {name: array[:300] for name, array in digits._asdict().items() if name != "origin"}
    np.savez(path, **few)
    return path


def test_training_killed_at_any_moment(states, tmp_path):
    box, random = shutil.copytree(states[0], tmp_path / "box"), np.random.default_rng(COUNT)
    data = few_digits(tmp_path / "few.npz")
    command = functools.partial(
        run_warm, "train.py", "--dir", ".", "--epochs", 3, "--data", data, cwd=box
    )
    started = time.monotonic()
    assert command().status == 0
    duration = time.monotonic() - started
    for _ in range(COUNT):
        ended = command(seconds=random.uniform(0.01, duration))
        assert ended.status in (0, -signal.SIGALRM), ended
        assert files.damage(box / "checkpoints/mnistcls.keras") is None
        with Image.open(box / "imgs/mnistcls/tb-loss.png") as image:
            image.load()
        assert run_warm("estimator_predict.py", "--dir", ".", cwd=box).status == 0
    assert command().status == 0
    assert not any(map(is_hidden, contents(box)))


def test_the_child_ends_with_a_killed_step(states, tmp_path):
    """Whether it is asked for something or waits to be."""
    box, mark = shutil.copytree(states[0], tmp_path / "box"), f"MARK={tmp_path}"
    process = start("caffe_predict.py", "net", *OPENCV, "--dir", box, MARK=str(tmp_path))
    while not any("opencv_worker.py" in command for command in marked(mark)):
        assert process.poll() is None
    process.kill()
    process.communicate()
    while marked(mark):
        time.sleep(0.05)


def marked(mark):
    """The command lines of the processes with this in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_text())
    return [command for command in found if command]


@pytest.mark.parametrize("script", STEPS)
def test_two_at_once(script, states, tmp_path):
    """Both succeed, and what they leave is as if there had been one."""
    arguments, reads = STEPS[script]
    box = shutil.copytree(states[1], tmp_path / "box")
    take(box, states[0], reads)
    command = (script, *arguments, "--dir", ".")
    both = [start(*command, cwd=box) for _ in range(2)]
    assert [end(process)[::2] for process in both] == [(0, ""), (0, "")]
    assert_whole(box, states)
    alone = shutil.copytree(states[1], tmp_path / "alone")
    take(alone, states[0], reads)
    assert run(*command, cwd=alone).status == 0
    assert contents(box) == contents(alone)


FAILING = {
    "aborts": ("kill -ABRT $$", r"the process died \(Aborted\)|has no caffe"),
    "is killed": ("kill -KILL $$", r"Killed"),
    "hangs": ("sleep 600", r"took more than 3 s \(--caffe-timeout\)"),
    "says nothing": ("exit 0", "has no caffe"),
    "says something else": ("echo hello; sleep 600", "has no caffe"),
    "never stops talking": ("exec yes", "has no caffe"),
}


@pytest.mark.parametrize("when", ["at once", "when asked"])
@pytest.mark.parametrize("fault", FAILING)
def test_a_child_that_fails(fault, when, states, tmp_path):
    """One line, nothing lost. When asked: the worker starts as it should, and fails then."""
    box, python = shutil.copytree(states[0], tmp_path / "box"), tmp_path / "python"
    does, told = FAILING[fault]
    greeting = f"{sys.executable} -c '{GREETING}' {runtimes.HERE}; read -r line;"
    python.write_text(f"#!/bin/sh\n{greeting if when == 'when asked' else ''} {does}\n")
    python.chmod(0o755)
    before = contents(box)
    given = ("net", "--dir", ".", "--caffe-python", python, "--caffe-timeout", 3)
    line = complaint(run_warm("caffe_predict.py", *given, cwd=box, seconds=60), "caffe_predict.py")
    assert contents(box) == before
    if when == "at once":
        assert line.startswith(f"{python}: has no caffe")
    else:
        assert line.startswith("Caffe fails on nets/net.prototxt: "), line


GREETING = (
    'import sys; sys.path.insert(0, sys.argv[1]); from protocol import send; '
    'send(sys.stdout.buffer, {"version": "1.0.0"}, {})'
)  # fmt: skip


INTERRUPTING = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
sys.meta_path.insert(0, Interrupt())
"""


SLOW = ("train.py", "estimator_predict.py", "tf_predict.py", "save_weights.py")  # import TensorFlow
# what is being imported -> by which scripts
IMPORTED = {
    "argparse": ("train.py", *STEPS),
    "numpy": ("train.py", *STEPS),
    "PIL": ("estimator_predict.py", "tf_predict.py"),
    "tensorflow": SLOW,
}


@pytest.mark.parametrize("module", IMPORTED)
def test_ctrl_c_while_python_imports(module, states, tmp_path):
    """argparse is the first that a script imports for its work."""
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTING)
    environment = {"PYTHONPATH": str(tmp_path), "INTERRUPTED_AT": module}
    box = shutil.copytree(states[0], tmp_path / "box")
    before = contents(box)
    for script in IMPORTED[module]:
        arguments = STEPS[script][0] if script in STEPS else ()
        ended = run(script, *arguments, "--dir", ".", cwd=box, **environment)
        assert "interrupted" in complaint(ended, script)
    after = contents(box)
    changed = {path for path in before | after if before.get(path) != after.get(path)}
    assert all(path.startswith("logs") or after[path] is None for path in changed), changed


@pytest.mark.skipif(os.geteuid() == 0, reason="root mounts file systems without it")
def test_starved_without_being_root():
    """The tests that mount a full disk and a read-only one, as root of a namespace of their own."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no namespaces for users here (unshare -rm)")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/test_errors.py",
        "-q",
        "-k",
        "disk or written",
    ]
    ended = subprocess.run(["unshare", "-rm", *command], cwd=PROJECT, capture_output=True)
    assert ended.returncode == 0, ended.stdout.decode()
