"""Thousands of histories of the production workers in virtual time; a mutant for every promise they rest on."""

from collections.abc import Iterator

import pytest
import structlog

from simulation.history import Parts, simulate
from simulation.mutants import MUTANTS

HISTORIES = 1500
SEARCHED = 4000


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep no log of the faults that the workers meet."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)


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

    with pytest.raises(AssertionError):
        search(MUTANTS[name])
