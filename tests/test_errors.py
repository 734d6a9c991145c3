"""Bad input: one line that names the file and what to do, status 1, and every file as it was."""

import contextlib
import functools
import json
import math
import os
import pickle
import re
import shutil
import signal
import sys
import time

import numpy as np
import pytest
from PIL import Image

from models.mnistcls import SAMPLE
from tests.pipeline import (
    PROJECT,
    complaint,
    contents,
    end,
    mounted,
    run,
    run_all,
    run_warm,
    start,
)
from tf2caffe.caffe import blobs, forms, mapping
from tf2caffe.failure import Failure
from tf2caffe.graph import graph
from tf2caffe.paths import Handoff
from tf2caffe.proof import activations, parity

WEIGHTS, GRAPH = "tf_weights/mnistcls", "tf_weights/mnistcls/graph.json"
NETS, ACTIVATIONS = "nets/mnistcls", "activations/mnistcls.npz"
CHECKPOINT = "checkpoints/mnistcls.keras"
STEP_1, STEP_3 = r"python train\.py mnistcls", r"tf_predict\.py \(step 3\)"
STEP_4, STEP_5 = r"save_weights\.py \(step 4\)", r"build_caffe\.py( \(step 5\))? makes it"
OPENCV = ("--runtime", "opencv")


def refused(folder, script, *arguments, **environment):
    """The one line in which the script refuses; what was in the folder has not changed."""
    before = contents(folder)
    runner = run_warm if script in ("build_caffe.py", "caffe_predict.py") else run
    line = complaint(runner(script, "--dir", folder, *arguments, **environment), script)
    assert contents(folder) == before
    return line


def removed(path):
    def spoil(folder):
        if (folder / path).is_dir():
            shutil.rmtree(folder / path)
        else:
            (folder / path).unlink()

    return spoil


def cut(path, part=0.5):
    """Only the first part of the file is left."""

    def spoil(folder):
        content = (folder / path).read_bytes()
        (folder / path).write_bytes(content[: int(len(content) * part)])

    return spoil


def flipped(path, part):
    """One bit of the file is another one."""

    def spoil(folder):
        content = bytearray((folder / path).read_bytes())
        content[int(len(content) * part)] ^= 4
        (folder / path).write_bytes(content)

    return spoil


def written(path, content):
    def spoil(folder):
        (folder / path).write_bytes(content)

    return spoil


def replaced(path, old, new):
    def spoil(folder):
        text = (folder / path).read_text()
        assert old in text
        (folder / path).write_text(text.replace(old, new))

    return spoil


def saved(name, change):
    """One of step 4's arrays is another one."""

    def spoil(folder):
        path = folder / WEIGHTS / f"{name}.npy"
        np.save(path, change(np.load(path)))

    return spoil


def pickled(folder):
    (folder / WEIGHTS / "bn01-beta.npy").write_bytes(pickle.dumps(np.zeros(16, np.float32)))


def several(folder):
    """Everything that can be wrong with weights, in one folder."""
    removed(f"{WEIGHTS}/bn02-gamma.npy")(folder)
    cut(f"{WEIGHTS}/bn02-beta.npy")(folder)
    saved("dense01-kernel", np.transpose)(folder)
    saved("conv02-kernel", lambda a: np.where(a == a.max(), np.inf, a))(folder)
    saved("dense02-bias", np.float64)(folder)
    pickled(folder)
    np.save(folder / WEIGHTS / "mine.npy", np.zeros(3))


