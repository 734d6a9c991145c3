"""parity.json: each field is in docs/proof.md, and what it says is what the proof found."""

import hashlib
import json
import re

import keras
import numpy as np
import pytest
from keras import layers

import tf2caffe
from tests.harness import randomise
from tests.pipeline import PROJECT
from tf2caffe.caffe import schema
from tf2caffe.proof import record


@pytest.fixture(scope="module")
def proven(tmp_path_factory, opencv):
    """A small network in both forms: (where its files are, both records)."""
    folder = tmp_path_factory.mktemp("record")
    data = keras.Input((9, 7, 3), name="data")
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(data)
    x = layers.ReLU(6, name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Dense(5, name="dense")(layers.Flatten(name="flat")(x))
    model = randomise(keras.Model(data, x, name="small"))
    model.save(folder / "small.keras")
    given = {"folder": folder, "deploy": True, "target": "rknn"}
    converted = tf2caffe.convert(folder / "small.keras", **given)
    images = np.random.default_rng(1).normal(size=(3, 9, 7, 3))
    tf2caffe.prove(converted, data=images, runtime=opencv)
    tf2caffe.prove("small", folder=folder, deploy=True, runtime=opencv)
    paths = (folder / "nets" / f"small{form}.parity.json" for form in ("", ".deploy"))
    return folder, [json.loads(path.read_text()) for path in paths]


def keys(record):
    """Every key of a record, at any depth, but for what layers are called."""
    if isinstance(record, list):
        return set().union(*map(keys, record))
    if not isinstance(record, dict):
        return set()
    within = (value for key, value in record.items() if key not in ("not_reached", "versions"))
    return record.keys() | set().union(*map(keys, within))


def test_each_field_is_documented(proven):
    text = (PROJECT / "docs/proof.md").read_text(encoding="utf-8").partition("## parity.json")[2]
    documented = {*re.findall(r"`(\w+)`", text)}
    for found in proven[1]:
        assert keys(found) <= documented and found["schema"] == record.SCHEMA
    assert f"`schema` is {record.SCHEMA}." in text


def test_hashes_and_versions(proven):
    folder, records = proven
    model = hashlib.sha256((folder / "small.keras").read_bytes()).hexdigest()
    for found, form in zip(records, ("inspectable", "deploy"), strict=True):
        assert found["model"]["file"] == "small.keras" and found["model"]["sha256"] == model
        assert found["network"] == {"name": "small", "form": form, "target": "rknn"}
        for file in found["files"]:
            content = (folder / "nets" / file["file"]).read_bytes()
            assert file["sha256"] == hashlib.sha256(content).hexdigest()
            assert file["bytes"] == len(content)
        assert found["versions"]["tf2caffe"] == tf2caffe.__version__
        assert found["versions"].keys() >= {"python", "numpy", "tensorflow", "keras"}


def test_counts_and_limits(proven):
    folder, records = proven
    for found in records:
        assert found["verdict"] == "equal" and found["reason"] is None
        counts = found["counts"]
        assert counts["compared"] == counts["passed"] == len(found["layers"])
        assert counts["images"] == len(found["images"]) == len(found["answers"]) == 3
        prototxt = schema.load(folder / "nets" / found["files"][0]["file"])
        assert counts["caffe_layers"] == len(prototxt.layer)
        assert found["numbers"]["reached"] == found["numbers"]["in_caffemodel"] > 0
        for layer in found["layers"]:
            assert layer["pass"] and layer["error"] <= layer["error_limit"]
            assert layer["own_error"] <= layer["limit"] and layer["depth"] >= 1
        (data,) = found["inputs"]
        assert (data["shape"], data["tensorflow_shape"]) == ([1, 3, 9, 7], [1, 9, 7, 3])
        assert data["order"] == "NCHW"
    assert records[1]["on_probes_alone"] and not records[0]["on_probes_alone"]


def test_what_fails_is_told(proven, opencv):
    folder, _ = proven
    verdict = tf2caffe.prove("small", folder=folder, tolerance=1e-12, runtime=opencv)
    found = record.of(verdict)
    assert found["verdict"] == "not equal" and found["reason"] == verdict.why
    failed = [layer for layer in found["layers"] if not layer["pass"]]
    assert failed and failed[0]["tensorflow"] in found["reason"] and failed[0]["reason"]
    assert found["counts"]["passed"] == len(found["layers"]) - len(failed)
