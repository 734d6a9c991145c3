"""Random networks: each equal, or refused for a reason that is true."""

import subprocess
import sys

import numpy as np
import pytest

from tests.fuzz.specs import FORMS, Network, Spec, Step, script
from tests.fuzz.trial import is_true, tried
from tests.pipeline import PROJECT

pytestmark = pytest.mark.slow


def test_random_networks(pycaffe):
    """A hundred, in processes of their own, since TensorFlow itself ends some.

    One that fails is shrunk, and told as a script.
    """
    command = [sys.executable, "-m", "tests.fuzz", "-n", "100", "--seed", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith("100 networks: ")


EVERY_STEP = Spec(
    (((5, 4, 3), "normal"), ((3,), "positive")),
    (
        Step("conv", (0,), {"channels": 2, "kernel": (3, 2), "slide": ((2, 1), (1, 1)),
                            "padding": "SAME", "groups": 1, "bias": "add"}),
        Step("old_norm", (2,), {"epsilon": 1e-3, "beta": True, "gamma": True}),
        Step("again", (2,), {"step": 1}),
        Step("dense", (1,), {"units": 4, "transpose": True, "bias": "bias"}),
        Step("split", (4,), {"where": (3, 2)}),
    ),
)  # fmt: skip


@pytest.mark.parametrize("form", sorted({*FORMS}))
def test_forms(form, pycaffe, opencv):
    """However a network is handed over, it is equal."""
    outcome = tried(Spec(EVERY_STEP.inputs, EVERY_STEP.steps, 3, form))
    assert outcome.kind == "equal", outcome.reasons


def test_script():
    """What is printed of a network makes the same network again."""
    imports, call = script(EVERY_STEP).rsplit("\n\n", 1)
    names = {}
    exec(imports, names)
    again = eval(call.removeprefix("print(told(").removesuffix("))"), names)
    assert again == EVERY_STEP
    for first, second in zip(Network(again).values, Network(EVERY_STEP).values, strict=True):
        np.testing.assert_array_equal(first, second)


def test_refusals_have_a_cause():
    """A refusal counts as true only where the network has what it is about."""
    reason = "pad (Pad): only images and sequences can be padded; join or reshape instead"
    assert is_true(reason, {"transpose", "conv"})
    assert not is_true(reason, {"conv"})
    assert not is_true("y0 (Conv2D): Caffe would make (1, 2) of it", {"transpose"})