# what is wrong, the script that must find it, with which arguments, and what it must say
BAD = {
    "no checkpoint for step 2": (
        removed(CHECKPOINT), "estimator_predict.py", [], f"{CHECKPOINT}: no checkpoint.*{STEP_1}",
    ),
    "no checkpoint for step 3": (
        removed(CHECKPOINT), "tf_predict.py", [], f"{CHECKPOINT}: no checkpoint yet.*{STEP_1}",
    ),
    "no checkpoint for step 4": (
        removed(CHECKPOINT), "save_weights.py", [], f"{CHECKPOINT}: no checkpoint yet.*{STEP_1}",
    ),
    "checkpoint cut short, step 2": (
        cut(CHECKPOINT), "estimator_predict.py", [], f"{CHECKPOINT}: .*damaged.*{STEP_1}",
    ),
    "checkpoint cut short, step 3": (
        cut(CHECKPOINT), "tf_predict.py", [], f"{CHECKPOINT}: .*damaged.*{STEP_1}",
    ),
    "checkpoint with a wrong bit, step 3": (
        flipped(CHECKPOINT, 0.4), "tf_predict.py", [], f"{CHECKPOINT}: .*checksum.*{STEP_1}",
    ),
    "checkpoint with a wrong bit, step 4": (
        flipped(CHECKPOINT, 0.8), "save_weights.py", [], f"{CHECKPOINT}: .*checksum.*{STEP_1}",
    ),
    "unknown model, step 1": (None, "train.py", ["vgg"], "unknown model 'vgg'.*mnistcls"),
    "unknown model, step 2": (None, "estimator_predict.py", ["vgg"], "'vgg'.*mnistcls"),
    "unknown model, step 3": (None, "tf_predict.py", ["vgg"], "unknown model 'vgg'.*mnistcls"),
    "unknown model, step 4": (None, "save_weights.py", ["vgg"], "unknown model 'vgg'.*mnistcls"),
    "unknown model, step 5": (None, "build_caffe.py", ["vgg"], f"vgg/graph.json does .*{STEP_4}"),
    "unknown model, step 6": (None, "caffe_predict.py", ["vgg"], f"vgg.blobs.json do.*{STEP_5}"),
    "not an image": (
        written("imgs/test/mnistcls/img4.png", b"GIF, truly"), "estimator_predict.py", [],
        "img4.png: not an image",
    ),
    "no graph": (removed(GRAPH), "build_caffe.py", [], f"{GRAPH} does not exist; run {STEP_4}"),
    "no weights at all": (removed(WEIGHTS), "build_caffe.py", [], f"{GRAPH} does not.*{STEP_4}"),
    "graph cut short": (cut(GRAPH), "build_caffe.py", [], f"{GRAPH} is damaged.*{STEP_4}"),
    "empty graph": (cut(GRAPH, 0), "build_caffe.py", [], f"{GRAPH} is damaged.*{STEP_4}"),
    "graph that is not text": (
        written(GRAPH, b"\xff\xfe\x00"), "build_caffe.py", [], f"{GRAPH} is damaged.*{STEP_4}",
    ),
    "graph too deep": (
        written(GRAPH, b"[" * 100_000), "build_caffe.py", [], f"{GRAPH} is damaged.*{STEP_4}",
    ),
    "reference to an op that is not there": (
        replaced(GRAPH, '"inputs": ["relu1/Relu"]', '"inputs": ["relu9"]'), "build_caffe.py", [],
        f"{GRAPH} is damaged.*pool1/MaxPool.*relu9.*{STEP_4}",
    ),
    "weight file elsewhere": (
        replaced(GRAPH, "bn01-beta.npy", "../bn01-beta.npy"), "build_caffe.py", [],
        rf"{GRAPH} is damaged.*'\.\./bn01-beta\.npy'.*{STEP_4}",
    ),
    "setting gone": (
        replaced(GRAPH, '"epsilon"', '"upsilon"'), "build_caffe.py", [],
        f"graph.json.*bn1/FusedBatchNorm.*epsilon.*{STEP_4}",
    ),
    "setting of the wrong type": (
        replaced(GRAPH, '"strides": [1, 1, 1, 1]', '"strides": 1'), "build_caffe.py", [],
        f"graph.json.*conv1/Conv2D.*{STEP_4}",
    ),
    "weight missing": (
        removed(f"{WEIGHTS}/conv01-kernel.npy"), "build_caffe.py", [],
        f"{WEIGHTS}: missing: conv01-kernel.npy; run {STEP_4}",
    ),
    "weight misshapen": (
        saved("dense01-kernel", np.transpose), "build_caffe.py", [],
        rf"misshapen: dense01-kernel.npy is \(1568, 512\), not \(512, 1568\); run {STEP_4}",
    ),
    "weight surplus": (
        lambda folder: np.save(folder / WEIGHTS / "mine.npy", np.zeros(3)), "build_caffe.py", [],
        f"{WEIGHTS}: surplus: mine.npy; run {STEP_4}",
    ),
    "weight not finite": (
        saved("bn02-beta", lambda a: a * np.nan), "build_caffe.py", [],
        f"bn02-beta.npy holds NaN or infinity; run {STEP_4}",
    ),
    "weight not float32": (
        saved("bn02-beta", np.float16), "build_caffe.py", [],
        f"bn02-beta.npy is not an array of float32; run {STEP_4}",
    ),
    "weight of objects": (
        saved("bn02-beta", lambda a: a.astype(object)), "build_caffe.py", [],
        f"bn02-beta.npy is not .*; run {STEP_4}",
    ),
    "weight cut short": (
        cut(f"{WEIGHTS}/dense01-kernel.npy", 0.9), "build_caffe.py", [],
        rf"dense01-kernel.npy is not a whole \.npy file.*; run {STEP_4}",
    ),
    "weight cut to its header": (
        cut(f"{WEIGHTS}/dense01-kernel.npy", 1e-5), "build_caffe.py", [],
        rf"dense01-kernel.npy is not a whole \.npy file.*; run {STEP_4}",
    ),
    "empty weight": (
        cut(f"{WEIGHTS}/bn01-beta.npy", 0), "build_caffe.py", [],
        rf"bn01-beta.npy is not a whole \.npy file.*; run {STEP_4}",
    ),
    "weight pickled": (
        pickled, "build_caffe.py", [], rf"bn01-beta.npy is not a whole \.npy file.*; run {STEP_4}",
    ),
    "weight zipped": (
        written(f"{WEIGHTS}/bn01-beta.npy", b"PK\3\4 or not"), "build_caffe.py", [],
        rf"bn01-beta.npy is not a whole \.npy file.*; run {STEP_4}",
    ),
    "weights wrong in all ways": (
        several, "build_caffe.py", [],
        r"(?=.*missing: bn02-gamma.npy)(?=.*surplus: mine.npy)(?=.*misshapen: dense01-kernel.npy)"
        r"(?=.*conv02-kernel.npy holds NaN or infinity)(?=.*dense02-bias.npy is not an array of fl)"
        r"(?=.*bn02-beta.npy is not a whole)(?=.*bn01-beta.npy is not a whole)",
    ),
    "no nets": (
        removed("nets"), "caffe_predict.py", OPENCV, f"{NETS}.blobs.json does not exist; {STEP_5}",
    ),
    "no prototxt": (
        removed(f"{NETS}.prototxt"), "caffe_predict.py", OPENCV, f"{NETS}.prototxt.*{STEP_5}",
    ),
    "no caffemodel": (
        removed(f"{NETS}.caffemodel"), "caffe_predict.py", OPENCV, f"{NETS}.caffemodel.*{STEP_5}",
    ),
    "table of blobs cut short": (
        cut(f"{NETS}.blobs.json"), "caffe_predict.py", OPENCV, f"{NETS}.blobs.json is d.*{STEP_5}",
    ),
    "no activations": (
        removed(ACTIVATIONS), "caffe_predict.py", OPENCV, f"{ACTIVATIONS} does not .*{STEP_3}",
    ),
    "activations cut short": (
        cut(ACTIVATIONS), "caffe_predict.py", OPENCV, f"{ACTIVATIONS}: .*damaged.*{STEP_3}",
    ),
    "activations with a wrong bit": (
        flipped(ACTIVATIONS, 0.5), "caffe_predict.py", OPENCV,
        f"{ACTIVATIONS}: .*wrong checksum.*{STEP_3}",
    ),
    "a Python without caffe": (
        None, "caffe_predict.py", ["--caffe-python", sys.executable],
        f"{re.escape(sys.executable)}: has no caffe .*; make pycaffe sets one up",
    ),
    "a Python that is not there": (
        None, "caffe_predict.py", ["--caffe-python", "/nowhere/python"],
        "/nowhere/python: No such file or directory",
    ),
    "--caffe-python for OpenCV": (
        None, "caffe_predict.py", [*OPENCV, "--caffe-python", sys.executable], "contradict",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(work, name):
    spoil, script, arguments, told = BAD[name]
    shutil.copytree(PROJECT / "imgs/test", work / "imgs/test")
    if spoil:
        spoil(work)
    line = refused(work, script, *arguments)
    assert re.search(told, line), line


def test_op_that_caffe_does_not_have(work):
    replaced(GRAPH, '"op": "MaxPool"', '"op": "Foo"')(work)
    before = contents(work)
    ended = run_warm("build_caffe.py", "--dir", work)
    assert ended.status == 1 and "Traceback" not in ended.err
    assert re.search(r"pool1/MaxPool \(Foo\): .*pool2/MaxPool \(Foo\): ", ended.err, re.DOTALL)
    assert contents(work) == before


def test_images_that_must_be_fitted(work):
    """In another size and in colour: fitted, and it is said."""
    images = work / "imgs/test/mnistcls"
    shutil.copytree(PROJECT / "imgs/test/mnistcls", images)
    with Image.open(images / "img7.png") as image:
        red = Image.merge("RGB", (image, image.point(lambda v: v // 2), image))
        red.resize((56, 30)).save(images / "img7.png")
    ended = run("tf_predict.py", "--dir", work)
    assert (ended.status, ended.err) == (0, "")
    assert "img7.png: 56x30, resized to 28x28" in ended.out
    assert "img7.png: in colour, converted to grey" in ended.out
    with np.load(work / ACTIVATIONS) as kept:
        assert kept["input:data"].shape == (10, 28, 28, 1)


PROTOTXT = {
    "unknown type": ('type: "Convolution"', 'type: "Convulsion"', "(?=.*conv01).*Convulsion"),
    "syntax error": ("kernel_size: 3 }", "kernel_size: 3", "not a Caffe prototxt: "),
    "unknown bottom": ('bottom: "relu01"', 'bottom: "relu"', "bottom.*'relu'|blob \"relu\""),
}


@pytest.mark.parametrize("name", PROTOTXT)
def test_prototxt_that_caffe_rejects(work, runtime, name):
    old, new, told = PROTOTXT[name]
    replaced(f"{NETS}.prototxt", old, new)(work)
    line = refused(work, "caffe_predict.py", "--runtime", runtime.name)
    assert re.search(rf"{NETS}\.prototxt.*({told})", line), line


def test_caffemodel_cut_short(work, runtime):
    cut(f"{NETS}.caffemodel")(work)
    line = refused(work, "caffe_predict.py", "--runtime", runtime.name)
    assert re.search(rf"{NETS}\.caffemodel: damaged", line), line


BY_HAND = {
    **PROTOTXT,
    "convolution of nothing": (
        'bottom: "input/bias"', 'bottom: "nothing"', "layer conv01: .*bottom 'nothing'",
    ),
    "no bottom": ('  bottom: "input/bias"\n', "", r"layer conv01 \(Convolution\): its settings"),
    "group 0": ("pad: 1", "pad: 1 group: 0", r"layer conv01 \(Convolution\): its settings"),
    "kernel beyond the image": (
        "kernel_size: 3", "kernel_size: 33", r"layer conv01 .*\(1, 16, -2, -2\)",
    ),
    "weights misshapen": (
        "num_output: 32", "num_output: 30",
        r"misshapen: conv02-kernel \(32, 16, 3, 3\), not \(30, 16, 3, 3\).*misshapen: bn02-gamma",
    ),
    "weights missing and surplus": (
        'name: "dense01"', 'name: "fc"',
        r"missing: fc-kernel \(512, 1568\); missing: fc-bias \(512,\); surplus: dense01-kernel; "
        "surplus: dense01-bias",
    ),
    "no such input": ('"data"', '"image"', "has no input called data"),
    "only the old form": ("layer {", "layers {", "has no `layer` blocks"),
    "not UTF-8": ("name:", "# \udcff\nname:", "not a Caffe prototxt: not UTF-8 text"),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
def test_network_written_by_hand(work, tmp_path, name):
    old, new, told = BY_HAND[name]
    text = (work / f"{NETS}.prototxt").read_text()
    assert old in text
    own = tmp_path / "own.prototxt"
    own.write_text(text.replace(old, new), errors="surrogateescape")
    line = refused(work, "build_caffe.py", "--prototxt", own)
    assert re.search(f"^{own}.*({told})", line), line


def test_network_written_by_hand_that_is_not_there(work, tmp_path):
    line = refused(work, "build_caffe.py", "--prototxt", tmp_path / "own.prototxt")
    assert line == f"{tmp_path}/own.prototxt does not exist"
    assert str(tmp_path) in refused(work, "build_caffe.py", "--prototxt", tmp_path)


def places(record, path=()):
    """The path to everything that there is in a JSON record."""
    yield path
    items = record.items() if isinstance(record, dict) else enumerate(record)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))
        else:
            yield (*path, key)


def damaged(text, seed):
    """Copies of a JSON text, in each of which one value is another one, or gone."""
    random = np.random.default_rng(seed)
    wrong = [None, "x", -1, 0, 1.5, True, 10**30, [], {}, [None], math.nan]
    for path in places(json.loads(text)):
        record = json.loads(text)
        if not path:
            yield json.dumps(wrong[random.integers(len(wrong))])
            continue
        parent = functools.reduce(lambda found, key: found[key], path[:-1], record)
        choice = random.integers(len(wrong) + 1)
        if choice == len(wrong):
            del parent[path[-1]]
        else:
            parent[path[-1]] = wrong[choice]
        yield json.dumps(record)


def count_refusals(texts, path, use):
    """How many of the texts `use` refuses; it raises nothing but `Failure`."""
    refusals = 0
    for text in texts:
        path.write_text(text)
        try:
            use()
        except Failure:
            refusals += 1
        except Exception as error:
            error.add_note(text)
            raise
    return refusals


@pytest.mark.parametrize("seed", range(2))
def test_damaged_graph(work, seed):
    handoff = Handoff(work, "mnistcls")

    def step_5():
        network = graph.load(handoff.graph)
        graph.load_weights(network, handoff.weights)
        net = mapping.build(network)
        forms.write_all([(handoff, net, net.prototxt(), blobs.Table.of(net))])

    step_5()
    texts = list(damaged(handoff.graph.read_text(), seed))
    refusals = count_refusals(texts, handoff.graph, step_5)
    assert 0.5 * len(texts) < refusals < len(texts)  # some only rename things


@pytest.mark.parametrize("seed", range(2))
def test_damaged_table_of_blobs(work, opencv, seed):
    handoff = Handoff(work, "mnistcls")
    kept = activations.load(handoff.activations)
    for arrays in (kept.inputs, kept.layers):
        arrays |= {name: array[:1] for name, array in arrays.items()}
    del kept.images[1:]

    def step_6():
        table = blobs.load(handoff.blobs)
        parity.prove(opencv, handoff.prototxt, handoff.caffemodel, table, kept)

    step_6()
    texts = list(damaged(handoff.blobs.read_text(), seed))
    refusals = count_refusals(texts, handoff.blobs, step_6)
    assert 0.5 * len(texts) < refusals < len(texts)


STEPS = {
    "tf_predict.py": [],
    "save_weights.py": [],
    "build_caffe.py": [],
    "caffe_predict.py": OPENCV,
}


def all_refuse(folder, steps, told):
    """The steps, run at once, each refuse in one line and change nothing."""
    before = contents(folder)
    commands = [(script, "--dir", folder, *STEPS[script]) for script in steps]
    for script, ended in zip(steps, run_all(*commands), strict=True):
        assert re.search(told, complaint(ended, script)), ended.err
    assert contents(folder) == before


def test_folder_that_cannot_be_written(work):
    with mounted(work, "--bind", "-o", "ro", work):
        all_refuse(work, STEPS, rf"^{work}/.*: Read-only file system; choose a folder .* --dir$")
        line = refused(work, "train.py", "--epochs", 1, "--data", SAMPLE)
        assert re.search(rf"^{work}.*: Read-only file system; .*--dir$", line), line


@pytest.mark.parametrize(
    ("free", "steps"),
    [
        (0, ["build_caffe.py", "caffe_predict.py"]),
        # room for the pictures, not for the weights
        (1_000_000, ["tf_predict.py", "save_weights.py", "build_caffe.py"]),
    ],
)
def test_disk_that_is_full(finished, tmp_path, free, steps):
    with mounted(tmp_path, "-t", "tmpfs", "-o", "size=24m", "tmpfs"):
        folder = tmp_path / "work"
        shutil.copytree(finished.folder, folder)
        with contextlib.suppress(OSError), (tmp_path / "rest").open("wb") as rest:
            while True:
                rest.write(bytes(4096))
                rest.flush()
        os.truncate(tmp_path / "rest", (tmp_path / "rest").stat().st_size - free)
        told = rf"^{folder}/.*: No space left on device; free some space, or choose .* --dir$"
        all_refuse(folder, steps, told)


def test_ctrl_c_before_the_first_epoch_is_over(work):
    before = contents(work)
    process = start("train.py", "--dir", work, "--data", SAMPLE, PYTHONUNBUFFERED="1")
    assert process.stdout.readline().startswith("data: ")
    process.send_signal(signal.SIGINT)
    line = complaint(end(process), "train.py")
    assert "interrupted; " in line
    after = contents(work)
    changed = {path for path in before | after if before.get(path) != after.get(path)}
    assert all(path.startswith("logs/mnistcls/") for path in changed), changed


def test_ctrl_c_while_caffe_runs(work, tmp_path):
    """The runtime, and what it has started, ends with the script."""
    slow = tmp_path / "python"
    slow.write_text('#!/bin/sh\necho $$ >"$0.pid.part"; mv "$0.pid.part" "$0.pid"\nsleep 300\n')
    slow.chmod(0o755)
    before = contents(work)
    process = start("caffe_predict.py", "--dir", work, "--caffe-python", slow)
    while not (pid := tmp_path / "python.pid").exists():
        assert process.poll() is None, end(process)
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert "interrupted" in complaint(end(process), "caffe_predict.py")
    assert contents(work) == before
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # until the killed one is buried
            os.killpg(int(pid.read_text()), 0)
            time.sleep(0.05)
