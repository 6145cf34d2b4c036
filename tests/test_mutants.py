"""The tests notice bugs: with each bug of the registry the quick check fails, and without them it passes."""

import pytest
from mutants import EQUIVALENT, MUTANTS, switched_on
from quick_check import CHECKS, find_killer


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_code_as_it_is_passes(check):
    check.run()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_is_killed(mutant):
    with switched_on(mutant):
        killer = find_killer(mutant.file)
    assert killer is not None, f"{mutant.name} survived"
    assert mutant.file in killer.files, f"{mutant.name} was caught by {killer.name}, which is not about this file"


@pytest.mark.parametrize("mutant", EQUIVALENT, ids=lambda mutant: mutant.name)
def test_an_equivalent_change_is_not_killed(mutant):
    with switched_on(mutant):
        assert find_killer(mutant.file) is None


def test_the_registry_is_large_and_its_names_are_different():
    assert len(MUTANTS) >= 300 and len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_the_package_is_itself_again_afterwards():
    import minigpt.models.gpt2

    before = minigpt.models.gpt2
    with switched_on(MUTANTS[0]):
        import minigpt.attention as mutated

        assert mutated is not before
    import minigpt.models.gpt2 as after

    assert after is before


@pytest.mark.parametrize("mutant", [*MUTANTS, *EQUIVALENT], ids=lambda mutant: mutant.name)
def test_a_mutant_changes_code_that_exists(mutant):
    source = mutant.path.read_text(encoding="utf-8")
    assert mutant.apply(source) != source
