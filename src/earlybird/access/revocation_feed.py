"""The feed of revocations: how each service learns what has ended, without a call per request.

identity publishes each entry to a JetStream key-value bucket. Its entries outlive every token that they end. Every
service follows the bucket into memory. A service that cannot follow says so in its readiness. By a setting it goes
on with what it knows, or refuses tokens until it can follow again. A bucket that was lost is filled again with
what identity's processes know.
"""

import asyncio
from datetime import datetime
from typing import ClassVar

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, KeyValueConfig, StorageType
from nats.js.errors import APIError, NotFoundError
from nats.js.kv import KeyValue

from earlybird.access.permissions import Caller
from earlybird.access.revocations import Entry, Revocations
from earlybird.errors import Unavailable
from earlybird.infra.nats import REQUEST_SECONDS, connect_nats
from earlybird.infra.workers import Answer, Answers, Worker, interruptions
from earlybird.settings import Settings

log = structlog.get_logger()

BUCKET = "revocations"
_STREAM, _SUBJECT = f"KV_{BUCKET}", f"$KV.{BUCKET}.>"
LIFETIME_SECONDS = 1800 + 60  # a token's life, and what clocks may differ by
_POLL_SECONDS = 0.5
_STALE_SECONDS = 2  # without an answer from NATS
_BATCH = 500
_PUBLISH_SECONDS = 5  # for which an entry is sent again: a bucket without a leader has one after some seconds
_AGAIN_SECONDS = 0.25
_START_SECONDS = 5  # for which a service waits to learn what has ended, before it serves without


class RevocationFeed(Worker):
    """Follows the bucket. `check_caller` is what verifiers ask."""

    # Also when NATS ends the connection for good: the next round makes another, and the service goes on serving.
    answers: ClassVar[Answers] = {
        **interruptions("revocationfeed_interrupted", _POLL_SECONDS),
        nats.errors.ConnectionClosedError: Answer("revocationfeed_interrupted", "warning", _POLL_SECONDS),
    }

    def __init__(self, settings: Settings, name: str, *, refills: bool = False) -> None:
        """Follow as this service. One that may write there `refills` a bucket that was lost."""
        super().__init__()
        self._refills = refills
        self._made_at: datetime | None = None  # the bucket
        self._settings = settings
        self._name = name
        self._bucket: KeyValue | None = None
        self._started_at: float | None = None
        self._heard_at = -float("inf")
        self._last = 0  # sequence of the last entry read
        self.known = Revocations()

    @property
    def is_fresh(self) -> bool:
        """Whether NATS has answered lately, so that whatever has ended is known."""
        return asyncio.get_running_loop().time() < self._heard_at + _STALE_SECONDS

    async def check(self) -> None:
        """Raise RuntimeError unless the feed is followed. A readiness check."""
        if not self.is_fresh:
            raise RuntimeError("the revocationfeed does not work: NATS has not answered lately")

    async def check_start(self) -> None:
        """Raise RuntimeError until it is known what has ended, for five seconds at most. A readiness check."""
        now = asyncio.get_running_loop().time()
        self._started_at = self._started_at or now
        if self._heard_at < 0 and now < self._started_at + _START_SECONDS:
            raise RuntimeError("it is not known yet which sessions have ended")

    def check_caller(self, caller: Caller) -> None:
        """Raise InvalidToken if the session has ended; Unavailable if that is unknown and so to be refused."""
        if self._settings.refuse_when_revocations_unknown and not self.is_fresh:
            raise Unavailable("Tokens cannot be checked right now. Try again in a moment.")
        self.known.check(caller)

    async def publish(self, entry: Entry) -> None:
        """Tell every service that something has ended; this one knows at once. Raises Unavailable."""
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + _PUBLISH_SECONDS
        while True:
            try:
                await self._put(entry)
            except (nats.errors.Error, TimeoutError) as error:
                if self._bucket is None or clock() > give_up_at:
                    raise Unavailable("The session cannot be ended right now. Try again in a moment.") from error
                log.info("revocation_not_published", error=type(error).__name__)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    async def _put(self, entry: Entry) -> None:
        """Publish an entry, which may be published already: twice is as good as once."""
        if self._bucket is None:
            raise nats.errors.NoServersError
        await self._bucket.put(*entry)
        self.known.take(*entry)

    async def work(self) -> None:
        """Follow the bucket over a connection of our own: the service starts, and serves, also without NATS."""
        async with connect_nats(self._settings, f"{self._name}-revocations") as broker:
            jetstream = broker.jetstream(timeout=REQUEST_SECONDS)
            self._bucket = await open_bucket(jetstream, self._settings.stream_replicas)
            await self._refill((await jetstream.stream_info(_STREAM)).created)
            while True:
                await self._follow(jetstream)

    async def _refill(self, made_at: datetime | None) -> None:
        """Put back what is known, if the bucket is another than before: NATS has lost its disks."""
        if self._refills and self._made_at not in {None, made_at}:
            entries = list(self.known.entries())
            for entry in entries:
                await self._put(entry)
            log.warning("revocations_put_back", entries=len(entries))
        self._made_at = made_at

    async def _follow(self, jetstream: JetStreamContext) -> None:
        """Read all entries into a new view, then go on with what comes. The old view serves until then."""
        known, started_at = Revocations(), asyncio.get_running_loop().time()
        self._last = 0
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=30,
            mem_storage=True,
            num_replicas=1,
        )
        consumer = await jetstream.pull_subscribe(_SUBJECT, stream=_STREAM, config=config)
        if (await consumer.consumer_info()).num_pending == 0:  # nothing has ended
            self._follow_on(known)
        try:
            while asyncio.get_running_loop().time() < started_at + LIFETIME_SECONDS:  # then drop what has expired
                await self._read(consumer, known)
        finally:
            await consumer.unsubscribe()

    async def _read(self, consumer: JetStreamContext.PullSubscription, known: Revocations) -> None:
        try:
            messages = await consumer.fetch(_BATCH, timeout=_POLL_SECONDS)
        except nats.errors.TimeoutError:
            messages = []
        for message in messages:
            _take(known, message)
            self._last = message.metadata.sequence.stream
        if not messages:
            info = await consumer.consumer_info()  # raises if NATS or the consumer is gone
            if info.delivered is not None and info.delivered.stream_seq > self._last:
                raise nats.errors.Error("a message was lost on its way, and NATS does not send it again")
            if info.num_pending == 0:
                self._follow_on(known)
        elif self.known is known:
            self._follow_on(known)

    def _follow_on(self, known: Revocations) -> None:
        """Note that NATS has answered, and that this view is complete."""
        self.known, self.is_working, self._heard_at = known, True, asyncio.get_running_loop().time()


def _take(known: Revocations, message: Msg) -> None:
    """Note an entry. One that is none of ours ends nothing, and must not stop those that do."""
    try:
        known.take(message.subject.removeprefix(f"$KV.{BUCKET}."), message.data)
    except ValueError:
        log.error("malformed_revocation", sequence=message.metadata.sequence.stream, do="see docs/runbook.md")


async def open_bucket(jetstream: JetStreamContext, replicas: int) -> KeyValue:
    """Return the bucket; make it if there is none."""
    try:
        return await jetstream.key_value(BUCKET)
    except NotFoundError:
        pass
    config = KeyValueConfig(BUCKET, ttl=LIFETIME_SECONDS, storage=StorageType.FILE, replicas=replicas)
    try:
        return await jetstream.create_key_value(config)
    except APIError:  # another process made it first
        return await jetstream.key_value(BUCKET)
