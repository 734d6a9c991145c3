"""The pages of docs/ that the code knows are as the code is."""

import pytest

from tools import docs


@pytest.mark.parametrize("name", docs.PAGES)
def test_a_page_is_as_the_code_is(name):
    written = (docs.DOCS / name).read_text(encoding="utf-8")
    assert written == docs.PAGES[name](), "run python -m tools.docs"


def test_a_refusal_is_of_the_op_that_it_concerns():
    of_two = "Caffe has powers of a constant only; of x > 0, build exp(y * log(x))"
    assert of_two in docs.refusals("Pow") and of_two not in docs.refusals("Add")
    assert not docs.refusals("Relu")
