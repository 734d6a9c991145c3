"""Every refusal in the mapping and the layouts is in the list of docs/ops.md, and has a test."""

import re

import pytest

from tests import test_refusals
from tests.refusals import function_trace, refusal
from tools import refusals

MET = {text: case for text, (_, case) in refusals.WHY.items() if case}


def test_the_list_is_whole():
    assert set(refusals.texts()) == set(refusals.WHY)


@pytest.mark.parametrize("text", MET)
def test_a_network_meets_it(text, tmp_path):
    function, shape, _ = test_refusals.REFUSED[MET[text]]
    pattern = ".*".join(map(re.escape, text.split("...")))
    problems = refusal(function_trace(function, shape), tmp_path)
    assert any(re.search(pattern, problem) for problem in problems), problems


def test_every_op_that_is_refused_for_a_reason_of_its_own_is_tested():
    """The reasons of the reader: a case of test_refusals has each."""
    from tf2caffe.frontend import unsupported

    lines = [line for *_, line in test_refusals.REFUSED.values()]
    lines += [line for _, line in test_refusals.GRAPHS.values()]
    untested = {
        why
        for why in unsupported.WHY.values()
        if not any(_meets(line, why) for line in lines) and why not in RARE
    }
    assert not untested


def _meets(line, why):
    """Whether a test's pattern, after the op, is one of this reason."""
    return bool(re.search(line.rpartition("): ")[2], why))


# Reasons that no network of TensorFlow 2 shows.
RARE = ()
