"""The dispatcher: queues → endpoints. It tries, tries again ever later, and gives up after three days.

An event leaves its queue once its receiver has answered 2xx. So a dispatcher that dies in between delivers it
twice, with the same id, and never loses it. Any number of dispatchers may run. One endpoint that is slow or away
holds up no other: each has its own few places, and rests after failures.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

import structlog

from earlybird.infra.crash import crash_point
from earlybird.infra.workers import Answers, Worker, interruptions
from earlybird.metrics import WEBHOOK_DELIVERIES
from earlybird.promotions.webhooks.endpoints import EndpointStore
from earlybird.promotions.webhooks.model import Delivery, Endpoint, next_attempt
from earlybird.promotions.webhooks.queues import QueueStore
from earlybird.promotions.webhooks.senders import Senders, Undelivered

log = structlog.get_logger()
_PER_ENDPOINT = 4  # deliveries under way
_POLL_SECONDS = 0.25
_REFRESH_SECONDS = 1.0  # of who there is, and who is paused
_SWEEP_SECONDS = 60
_BACK_OFF_SECONDS = 0.5
_LONGEST_REST_SECONDS = 30.0
_OUTCOMES = "delivered", "failed", "dead", "gone"
for _outcome in _OUTCOMES:
    WEBHOOK_DELIVERIES.labels(_outcome)


class Dispatcher(Worker):
    """Queues → endpoints."""

    answers: ClassVar[Answers] = interruptions("dispatcher_interrupted", _BACK_OFF_SECONDS)

    def __init__(self, endpoints: EndpointStore, queues: QueueStore, senders: Senders) -> None:
        super().__init__()
        self._endpoints = endpoints
        self._queues = queues
        self._senders = senders
        self._under_way: Counter[UUID] = Counter()
        self._failures: Counter[UUID] = Counter()  # in a row
        self._rests_until: dict[UUID, float] = {}

    async def work(self) -> None:
        """Deliver what is due, several at once."""
        clock = asyncio.get_running_loop().time
        endpoints: Mapping[UUID, Endpoint] = {}
        refresh_at = sweep_at = clock()
        try:
            async with asyncio.TaskGroup() as deliveries:
                while True:
                    if clock() >= sweep_at:
                        await self._queues.sweep()
                        sweep_at = clock() + _SWEEP_SECONDS
                    if clock() >= refresh_at:
                        endpoints = {one.id: one for one in await self._endpoints.find_all() if not one.is_paused}
                        refresh_at = clock() + _REFRESH_SECONDS
                    claimed = await self._queues.claim(self._free(endpoints, clock()))
                    self.is_working = True
                    if claimed is None:
                        await asyncio.sleep(_POLL_SECONDS)
                        continue
                    self._under_way[claimed.endpoint.id] += 1
                    deliveries.create_task(self._deliver(claimed))
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None

    def _free(self, endpoints: Mapping[UUID, Endpoint], now: float) -> Mapping[UUID, Endpoint]:
        """Return who has a free place, and does not rest after a failure."""
        return {
            name: one
            for name, one in endpoints.items()
            if self._under_way[name] < _PER_ENDPOINT and self._rests_until.get(name, 0.0) <= now
        }

    async def _deliver(self, delivery: Delivery) -> None:
        crash_point("dispatcher.claimed")
        name = delivery.endpoint.id
        try:
            await self._senders.deliver(delivery)
        except Undelivered as failed:
            await self._note_failure(delivery, failed)
        else:
            crash_point("dispatcher.sent")
            await self._queues.delivered(delivery)
            WEBHOOK_DELIVERIES.labels("delivered").inc()
            self._failures.pop(name, None)
        finally:
            self._under_way[name] -= 1

    async def _note_failure(self, delivery: Delivery, failed: Undelivered) -> None:
        endpoint, attempts = delivery.endpoint, delivery.attempts + 1
        self._failures[endpoint.id] += 1
        rest = min(_LONGEST_REST_SECONDS, 0.1 * 2 ** min(self._failures[endpoint.id], 10))
        self._rests_until[endpoint.id] = asyncio.get_running_loop().time() + rest
        due_at = next_attempt(await self._queues.now(), attempts, failed.retry_after, random.random())  # noqa: S311
        told = {"webhook": str(endpoint.id), "host": endpoint.host, "reason": failed.reason, "attempts": attempts}
        if failed.is_gone:  # Standard Webhooks: 410 ends the deliveries until a person has looked
            await self._endpoints.change(
                endpoint.id,
                {"is_paused": True, "paused_because": "it answered 410"},
                "webhook.paused",
                "dispatcher",
            )
        await self._queues.failed(delivery, failed.reason, due_at)
        outcome = "gone" if failed.is_gone else "dead" if due_at is None else "failed"
        WEBHOOK_DELIVERIES.labels(outcome).inc()
        if outcome == "failed":
            log.warning("webhook_failed", **told)
        else:
            log.error("webhook_given_up", **told, do="see docs/runbook.md")
