"""The sequencer: tails MongoDB's change stream of users and appends each first login to the ledger.

Any number may run: the ledger's compare-and-set lets one win, and the others read its head again.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import pymongo
import structlog
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.errors import DuplicateKeyError, PyMongoError

from earlybird.identity.ledger.model import FirstLoginCommitted
from earlybird.identity.ledger.store import HeadMoved, HistoryLost, Ledger, ResumeToken
from earlybird.infra.crash import crash_point
from earlybird.infra.mongo import Document

log = structlog.get_logger()

_BATCH = 500  # first logins per transaction, at most
_LINGER_SECONDS = 0.001  # how long a batch waits for a neighbour: one commit for those that come together
_SAVE_TOKEN_SECONDS = 5  # when idle, so that the place in the oplog never grows old
_BACK_OFF_SECONDS = 0.5
_STAND_BY_SECONDS = 0.1  # after another sequencer was quicker: let it work
_RECONCILE_SECONDS = 600


class Sequencer:
    """Change stream → ledger."""

    def __init__(self, ledger: Ledger, appended: asyncio.Event) -> None:
        """Append to this ledger, and set the event whenever something was."""
        self._ledger = ledger
        self._appended = appended
        self._follows = False
        self._leaving: set[asyncio.Task[None]] = set()

    async def check(self) -> None:
        """Return while it follows the change stream; raise RuntimeError otherwise. A readiness check."""
        if not self._follows:
            raise RuntimeError("the sequencer does not follow the change stream")

    async def run(self) -> None:
        """Follow until cancelled; after any error, start again from what the database says."""
        while True:
            try:
                await self._follow()
            except HeadMoved:
                log.debug("ledger_head_moved")
                await asyncio.sleep(_STAND_BY_SECONDS)
                continue
            except HistoryLost:
                self._follows = False
                await self._retry_reconcile()
                continue
            except DuplicateKeyError:
                log.error("invariant_broken", what="a user is in the ledger twice")
            except (PyMongoError, LookupError) as error:
                log.warning("sequencer_interrupted", error=type(error).__name__)
            self._follows = False
            await asyncio.sleep(_BACK_OFF_SECONDS)

    async def _follow(self) -> None:
        head = await self._ledger.head()
        clock = asyncio.get_running_loop().time
        n, saved_at = head.n, clock()
        async with self._ledger.watch(head) as changes, aclosing(self._batches(changes)) as batches:
            self._follows = True
            async for committed, resume_token in batches:
                if not committed and clock() < saved_at + _SAVE_TOKEN_SECONDS:
                    continue
                crash_point("sequencer.before_append")
                n = await self._ledger.append(n, committed, resume_token=resume_token)
                crash_point("sequencer.after_append")
                saved_at = clock()
                if committed:
                    self._appended.set()

    async def _retry_reconcile(self) -> None:
        try:
            with pymongo.timeout(_RECONCILE_SECONDS):
                await self._reconcile()
        except HeadMoved:
            log.debug("ledger_head_moved")
        except (PyMongoError, LookupError) as error:
            log.warning("reconcile_interrupted", error=type(error).__name__)
            await asyncio.sleep(_BACK_OFF_SECONDS)

    async def _reconcile(self) -> None:
        """Append whoever is missing in order of (first_login_at, _id), then follow from a moment before that.

        May be cut short anywhere and run again: those already appended are known by their user id.
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
        """Group changes that come together, each group with the token after its last; an empty one when idle.

        Raises HistoryLost when there will be no more of them. Closes the stream in the background.
        """
        upcoming = asyncio.ensure_future(changes.try_next())
        try:
            while True:
                batch: list[FirstLoginCommitted] = []
                resume_token: ResumeToken | None = None
                while len(batch) < _BATCH:
                    done, _ = await asyncio.wait({upcoming}, timeout=_LINGER_SECONDS if batch else None)
                    if not done:
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
        finally:
            leaving = asyncio.create_task(_leave(changes, upcoming))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)


async def _leave(changes: AsyncChangeStream[Document], last: asyncio.Future[Document | None]) -> None:
    """Close a change stream once its last request is answered: within a second, or a time-out of MongoDB.

    It is not cancelled, for that can cost the client its lock for good: see `_Probe` in infra.http_server.
    """
    await asyncio.gather(last, return_exceptions=True)
    with suppress(PyMongoError):
        await changes.close()


def _committed(change: Document) -> FirstLoginCommitted:
    fields = change["updateDescription"]["updatedFields"]
    return FirstLoginCommitted(change["documentKey"]["_id"], fields["first_login_at"])
