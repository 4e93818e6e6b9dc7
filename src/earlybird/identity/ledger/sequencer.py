"""The sequencer: follows MongoDB's change stream of users and appends each first login to the ledger.

Theory of operation. The ledger's head holds the last number n and the place in the change stream at which n ends.
The sequencer reads the head, opens the change stream there, and appends batch after batch. One transaction inserts
the entries n+1 … n+k and moves the head with its place, by compare-and-set on n. This is all that the order rests
on:

- The change stream delivers what a majority committed, in the order of commitment. So the sequencer never orders
  anything, and never waits for a time.
- The process may die, or lose MongoDB, at any await. Nothing but the transaction leaves a trace, and it leaves all
  or nothing. The next sequencer begins from the head. (Crash points: `tests/integration/test_crashes.py`.)
- A change may be delivered again, after a restart or a failover. `number_first_logins` passes over users who are
  in the ledger, in the same transaction. (Mutant: "ledger that forgets who is in it".)
- Two sequencers may follow at the same time. The head's compare-and-set lets one of them append; the other gets
  HeadMoved, stands by and reads the head again. (Mutant: "ledger without compare-and-set".)
- A commit may be unknown: the connection broke before the answer. Then the head has moved or it has not, and the
  sequencer reads it again. It keeps nothing in memory that the head does not say.
- The place may be lost: the oplog no longer reaches back, `users` was dropped, or a restore took the place away.
  Then the order of commitment is lost too. `_reconcile` appends all who are missing in the order of
  (first_login_at, _id), read as of one moment, and only then follows the change stream from that same moment. It
  may be cut short anywhere, and run again. (Mutants: "reconcile that skips a gap", "reconcile as of no one
  moment", "reconcile in another order".)
- Each entry is sealed with all before it (`seals`), in the transaction that inserts it. The seal before is read
  with the users who are known, so this costs no request. Entries of a version that did not seal get theirs first.
  (Mutant: "seals kept in memory".)
- When nobody logs in, the place is saved every few seconds, so that it never leaves the oplog.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import ClassVar

import pymongo
import structlog
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.errors import PyMongoError

from earlybird.identity.ledger.model import TRACE_FIELD, FirstLoginCommitted
from earlybird.identity.ledger.store import HeadMoved, HistoryLost, Ledger, ResumeToken
from earlybird.infra.crash import crash_point
from earlybird.infra.mongo import Document
from earlybird.infra.tracing import Tracing
from earlybird.infra.workers import Answer, Answers, Worker, interruptions, rest_seconds

log = structlog.get_logger()

_BATCH = 500  # first logins per transaction, at most
_LINGER_SECONDS = 0.001  # how long a batch waits for a neighbour: one commit for those that come together
_LINGER_AFTER_REST_SECONDS = 0.01
_SAVE_TOKEN_SECONDS = 5  # when idle
_BACK_OFF_SECONDS = 0.5
_STAND_BY_SECONDS = 0.1  # after another sequencer was quicker
_RECONCILE_SECONDS = 600


class Sequencer(Worker):
    """Change stream → ledger."""

    answers: ClassVar[Answers] = {
        HeadMoved: Answer("ledger_head_moved", "debug", _STAND_BY_SECONDS, stays_ready=True),
        **interruptions("sequencer_interrupted", _BACK_OFF_SECONDS),
    }

    def __init__(self, ledger: Ledger, appended: asyncio.Event, tracing: Tracing | None = None) -> None:
        super().__init__()
        self._tracing = tracing or Tracing()
        self._ledger = ledger
        self._appended = appended  # set whenever something was appended
        self._leaving: set[asyncio.Task[None]] = set()

    async def work(self) -> None:
        """Follow the change stream; where it does not reach back to the ledger's end, reconcile first."""
        try:
            await self._follow()
        except HistoryLost:
            self.is_working = False
            with pymongo.timeout(_RECONCILE_SECONDS):
                await self._reconcile()

    async def _follow(self) -> None:
        sealed = await self._ledger.seal_older()
        if sealed:
            log.info("older_entries_sealed", entries=sealed)
        head = await self._ledger.head()
        clock = asyncio.get_running_loop().time
        n, saved_at = head.n, clock()
        async with self._ledger.watch(head) as changes, aclosing(self._batches(changes)) as batches:
            self.is_working = True
            async for committed, resume_token in batches:
                if not committed and clock() < saved_at + _SAVE_TOKEN_SECONDS:
                    continue
                crash_point("sequencer.before_append")
                with self._tracing.each("append to ledger", committed) as changed:
                    n = await self._ledger.append(n, changed, resume_token=resume_token)
                crash_point("sequencer.after_append")
                saved_at = clock()
                if committed:
                    self._appended.set()

    async def _reconcile(self) -> None:
        """Append all users who are missing, in order of (first_login_at, _id), as of the moment to follow from.

        It may be cut short anywhere and run again: users who are appended already are known by their id.
        """
        n = before = (await self._ledger.head()).n
        async with self._ledger.all_first_logins() as (moment, users):
            crash_point("reconcile.started")
            page: list[FirstLoginCommitted] = []
            async for user in users:
                page.append(user)
                if len(page) == _BATCH:
                    n = await self._ledger.append(n, page)
                    crash_point("reconcile.page_appended")
                    page = []
            n = await self._ledger.append(n, page)
            crash_point("reconcile.before_following")
            await self._ledger.append(n, [], start_at=moment)
        self._appended.set()
        log.warning(
            "oplog_history_lost",
            meaning="no change stream reaches back to the ledger's end; these were ordered by first_login_at",
            appended=n - before,
        )

    async def _batches(
        self, changes: AsyncChangeStream[Document]
    ) -> AsyncGenerator[tuple[list[FirstLoginCommitted], ResumeToken | None], None]:
        """Yield changes that come together, with the token after the last; an empty list when idle.

        Raises HistoryLost when the stream has ended. Closes the stream in the background.
        """
        upcoming, linger_seconds = asyncio.ensure_future(changes.try_next()), _LINGER_SECONDS
        try:
            while True:
                batch: list[FirstLoginCommitted] = []
                resume_token: ResumeToken | None = None
                while len(batch) < _BATCH:
                    await asyncio.sleep(0)  # what the driver has already is here after one turn of the loop
                    if not upcoming.done():
                        await asyncio.wait({upcoming}, timeout=linger_seconds if batch else None)
                    if not upcoming.done():
                        break
                    change, token = upcoming.result(), changes.resume_token
                    upcoming = asyncio.ensure_future(changes.try_next())
                    if change is None:
                        if not batch and not changes.alive:
                            raise HistoryLost
                        resume_token = resume_token or token
                        break
                    batch.append(_committed(change))
                    resume_token = token
                yield batch, resume_token
                rest = rest_seconds(len(batch)) if len(batch) < _BATCH else 0.0
                # What came during the rest takes one more round trip, which the first of them waits for.
                linger_seconds = _LINGER_AFTER_REST_SECONDS if rest else _LINGER_SECONDS
                await asyncio.sleep(rest)
        finally:
            leaving = asyncio.create_task(_leave(changes, upcoming))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)


async def _leave(changes: AsyncChangeStream[Document], last: asyncio.Future[Document | None]) -> None:
    """Close a change stream once its last request is answered: within a second, or a time-out of MongoDB.

    The request is not cancelled: that can leave PyMongo's lock taken for good (see `_Probe` in
    infra/http/server.py).
    """
    await asyncio.gather(last, return_exceptions=True)
    with suppress(PyMongoError):
        await changes.close()


def _committed(change: Document) -> FirstLoginCommitted:
    fields = change["updateDescription"]["updatedFields"]
    return FirstLoginCommitted(change["documentKey"]["_id"], fields["first_login_at"], fields.get(TRACE_FIELD))
