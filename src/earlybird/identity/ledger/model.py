"""How first logins are numbered. Pure: no I/O, no clock."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from earlybird.events import FirstLogin


@dataclass(frozen=True, slots=True)
class FirstLoginCommitted:
    """One user's first login as MongoDB committed it, before it has a number."""

    user_id: UUID
    first_login_at: datetime


def number_first_logins(
    last_n: int, committed: Iterable[FirstLoginCommitted], known: Collection[UUID]
) -> Sequence[FirstLogin]:
    """Give the next ledger entries, `last_n` + 1 onwards without a hole, in the order committed.

    Users in `known` are in the ledger already, and a user seen twice counts once: a change may be delivered
    again after a restart.
    """
    fresh: dict[UUID, datetime] = {}
    for change in committed:
        if change.user_id not in known:
            fresh.setdefault(change.user_id, change.first_login_at)
    return [FirstLogin(n, user_id, at) for n, (user_id, at) in enumerate(fresh.items(), start=last_n + 1)]
