"""Thousands of histories of the production workers in virtual time; a mutant for every promise they rest on."""

from collections.abc import Iterator

import pytest

from simulation.alarms import alarms
from simulation.history import Parts, simulate
from simulation.mutants import MUTANTS

HISTORIES = 1500
SEARCHED = 4000
# A rare history shows them: some seconds each.
RARE = {"a withdrawn voucher is replaced again and again", "a voucher found gives way to none"}


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


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in RARE else []) for name in MUTANTS]
)
def test_taking_one_promise_away_is_noticed(name: str) -> None:
    def search(parts: Parts) -> None:
        for seed in range(SEARCHED):
            simulate(seed, parts)

    parts, violation = MUTANTS[name]
    with pytest.raises(AssertionError, match=violation):
        search(parts)


def test_a_violation_names_its_seed_and_the_steps_that_led_to_it() -> None:
    parts, _ = MUTANTS["vouchers committed before the cursor"]
    with pytest.raises(AssertionError) as first:
        simulate(0, parts)
    with pytest.raises(AssertionError) as again:
        simulate(0, parts)
    (note,) = first.value.__notes__
    assert again.value.__notes__ == [note]
    assert note.startswith("seed 0;")
    assert "VouchersThenCursor.commit_awards" in note
