"""The granter: pulls first logins from the stream and commits the vouchers that they earn.

Theory of operation. The cursor in MongoDB is the number of the last first login that was processed. The granter
reads it, pulls the events cursor+1, cursor+2, … from the stream, and processes them in one transaction: it moves
the cursor by compare-and-set, inserts the vouchers, takes their number from `remaining_promotion`, and adds events
and log entries. Then it writes the winners' vouchers to the cache.

- The process may die, or lose a server, at any await. The transaction leaves all or nothing, and the cursor says
  how far it got. (Crash points: `tests/integration/test_crashes.py`. Mutants: "vouchers committed before the
  cursor", "cursor committed before the vouchers".)
- Events may be delivered twice. Those up to the cursor are dropped (`next_in_order`). Events may be lost on their
  way. The next one is then not cursor+1: that is a Gap, and the granter reads again from the cursor. It never
  skips. (Mutants: "granter that skips a gap", "what was lost is never asked for".)
- Two granters may run. The cursor's compare-and-set lets one commit; the other gets CursorMoved, stands by and
  reads the cursor again. (Mutant: "cursor without compare-and-set".)
- The stream may be deleted and made again. Its sequence is the ledger's number, so the cursor still fits.
- A campaign may change at any time. Every change holds the cursor, so it is made before or after a transaction of
  ours, and never in it.
- The cache may be away. Then GET /voucher reads MongoDB. The cache decides nothing.
- A campaign that got more positions is left to the caretaker until it has caught up, so that nobody overtakes
  those who are next in line. (Mutant: "newcomers overtake those next in line".)
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

import nats.js.errors
import structlog
from nats.js import JetStreamContext
from opentelemetry.trace import SpanKind

from earlybird.events import STREAM, FirstLogin, MalformedEvent
from earlybird.infra.crash import crash_point
from earlybird.infra.tracing import Tracing
from earlybird.infra.workers import Answer, Answers, Worker, interruptions, rest_seconds
from earlybird.metrics import GRANTS
from earlybird.promotions.campaigns.cursor import CursorMoved
from earlybird.promotions.granting.award import Gap, next_in_order
from earlybird.promotions.granting.first_logins import BATCH, first_logins_from
from earlybird.promotions.granting.store import GrantStore
from earlybird.promotions.vouchers.cache import VoucherCache
from earlybird.promotions.vouchers.model import Voucher

log = structlog.get_logger()

_BACK_OFF_SECONDS = 0.25
_PROCESSING = {
    "messaging.system": "nats",
    "messaging.operation.type": "process",
    "messaging.destination.name": STREAM,
}
_STAND_BY_SECONDS = 0.1  # after another granter was quicker


class Granter(Worker):
    """Stream → vouchers."""

    answers: ClassVar[Answers] = {
        CursorMoved: Answer("cursor_moved", "debug", _STAND_BY_SECONDS, stays_ready=True),
        Gap: Answer("ledger_gap", "error", _BACK_OFF_SECONDS),
        MalformedEvent: Answer("malformed_event", "error", _BACK_OFF_SECONDS),
        nats.js.errors.NotFoundError: Answer("stream_awaited", "info", _BACK_OFF_SECONDS),
        **interruptions("granter_interrupted", _BACK_OFF_SECONDS),
    }

    def __init__(
        self,
        jetstream: JetStreamContext,
        store: GrantStore,
        cache: VoucherCache,
        tracing: Tracing | None = None,
    ) -> None:
        super().__init__()
        self._tracing = tracing or Tracing()
        self._jetstream = jetstream
        self._store = store
        self._cache = cache

    async def work(self) -> None:
        """Grant, from the cursor on."""
        cursor = await self._store.cursor()
        async with first_logins_from(self._jetstream, cursor + 1) as stream:
            self.is_working = True
            while True:
                batch = await stream.next_batch()
                crash_point("granter.fetched")
                events = next_in_order(cursor, batch)
                if events:
                    with self._tracing.each(
                        f"process {STREAM}", events, SpanKind.CONSUMER, **_PROCESSING
                    ) as traced:
                        cursor = await self._grant(cursor, traced)
                    if len(events) < BATCH:
                        await asyncio.sleep(rest_seconds(len(events)))

    async def _grant(self, cursor: int, events: Sequence[FirstLogin]) -> int:
        crash_point("granter.before_transaction")
        with self._tracing.each("commit awards", events):
            vouchers = await self._store.commit_awards(cursor, events)
        crash_point("granter.after_commit")
        GRANTS.inc(len(vouchers))
        winners = {voucher.first_login_n for voucher in vouchers}
        with self._tracing.each("cache voucher", [event for event in events if event.n in winners]):
            await show(vouchers, self._cache)
        crash_point("granter.after_cache")
        return events[-1].n


async def show(vouchers: Sequence[Voucher], cache: VoucherCache) -> None:
    """Put vouchers just granted where GET /voucher looks first."""
    if vouchers:
        await cache.put(vouchers, datetime.now(UTC))
        log.info("vouchers_granted", first=vouchers[0].position, last=vouchers[-1].position)
