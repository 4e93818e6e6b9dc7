"""Roles that are broken on purpose, on a real cluster: a harness that noticed nothing would prove nothing.

Each takes one promise away from the production code, as it runs. As a program this is `earlybird` with one of
them: `python mutants.py "<name>" serve relay`.
"""

import asyncio
import pkgutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from pymongo import WriteConcern

from earlybird.events import SUBJECT, FirstLogin
from earlybird.infra.mongo import Document
from earlybird.infra.nats import Message

_background: set[asyncio.Task[None]] = set()


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is replaced, by what; which cell of the matrix shows it, and by which violation."""

    target: str
    replace: Callable[[Any], Any]  # given the original
    cell: str
    violation: str

    def break_it(self) -> None:
        """Put it in place, for as long as this process lives."""
        patch(self.target, self.replace(pkgutil.resolve_name(self.target))).start()


def with_one_member(original: Any) -> Any:
    """A first login is acknowledged before a majority has it."""

    def init(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        self._users = self._users.with_options(write_concern=WriteConcern(1))

    return init


def before_the_commit(original: Any) -> Any:
    """A first login is acknowledged while it is still on its way to the database."""

    async def mark_first_login(*args: Any) -> bool:
        task = asyncio.create_task(original(*args))
        _background.add(task)
        task.add_done_callback(_background.discard)
        return True

    return mark_first_login


def by_user(original: Any) -> Any:
    """First logins that come together are numbered by who they are."""
    return lambda n, committed, known: original(
        n, sorted(committed, key=lambda one: one.user_id.int % 1000), known
    )


def without_anybody(original: Any) -> Any:
    """When the oplog has forgotten, the relay goes on from now, without those who came meanwhile."""

    @asynccontextmanager
    async def all_first_logins(self: Any) -> AsyncIterator[Any]:
        async with original(self) as (moment, users):
            yield moment, (user async for user in users if user is None)

    return all_first_logins


def without_a_predecessor(_: Any) -> Any:
    """The relay does not say which message must come before."""

    def message(entry: FirstLogin) -> Message:
        return Message(SUBJECT, entry.to_json(), {})

    return message


def outside_the_transaction(original: Any) -> Any:
    """The cursor moves in a commit of its own, before the vouchers."""
    return lambda self, _, n, events: original(self, None, n, events)


def last_first(original: Any) -> Any:
    """Of first logins judged together, the later ones get the lower positions."""
    return lambda campaign, remaining, events: original(campaign, remaining, events[::-1])


def without_an_id(_: Any) -> Any:
    """A voucher event that is sent again is not known again."""

    def message(event: Document) -> Message:
        return Message(event["subject"], event["payload"], {})

    return message


def with_what_was_withdrawn(original: Any) -> Any:
    """Whoever wants to spend a voucher that was withdrawn has it back."""

    async def outcome(self: Any, session: Any, user_id: Any, *args: Any, **options: Any) -> Document:
        again = {"$set": {"is_available": 1}, "$unset": {"withdrawn_at": ""}}
        await self._vouchers.update_many(
            {"user_id": user_id, "withdrawn_at": {"$ne": None}}, again, session=session
        )
        result: Document = await original(self, session, user_id, *args, **options)
        return result

    return outcome


MUTANTS = {
    "acknowledged by one member": Mutant(
        "earlybird.identity.accounts.store.UserStore.__init__",
        with_one_member,
        "partitioned: mongod primary, from the other servers",
        "users: the first login|order: ",
    ),
    "acknowledged before the commit": Mutant(
        "earlybird.identity.accounts.store.UserStore.mark_first_login",
        before_the_commit,
        "killed: identity",
        "users: the first login|order: ",
    ),
    "numbered by user": Mutant(
        "earlybird.identity.ledger.store.number_first_logins",
        by_user,
        "dies at crash point: granter.after_cache + relay.after_publish",  # many come together after it
        "order: ",
    ),
    "reconcile that skips a gap": Mutant(
        "earlybird.identity.ledger.store.Ledger.all_first_logins",
        without_anybody,
        "oplog rolled past the resume token: mongod",
        "order: ",
    ),
    "published without expected sequence": Mutant(
        "earlybird.identity.ledger.relay._message", without_a_predecessor, "killed: relay", "stream: "
    ),
    "cursor outside the transaction": Mutant(
        "earlybird.promotions.campaigns.cursor.Cursor.move",
        outside_the_transaction,
        "dies at crash point: granter.vouchers_inserted + sequencer.head_moved",
        "vouchers: ",
    ),
    "awarded in another order": Mutant(
        "earlybird.promotions.granting.store.award", last_first, "killed: granter", "vouchers: "
    ),
    "withdrawn, and given back": Mutant(
        "earlybird.promotions.redemptions.store.RedemptionStore._outcome",
        with_what_was_withdrawn,
        "killed: granters, as vouchers are withdrawn",
        "vouchers: ",
    ),
    "voucher events without an id": Mutant(
        "earlybird.promotions.events.publisher._message",
        without_an_id,
        "dies at crash point: publisher.before_removal",
        "voucher events: ",
    ),
}


if __name__ == "__main__":
    _, name, *words = sys.argv
    MUTANTS[name].break_it()
    sys.argv[1:] = words
    from earlybird.cli import main

    main()
