"""The placer: reads first logins from the stream, behind the granter, and notes their places.

Theory of operation. What the granter has judged is final: whatever changes a campaign holds the cursor, and is
later than every first login judged. So the placer may come any time after, and may begin again anywhere: it
computes the same. Its own cursor moves in the transaction that writes the places, by compare-and-set; so any
number may run. It costs the granter nothing. A campaign of an older version gets its places once a placer runs.
"""

import asyncio
from collections.abc import Mapping
from typing import ClassVar

import nats.js.errors
from nats.js import JetStreamContext
from prometheus_client import Gauge

from earlybird.events import MalformedEvent
from earlybird.infra.workers import Answer, Answers, Worker, interruptions
from earlybird.metrics import PLACER_LAG_ENTRIES
from earlybird.promotions.campaigns.cursor import CursorMoved
from earlybird.promotions.granting.award import Gap, next_in_order
from earlybird.promotions.granting.first_logins import BATCH, first_logins_from
from earlybird.promotions.places.store import PlaceStore

_BACK_OFF_SECONDS = 0.25
_POLL_SECONDS = 0.05  # how far the granter is
_PAUSE_SECONDS = 0.1  # people see their place a little later, and one commit notes those of many


class Placer(Worker):
    """Stream → places."""

    answers: ClassVar[Answers] = {
        CursorMoved: Answer("placer_overtaken", "debug", _BACK_OFF_SECONDS, stays_ready=True),
        Gap: Answer("ledger_gap", "error", _BACK_OFF_SECONDS),
        MalformedEvent: Answer("malformed_event", "error", _BACK_OFF_SECONDS),
        nats.js.errors.NotFoundError: Answer("stream_awaited", "info", _BACK_OFF_SECONDS),
        **interruptions("placer_interrupted", _BACK_OFF_SECONDS),
    }

    def __init__(self, jetstream: JetStreamContext, places: PlaceStore) -> None:
        super().__init__()
        self._jetstream = jetstream
        self._places = places

    async def work(self) -> None:
        """Note places, from the last one noted on."""
        placed = await self._places.placed()
        async with first_logins_from(self._jetstream, placed + 1) as stream:
            self.is_working = True
            while True:
                events = next_in_order(placed, await stream.next_batch())
                if events:
                    while await self._places.judged() < events[-1].n:  # noqa: ASYNC110  # no event tells
                        await asyncio.sleep(_POLL_SECONDS)
                    await self._places.commit(placed, events)
                    placed = events[-1].n
                    if len(events) < BATCH:
                        await asyncio.sleep(_PAUSE_SECONDS)


async def sample_placer_lag(places: PlaceStore) -> Mapping[Gauge, float]:
    """Return how many first logins are judged and have no place noted yet."""
    placed = await places.placed()
    return {PLACER_LAG_ENTRIES: max(0, await places.judged() - placed)}
