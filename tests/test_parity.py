"""What the proof lets pass: each layer alone within the tolerance, and what it inherits."""

import numpy as np
import pytest

from tf2caffe import parity

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
def test_the_first_layer_that_strays_is_told(fault):
    found, why = parity.first_stray([RIGHT, STRAYS[fault], row("later", 1, 1)], TOLERANCE)
    assert found is STRAYS[fault] and "allowed" in why


def test_what_deep_layers_inherit_is_allowed():
    deep = row("deep", 1e-5 * (40 - parity.SHALLOW), 1e-6, 40)
    assert parity.first_stray([RIGHT, deep], TOLERANCE) == (None, None)
