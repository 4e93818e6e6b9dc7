"""What "in order" means to people outside: who had their answer before you even asked comes before you. Pure."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimedLogin:
    """A first login as its client saw it, on one clock, and what came of it."""

    who: str
    started: float
    ended: float
    number: int  # in the ledger
    holds_voucher: bool


def came_before(one: TimedLogin, other: TimedLogin) -> bool:
    """Tell whether everybody agrees on the order; logins that overlap may come in either."""
    return one.ended < other.started


def first_unfairness(logins: Sequence[TimedLogin]) -> tuple[TimedLogin, TimedLogin] | None:
    """Give an earlier and a later login of which the later was preferred; None if there are no such two."""
    for earlier, later in itertools.permutations(logins, 2):
        if came_before(earlier, later) and (
            later.number < earlier.number or (later.holds_voucher and not earlier.holds_voucher)
        ):
            return earlier, later
    return None
