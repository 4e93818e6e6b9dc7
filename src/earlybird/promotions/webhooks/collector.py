"""The collector: voucher events from the stream into the queues of those who are told of them.

It reads the stream from its own cursor on. The cursor is in MongoDB, and moves in the transaction that fills the
queues. So each event enters each queue once, whatever dies, and any number of collectors may run. A stream that
was deleted and made again is read from its beginning.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import ClassVar

import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamInfo

from earlybird.events import VOUCHER_STREAM, VOUCHER_SUBJECTS
from earlybird.infra.workers import Answer, Answers, Worker, interruptions
from earlybird.promotions.webhooks.model import Event, Topic
from earlybird.promotions.webhooks.queues import CollectorMoved, QueueStore

log = structlog.get_logger()
_TOPICS = frozenset(Topic)
_BATCH = 200
_FETCH_SECONDS = 1
_BACK_OFF_SECONDS = 0.5
_CONSUMER_LIFE_SECONDS = 30


class Collector(Worker):
    """Stream → queues."""

    answers: ClassVar[Answers] = {
        CollectorMoved: Answer("collector_moved", "debug", _BACK_OFF_SECONDS, stays_ready=True),
        nats.js.errors.NotFoundError: Answer("stream_awaited", "info", _BACK_OFF_SECONDS),
        **interruptions("collector_interrupted", _BACK_OFF_SECONDS),
    }

    def __init__(self, jetstream: JetStreamContext, queues: QueueStore) -> None:
        super().__init__()
        self._jetstream = jetstream
        self._queues = queues

    async def work(self) -> None:
        """Collect, from the cursor on."""
        created, cursor = await self._find_place()
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=cursor + 1,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=_CONSUMER_LIFE_SECONDS,
            mem_storage=True,
            num_replicas=1,
        )
        pulled = await self._jetstream.pull_subscribe(VOUCHER_SUBJECTS, stream=VOUCHER_STREAM, config=config)
        self.is_working = True
        try:
            while True:
                messages = await _fetch(pulled, cursor)
                if messages:
                    last = messages[-1].metadata.sequence.stream
                    await self._queues.collect(created, cursor, last, _events(messages))
                    cursor = last
        finally:
            with suppress(nats.errors.Error):
                await pulled.unsubscribe()

    async def _find_place(self) -> tuple[datetime, int]:
        """Return which stream there is, and up to where it was read. A new one is read from its beginning."""
        info = await self._jetstream.stream_info(VOUCHER_STREAM)
        created = _created(info)
        known, cursor = await self._queues.cursor()
        if known == created:
            return created, cursor
        # At the very first start there is nobody yet who could have been told of what came before.
        await self._queues.begin(known, created, 0 if known is not None else info.state.last_seq)
        raise CollectorMoved


async def _fetch(pulled: JetStreamContext.PullSubscription, cursor: int) -> list[Msg]:
    """Wait for messages, for a second at most. Raises nats errors, also if messages were lost on their way."""
    try:
        messages = await pulled.fetch(_BATCH, timeout=_FETCH_SECONDS)
    except TimeoutError:
        info = await pulled.consumer_info()  # raises if the consumer is gone
        if info.delivered is not None and info.delivered.stream_seq > cursor:
            raise nats.errors.Error from None
        return []
    return list(messages)


def _events(messages: Sequence[Msg]) -> list[Event]:
    """Read the events. What is of a later version than ours has no topic here, and what is no event is told of."""
    found = []
    for message in messages:
        try:
            event = json.loads(message.data)
            name = ".".join(event["type"].split(".")[2:4])
            if name in _TOPICS:
                found.append(Event(str(event["id"]), Topic(name), str(event["data"]["voucher_id"]), message.data))
        except (ValueError, LookupError, TypeError, AttributeError):
            log.error("voucher_event_malformed", sequence=message.metadata.sequence.stream)
    return found


def _created(info: StreamInfo) -> datetime:
    """Return when the stream was made, to the millisecond, as MongoDB keeps times."""
    created = info.created
    moment = created if isinstance(created, datetime) else datetime.fromisoformat(str(created)[:26].rstrip("Z"))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
