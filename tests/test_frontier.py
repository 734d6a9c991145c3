"""Which module may import which: TensorFlow has a frontier, rooms have an order."""

import ast
import subprocess
import sys

import pytest

from tests.pipeline import PROJECT, SCRIPTS

PACKAGE = PROJECT / "tf2caffe"
FILES = sorted(PACKAGE.rglob("*.py"))
TENSORFLOW = {"tensorflow", "keras", "tf_keras", "h5py"}
# What a room may import besides itself and the modules that lie beside the rooms.
ROOMS = {
    "graph": set(),
    "caffe": {"graph"},
    "proof": {"graph", "caffe"},
    "pictures": {"proof"},  # compare.png marks what the proof judged
    "frontend": {"graph", "caffe", "proof"},  # step 4 names files as Caffe does, errors as step 6
    "report": {"graph", "caffe", "proof", "pictures"},
    "training": {"frontend"},
}
BESIDE = {"failure", "files", "nearby", "paths", "records"}  # any room may import them


def imported(file):
    """The modules that a file imports, at any level: {"tf2caffe.graph.ops", ...}."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(file):
    """The rooms of the package, and its modules beside them, that a file imports."""
    names = [name.split(".") for name in imported(file)]
    return {parts[1] for parts in names if parts[0] == "tf2caffe" and len(parts) > 1}


def room(file):
    parts = file.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else None


def test_only_the_front_end_and_the_training_import_tensorflow():
    within = ("frontend", "training")
    found = {
        (str(file.relative_to(PROJECT)), name)
        for file in [*FILES, *(PROJECT / script for script in SCRIPTS)]
        for name in imported(file)
        if name.partition(".")[0] in TENSORFLOW
        if not (file.is_relative_to(PACKAGE) and room(file) in within)
    }
    assert not found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_rooms_import_what_they_may(file):
    of = room(file)
    assert of is None or of in ROOMS
    if of in ROOMS:
        assert ours(file) - {of} <= ROOMS[of] | BESIDE
    elif file.stem in BESIDE:
        assert ours(file) <= BESIDE


def test_the_package_imports_no_script_and_no_network():
    strange = {script.removesuffix(".py") for script in SCRIPTS}
    strange |= {"models", "tests", "consumers", "benchmarks"}
    for file in FILES:
        assert not strange & {name.partition(".")[0] for name in imported(file)}, file


def test_nobody_imports_a_script():
    scripts = {script.removesuffix(".py") for script in SCRIPTS}
    folders = ("tests", "consumers", "benchmarks", "models", "tools")
    for file in [file for folder in folders for file in (PROJECT / folder).rglob("*.py")]:
        assert not scripts & {name.partition(".")[0] for name in imported(file)}, file


STATE = """
import gc, os, resource, signal, sys
def state():
    limits = [resource.getrlimit(kind) for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS)]
    collected = gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()
    handlers = [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)]
    level = os.environ.get("TF_CPP_MIN_LOG_LEVEL")
    return limits, collected, handlers, sys.getrecursionlimit(), level
"""


def alone(program, *arguments):
    """Run a program in a Python of its own; what it prints."""
    command = [sys.executable, "-c", STATE + program, *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout


def test_import_is_light_and_sets_nothing():
    program = """
before = state()
import tf2caffe
assert state() == before
print(sorted({"numpy", "tensorflow", "keras", "google.protobuf"} & set(sys.modules)))
"""
    assert alone(program) == "[]\n"


def test_convert_and_prove_leave_the_process_as_it_was(tmp_path):
    program = """
from tf2caffe.frontend import tf_import
before = state()
tf_import.tensorflow()
import keras
model = keras.Sequential([keras.Input((5, 7, 2)), keras.layers.Conv2D(3, 3, name="conv")])
model.save(sys.argv[1] + "/my.keras")
import tf2caffe
converted = tf2caffe.convert(sys.argv[1] + "/my.keras", folder=sys.argv[1])
verdict = tf2caffe.prove(converted, runtime="opencv")
assert state() == before, (before, state())
print(verdict.equal, [row.name for row in verdict.rows])
"""
    said = alone(program, tmp_path).splitlines()
    assert said[-1] == "True ['conv/Conv2D']"
