"""The publisher: outbox → stream. Tells other systems what happened to vouchers.

An event leaves the outbox once the stream has it. One that is sent twice, after a crash or by two publishers, has
the same id: NATS drops the repeat for an hour, and a consumer can tell it later. Any number may run.
"""

import asyncio

import nats.errors
import nats.js.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import Header, StorageType, StreamConfig
from pymongo.errors import PyMongoError

from earlybird.events import VOUCHER_STREAM, VOUCHER_SUBJECTS
from earlybird.infra.crash import crash_point
from earlybird.infra.mongo import Document
from earlybird.infra.nats import Message, publish_in_order
from earlybird.promotions.events.outbox import Outbox

log = structlog.get_logger()

_BATCH = 500  # publishes in flight, at most
_POLL_SECONDS = 0.25
_BACK_OFF_SECONDS = 0.5
_LONGEST_EVENT_BYTES = 4096
_REPEATS_KNOWN_SECONDS = 3600
_KEPT_SECONDS = 30 * 86400


class Publisher:
    """Outbox → stream."""

    def __init__(self, outbox: Outbox, jetstream: JetStreamContext, replicas: int) -> None:
        """Publish what is in this outbox to a stream of this many replicas."""
        self._outbox = outbox
        self._jetstream = jetstream
        self._replicas = replicas

    async def run(self) -> None:
        """Publish until cancelled; after any error but ConnectionClosedError, start again from the outbox."""
        while True:
            try:
                await self._ensure_stream()
                while True:
                    if not await self._publish_batch():
                        await asyncio.sleep(_POLL_SECONDS)
            except nats.errors.ConnectionClosedError:
                raise  # for good: see connect_nats
            except (nats.errors.Error, PyMongoError, TimeoutError) as error:
                log.warning("publisher_interrupted", error=type(error).__name__)
            await asyncio.sleep(_BACK_OFF_SECONDS)

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
                    description="vouchers granted, redeemed, refunded; kept for 30 days",
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
