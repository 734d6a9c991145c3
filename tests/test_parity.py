"""What the proof lets pass: each layer alone within the tolerance, and what it inherits."""

import numpy as np
import pytest

from tf2caffe.caffe.blobs import Op
from tf2caffe.proof import errors, parity

TOLERANCE = 1e-5


def row(name, error, own, depth=1):
    return parity.Row(name, name, np.ones((1, 3)), np.ones((1, 3)), error, own, depth)


RIGHT = row("right", 1e-6, 1e-6)
STRAYS = {
    "alone": row("stray", 1e-6, 2e-5),
    "from the input on": row("stray", 2e-5, 1e-6),
    "deeper than is allowed": row("stray", 1e-5 * (40 - parity.SHALLOW + 2), 1e-6, 40),
    "alone, however deep": row("stray", 1e-6, 2e-5, 40),
    "not finite": row("stray", np.inf, np.inf),
    "not a number": row("stray", np.nan, np.nan),
}


@pytest.mark.parametrize("fault", STRAYS)
def test_the_first_layer_that_differs_is_told(fault):
    found, why = parity.first_stray([RIGHT, STRAYS[fault], row("later", 1, 1)], TOLERANCE)
    assert found is STRAYS[fault] and "allowed" in why


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["TensorFlow", "Caffe", "both"])
def test_a_number_that_is_not_finite_is_infinitely_wrong(wrong, side):
    right, spoilt = np.ones((2, 3)), np.ones((2, 3))
    spoilt[1, 1] = wrong
    pair = {"TensorFlow": (spoilt, right), "Caffe": (right, spoilt), "both": (spoilt, spoilt)}
    assert errors.relative_error(*pair[side]) == np.inf
    assert errors.by_channel(*pair[side], floor=1)[0] == np.inf


def test_what_deep_layers_inherit_is_allowed():
    deep = row("deep", 1e-5 * (40 - parity.SHALLOW), 1e-6, 40)
    assert parity.first_stray([RIGHT, deep], TOLERANCE) == (None, None)


TENSORS = {
    "x": np.full((1, 32), 32.0),
    "small": np.full((1, 32), 1e-3),
    "zero": np.zeros((1, 32)),
    "one": np.ones((1, 1)),
    "half": np.full((1, 32), 0.5),
}
# op type, its inputs, its output -> what the output's errors are measured by
MEASURES = {
    "a sum of which much is left": ("Sub", ["x", "small"], "x", 32),
    "a sum of which little is left": ("Sub", ["x", "x"], "half", 2),
    "a sum of which nothing is left": ("Sub", ["x", "x"], "zero", 2),
    "a mean": ("Mean", ["x"], "zero", 2),
    "all terms of a sum": ("Sum", ["x"], "one", 64),
    "a square": ("SquaredDifference", ["x", "x"], "one", 4),
    "not a sum": ("Mul", ["x", "x"], "half", 0.5),
}


@pytest.mark.parametrize("case", MEASURES)
def test_what_is_left_of_a_sum_is_measured_by_its_terms(case):
    kind, reads, result, wanted = MEASURES[case]
    alone, whole = errors.scales([Op("y", kind, reads)], TENSORS | {"y": TENSORS[result]})
    assert alone["y"] == pytest.approx(wanted, 1e-4) and whole["y"] == alone["y"]


# op type, what it gives of a remainder of 0.5 that is measured by 2 -> by what, from the input on
INHERITED = {
    "in proportion": ("Mul", ["left", "x"], "x", 128),
    "not beside other tensors": ("ConcatV2", ["left", "x"], "x", 32),
    "beside nothing": ("ConcatV2", ["left", "small"], "half", 2),
    "added to what is larger": ("AddV2", ["left", "x"], "x", 32),
}


@pytest.mark.parametrize("case", INHERITED)
def test_what_is_made_of_a_remainder_is_measured_in_proportion(case):
    kind, reads, result, wanted = INHERITED[case]
    tensors = TENSORS | {"left": TENSORS["half"], "y": TENSORS[result]}
    alone, whole = errors.scales([Op("left", "Sub", ["x", "x"]), Op("y", kind, reads)], tensors)
    assert whole["y"] == pytest.approx(wanted) and alone["y"] == errors.largest(tensors["y"])


def test_what_is_made_of_nothing():
    """A remainder of 0 has no proportion."""
    tensors = TENSORS | {"left": TENSORS["zero"], "y": TENSORS["zero"]}
    ops = [Op("left", "Sub", ["x", "x"]), Op("y", "Relu", ["left"])]
    alone, whole = errors.scales(ops, tensors)
    assert (alone["y"], whole["y"]) == (0, 2)
