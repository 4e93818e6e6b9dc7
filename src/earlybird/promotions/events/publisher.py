"""The publisher: outbox → stream. Tells other systems what happened to vouchers.

An event leaves the outbox once the stream has it. An event may be sent twice, after a crash or by two publishers.
It has the same id then: NATS drops the repeat within an hour, and later a consumer can. Any number of publishers
may run.
"""

import asyncio
from typing import ClassVar

import nats.js.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import Header, StorageType, StreamConfig

from earlybird.events import VOUCHER_STREAM, VOUCHER_SUBJECTS
from earlybird.infra.crash import crash_point
from earlybird.infra.mongo import Document
from earlybird.infra.nats import Message, publish_in_order
from earlybird.infra.workers import Answers, Worker, interruptions
from earlybird.promotions.events.outbox import Outbox

log = structlog.get_logger()

_BATCH = 500  # publishes in flight, at most
_POLL_SECONDS = 0.25
_BACK_OFF_SECONDS = 0.5
_LONGEST_EVENT_BYTES = 4096
_REPEATS_KNOWN_SECONDS = 3600
_KEPT_SECONDS = 30 * 86400


class Publisher(Worker):
    """Outbox → stream."""

    answers: ClassVar[Answers] = interruptions("publisher_interrupted", _BACK_OFF_SECONDS)

    def __init__(self, outbox: Outbox, jetstream: JetStreamContext, replicas: int) -> None:
        super().__init__()
        self._outbox = outbox
        self._jetstream = jetstream
        self._replicas = replicas  # of the stream, when it is made

    async def work(self) -> None:
        """Publish batch after batch, oldest first."""
        await self._ensure_stream()
        while True:
            published = await self._publish_batch()
            self.is_working = True
            if not published:
                await asyncio.sleep(_POLL_SECONDS)

    async def _publish_batch(self) -> int:
        """Publish the oldest events, then remove them. Returns how many."""
        events = await self._outbox.read(_BATCH)
        await publish_in_order(self._jetstream, [_message(event) for event in events])
        if events:
            crash_point("publisher.before_removal")
            await self._outbox.remove([event["_id"] for event in events])
        return len(events)

    async def _ensure_stream(self) -> None:
        try:
            await self._jetstream.stream_info(VOUCHER_STREAM)
        except nats.js.errors.NotFoundError:
            log.warning("stream_created", stream=VOUCHER_STREAM, replicas=self._replicas)
            await self._jetstream.add_stream(
                StreamConfig(
                    name=VOUCHER_STREAM,
                    description="vouchers granted, redeemed, refunded, withdrawn; kept for 30 days",
                    subjects=[VOUCHER_SUBJECTS],
                    storage=StorageType.FILE,
                    num_replicas=self._replicas,
                    max_msg_size=_LONGEST_EVENT_BYTES,
                    max_age=_KEPT_SECONDS,
                    duplicate_window=_REPEATS_KNOWN_SECONDS,
                    deny_delete=True,
                    deny_purge=True,
                    allow_direct=True,
                )
            )


def _message(event: Document) -> Message:
    headers: dict[str, str] = {Header.MSG_ID: event["_id"], Header.EXPECTED_STREAM: VOUCHER_STREAM}
    return Message(event["subject"], event["payload"], headers)
