"""The life of a thing as a table: state and event, and the state that follows, or the refusal.

The code decides from the table, and ARCHITECTURE.md's diagrams are compared with it. One more event is one more
column.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from earlybird.errors import Refusal

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class No:
    """An event that a state refuses."""

    code: str
    message: str


def next_state(life: Mapping[tuple[S, E], S | No], state: S, event: E) -> S:
    """Return the state that follows; the same state where the event was before. Raises the Refusal of the
    table."""
    outcome = life[state, event]
    if isinstance(outcome, No):
        raise Refusal(outcome.code, outcome.message)
    return outcome
