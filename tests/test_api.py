"""convert() and prove(): the example of docs/api.md, and what they take and refuse."""

import contextlib
import io
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import tf2caffe
from tests.pipeline import PROJECT, contents
from tf2caffe.caffe import forms

ERROR = re.compile(r"worst: [^)]*")  # what may differ between processors


def model(name="small"):
    data = keras.Input((5, 7, 2), name="data")
    x = layers.Conv2D(3, 3, activation="relu", name="conv")(data)
    return keras.Model(data, layers.Dense(4, name="dense")(layers.Flatten()(x)), name=name)


def test_the_example_prints_what_it_says(tmp_path, monkeypatch):
    text = (PROJECT / "docs" / "api.md").read_text(encoding="utf-8")
    program = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    said = re.search(r"It prints\n\n```text\n(.*?)```", text, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(program, "docs/api.md", "exec"), {})
    assert ERROR.sub("E", out.getvalue()) == ERROR.sub("E", said)


def test_a_model_in_memory_and_its_file_give_the_same(tmp_path):
    small = model()
    small.save(tmp_path / "small.keras")
    for folder, given in (("memory", small), ("file", tmp_path / "small.keras")):
        tf2caffe.convert(given, folder=tmp_path / folder, deploy=True)
    found = [contents(tmp_path / folder / "nets") for folder in ("memory", "file")]
    for one in found:  # they hold the checksum of the model, in memory another than the file's
        assert one.pop("small.blobs.json") and one.pop("small.deploy.blobs.json")
        assert one.pop("small.prototxt") and one.pop("small.deploy.prototxt")
    assert found[0] == found[1] and len(found[0]) == 2
    for form in ("small", "small.deploy"):
        texts = [
            (tmp_path / f"{where}/nets/{form}.prototxt").read_text() for where in ("memory", "file")
        ]
        assert all(text.startswith("# made by tf2caffe ") for text in texts)
        first, second = (
            [line for line in text.splitlines() if line[:8] != "# model:"] for text in texts
        )
        assert first == second


def test_proof_of_another_state_is_refused(tmp_path):
    """What lies in activations/ belongs to the weights of that time."""
    first, second = model(), model()
    tf2caffe.prove(tf2caffe.convert(first, folder=tmp_path), runtime="opencv")
    tf2caffe.convert(second, folder=tmp_path)
    with pytest.raises(tf2caffe.Failure, match="two different states of the model"):
        tf2caffe.prove("small", folder=tmp_path, runtime="opencv")


def test_a_fault_is_not_equal(tmp_path, opencv):
    converted = tf2caffe.convert(model(), folder=tmp_path)
    assert tf2caffe.prove(converted, runtime=opencv).equal
    (weight, *_) = sorted(converted.handoff.weights.glob("conv-*.npy"))
    np.save(weight, np.load(weight) * np.float32(1.001) + np.float32(0.001))
    built = forms.build(converted.handoff)
    forms.write_all(built.forms)
    verdict = tf2caffe.prove(converted.handoff.name, folder=tmp_path, runtime=opencv)
    assert not verdict.equal and verdict.why.startswith("conv/Conv2D (Caffe: conv")
    assert str(verdict) == f"NOT EQUAL: {verdict.why}"
    assert opencv.process.poll() is None  # who started it closes it


def test_inputs_are_arrays_or_files(tmp_path, opencv):
    converted = tf2caffe.convert(model(), folder=tmp_path)
    array = np.random.default_rng(1).normal(size=(3, 5, 7, 2))
    np.save(tmp_path / "x.npy", array)
    for data in (array, {"data": array}, tmp_path / "x.npy", os.fspath(tmp_path / "x.npy")):
        verdict = tf2caffe.prove(converted, data=data, runtime=opencv)
        assert verdict.equal and [len(row.tf) for row in verdict.rows][0] == 3
    for data, told in ((array[0], r"not \(N, 5, 7, 2\)"), ({"x": array}, "the inputs are")):
        with pytest.raises(tf2caffe.Failure, match=told):
            tf2caffe.prove(converted, data=data, runtime=opencv)


@pytest.mark.parametrize(
    "options, told",
    [
        ({"target": "no-chip"}, "--target no-chip: the known ones are portable"),
        ({"output_order": "up"}, "--output-order up"),
        ({"inputs": ["a"]}, "--inputs a: nothing is called so"),
        ({"custom": "a.py"}, "--custom does nothing here"),
        ({"shape": [1, 9, 9, 9]}, "--shape 1,9,9,9"),
    ],
)
def test_options_that_cannot_be_meant(options, told, tmp_path):
    with pytest.raises(tf2caffe.Failure, match=told):
        tf2caffe.convert(model(), folder=tmp_path, **options)
    assert contents(tmp_path) == {}


def test_what_is_no_model():
    with pytest.raises(TypeError, match="a path or a Keras model, not int"):
        tf2caffe.convert(3)


def test_input_of_a_name_is_on_disk(tmp_path):
    with pytest.raises(tf2caffe.Failure, match="--bgr does nothing here: small is a name"):
        tf2caffe.prove("small", folder=tmp_path, bgr=True)


def test_the_command_is_short_and_its_status_the_proof(tmp_path):
    model().save(tmp_path / "small.keras")
    command = [sys.executable, "-m", "tf2caffe", tmp_path / "small.keras", "--out", tmp_path]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}

    def run(*options):
        arguments = [*map(str, command), *options]
        return subprocess.run(arguments, capture_output=True, text=True, env=environment)

    ended = run("--deploy", "--runtime", "opencv")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(ended.stdout.splitlines()) < 40 and ended.stdout.count("\nEQUAL: ") == 2
    strict = run("--tolerance", "1e-12", "--runtime", "opencv", "-v")
    assert strict.returncode == 1 and "\nNOT EQUAL: " in strict.stdout
    assert "own error" in strict.stdout
    before = contents(tmp_path)
    for options in (
        ["--layers", "a"],
        ["--labels", "no.txt"],
        ["--runtime", "opencv", "--caffe-python", "x"],
        ["--mean", "1"],
    ):
        refused = run(*options)
        assert refused.returncode == 1 and refused.stderr.startswith("tf2caffe: ")
        assert refused.stderr.count("\n") == 1 and contents(tmp_path) == before
