"""The table of `make mutants` fits the code as it is."""

import pytest

from tests.mutants import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.fault)
def test_text_is_there_once(mutant):
    assert mutant.places() == 1
    assert mutant.right != mutant.wrong


def test_faults_have_names_of_their_own():
    assert len({mutant.fault for mutant in MUTANTS}) == len(MUTANTS) >= 30
