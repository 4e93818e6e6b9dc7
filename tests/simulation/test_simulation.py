"""Thousands of histories of the production workers in virtual time; a mutant for every promise they rest on."""

from collections.abc import Iterator

import pytest

from simulation.alarms import alarms
from simulation.history import Parts, simulate
from simulation.mutants import MUTANTS

HISTORIES = 2500
SEARCHED = 4000


@pytest.fixture(autouse=True)
def only_alarms() -> Iterator[None]:
    """Keep no log of the faults that the workers meet; let no false alarm pass."""
    with alarms():
        yield


def test_every_history_keeps_every_promise_and_comes_to_rest() -> None:
    steps = sum(simulate(seed).steps for seed in range(HISTORIES))
    assert steps > 50 * HISTORIES, "hardly anything happened"


def test_the_same_seed_gives_the_same_history() -> None:
    first, again, other = simulate(77), simulate(77), simulate(78)
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", MUTANTS)
def test_taking_one_promise_away_is_noticed(name: str) -> None:
    def search(parts: Parts) -> None:
        for seed in range(SEARCHED):
            simulate(seed, parts)

    parts, violation = MUTANTS[name]
    with pytest.raises(AssertionError, match=violation):
        search(parts)
