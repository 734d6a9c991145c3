"""The table of `make mutants` fits the code as it is."""

import ast

import pytest

from tests.mutants import MUTANTS, parsed


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.fault)
def test_fault_has_one_place(mutant):
    places = mutant.places()
    assert len(places) == 1, f"{mutant.right} stands {len(places)} times in {mutant.inside}"
    before = ast.dump(ast.parse(places[0].path.read_bytes()))
    assert ast.dump(ast.parse(places[0].planted(mutant.wrong))) != before


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.fault)
def test_right_and_wrong_are_of_one_kind(mutant):
    kinds = {isinstance(parsed(text), ast.expr) for text in (mutant.right, mutant.wrong)}
    assert len(kinds) == 1


def test_faults_have_names_of_their_own():
    assert len({mutant.fault for mutant in MUTANTS}) == len(MUTANTS) >= 30
