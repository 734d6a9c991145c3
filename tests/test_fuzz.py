"""Random networks: each equal, or refused for a reason that is true."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.fuzz.specs import FEW, FORMS, Network, Spec, Step, script, specs
from tests.fuzz.trial import is_true, tried

CALM = settings(
    max_examples=FEW, database=None, deadline=None, print_blob=False,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("number", range(300 // FEW))
def test_random_networks(number, pycaffe, opencv):
    """Three hundred in all; one that fails is shrunk, and told as a script."""

    @seed(number)
    @CALM
    @given(specs())
    def check(spec):
        outcome = tried(spec)
        assert outcome.kind != "bug", "\n".join([*outcome.reasons, script(spec)])

    check()


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
    reason = "conv (Conv2D): its input's elements are in another order in Caffe, which has no layer"
    reason += " to transpose them; move the Permute or Reshape before it"
    assert is_true(reason, {"transpose", "conv"})
    assert not is_true(reason, {"conv"})
    assert not is_true("y0 (Conv2D): Caffe would make (1, 2) of it", {"transpose"})
