"""The pages on targets: one is as its generator prints it, the code of the other works."""

import re
from pathlib import Path

import keras
import pytest
from keras import layers, ops

from tests.harness import randomise
from tests.test_deploy import Deployed, strays
from tf2caffe.caffe import lowering, targets
from tools import docs_targets

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_page_of_the_targets():
    assert (DOCS / "targets.md").read_text(encoding="utf-8") == docs_targets.page(), (
        "python -m tools.docs_targets > docs/targets.md"
    )


@pytest.fixture
def added(monkeypatch):
    """The target that docs/add-a-target.md adds, by the code of that page."""
    page = (DOCS / "add-a-target.md").read_text(encoding="utf-8")
    source, target, quantity, function = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for table, entry in (
        (targets.SOURCES, source), (targets.TARGETS, target), (targets.QUANTITIES, quantity)
    ):  # fmt: skip
        for key, value in eval(f"{{{entry}}}", vars(targets)).items():
            monkeypatch.setitem(table, key, value)
    known = {**vars(lowering), "REWRITES": {}}
    exec(function, known)
    for key, functions in known["REWRITES"].items():
        monkeypatch.setitem(lowering.REWRITES, key, functions)


def test_how_to_add_a_target(added, runtime, tmp_path):
    data = keras.Input((9, 11, 6), name="data")
    x = ops.abs(layers.Conv2D(5, 3, strides=2, use_bias=False)(data))
    model = randomise(keras.Model(data, layers.Subtract()([x, layers.ReLU()(x)])))
    deployed = Deployed(model, tmp_path, target="k210")
    targets.check(deployed.net, "k210")
    kinds = "Input Convolution ReLU Scale ReLU Eltwise ReLU Eltwise"
    assert " ".join(layer.type for layer in deployed.net.layers) == kinds
    assert strays(deployed.rows(runtime)) == []


def test_what_the_added_target_refuses(added, tmp_path):
    data = keras.Input((9, 11, 6), name="data")
    model = randomise(keras.Model(data, layers.Conv2D(5, 3, activation="sigmoid")(data)))
    deployed = Deployed(model, tmp_path, target="k210")
    with pytest.raises(targets.Failure, match=r"\(Sigmoid\): it has no such layer \(nncase\)"):
        targets.check(deployed.net, "k210")
