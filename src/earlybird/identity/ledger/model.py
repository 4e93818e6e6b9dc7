"""How first logins are numbered. Pure: no I/O, no clock."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from earlybird.errors import InvariantBroken
from earlybird.events import FirstLogin

TRACE_FIELD = "first_login_traceparent"  # of a user: the trace of the first login, where that was sampled


@dataclass(frozen=True, slots=True)
class FirstLoginCommitted:
    """One user's first login as MongoDB committed it, before it has a number."""

    user_id: UUID
    first_login_at: datetime
    traceparent: str | None = field(default=None, compare=False)  # of the login, where that was sampled


def number_first_logins(
    last_n: int, committed: Iterable[FirstLoginCommitted], known: Collection[UUID]
) -> Sequence[FirstLogin]:
    """Return the next ledger entries, `last_n` + 1 onwards without a hole, in the order committed.

    Users in `known` are in the ledger already, and a user seen twice counts once: a change may be delivered
    again after a restart.
    """
    fresh: dict[UUID, FirstLoginCommitted] = {}
    for change in committed:
        if change.user_id not in known:
            fresh.setdefault(change.user_id, change)
    return [
        FirstLogin(n, change.user_id, change.first_login_at, change.traceparent)
        for n, change in enumerate(fresh.values(), start=last_n + 1)
    ]


def check_dense(n: int, entries: Sequence[FirstLogin]) -> Sequence[FirstLogin]:
    """Return the entries if they are n + 1, n + 2, … without a hole. Raises InvariantBroken (invariant 2).

    Seen to matter by the mutant "ledger without compare-and-set".
    """
    for expected, entry in enumerate(entries, start=n + 1):
        if entry.n != expected:
            raise InvariantBroken(f"ledger: after {expected - 1} comes {entry.n}")
    return entries
