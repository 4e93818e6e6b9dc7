"""Revocations: which sessions, people's older sessions and keys have ended before their tokens expire.

identity publishes each to a JetStream key-value bucket. Its entries outlive every token that they end. Every
service follows the bucket into memory, so a request asks nobody. A service that cannot follow says so in its
readiness. By a setting it goes on with what it knows, or refuses tokens until it can follow again.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import ClassVar
from uuid import UUID

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, KeyValueConfig, StorageType
from nats.js.errors import APIError, NotFoundError
from nats.js.kv import KeyValue

from earlybird.access.permissions import Caller
from earlybird.errors import InvalidToken, Unavailable
from earlybird.infra.nats import REQUEST_SECONDS, connect_nats
from earlybird.infra.workers import Answers, Worker, interruptions
from earlybird.settings import Settings

BUCKET = "revocations"
_STREAM, _SUBJECT = f"KV_{BUCKET}", f"$KV.{BUCKET}.>"
LIFETIME_SECONDS = 1800 + 60  # a token's life, and what clocks may differ by
_POLL_SECONDS = 0.5
_STALE_SECONDS = 2  # without an answer from NATS
_BATCH = 500


@dataclass(slots=True)
class Revocations:
    """What has ended, as far as this process knows. No I/O."""

    sessions: set[str] = field(default_factory=set)
    epochs: dict[UUID, tuple[int, str]] = field(default_factory=dict)  # older epochs ended, but for one session
    keys: set[str] = field(default_factory=set)

    def take(self, key: str, value: bytes) -> None:
        """Note one entry of the bucket. Raises ValueError for one that is none of ours."""
        kind, _, name = key.partition(".")
        match kind:
            case "session":
                self.sessions.add(name)
            case "user":
                entry = json.loads(value)
                self.epochs[UUID(name)] = int(entry["epoch"]), str(entry["but"])
            case "key":
                self.keys.add(name)
            case _:
                raise ValueError("no such kind of revocation")

    def epoch(self, user_id: UUID) -> int:
        """Return the least epoch that a new session of this person has."""
        return self.epochs.get(user_id, (0, ""))[0]

    def check(self, caller: Caller) -> None:
        """Raise InvalidToken if the caller's session, or the key that signed the token, has ended."""
        if not (self.sessions or self.epochs or self.keys):
            return
        epoch, but = self.epochs.get(caller.user_id, (0, ""))
        if (
            caller.session_id in self.sessions
            or (caller.epoch < epoch and caller.session_id != but)
            or caller.key_id in self.keys
        ):
            raise InvalidToken("This session has ended: log in again.")


class RevocationFeed(Worker):
    """Follows the bucket. `check_caller` is what verifiers ask."""

    answers: ClassVar[Answers] = interruptions("revocationfeed_interrupted", _POLL_SECONDS)

    def __init__(self, settings: Settings, name: str) -> None:
        super().__init__()
        self._settings = settings
        self._name = name
        self._bucket: KeyValue | None = None
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

    def check_caller(self, caller: Caller) -> None:
        """Raise InvalidToken if the session has ended; Unavailable if that is unknown and so to be refused."""
        if self._settings.refuse_when_revocations_unknown and not self.is_fresh:
            raise Unavailable("Tokens cannot be checked right now. Try again in a moment.")
        self.known.check(caller)

    async def publish(self, key: str, value: bytes) -> None:
        """Tell every service that something has ended; this one knows at once. Raises Unavailable."""
        away = Unavailable("The session cannot be ended right now. Try again in a moment.")
        if self._bucket is None:
            raise away
        try:
            await self._bucket.put(key, value)
        except (nats.errors.Error, TimeoutError) as error:
            raise away from error
        self.known.take(key, value)

    async def work(self) -> None:
        """Follow the bucket over a connection of our own: the service starts, and serves, also without NATS."""
        async with connect_nats(self._settings, f"{self._name}-revocations") as broker:
            jetstream = broker.jetstream(timeout=REQUEST_SECONDS)
            self._bucket = await open_bucket(jetstream, self._settings.stream_replicas)
            while True:
                await self._follow(jetstream)

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
            known.take(message.subject.removeprefix(f"$KV.{BUCKET}."), message.data)
            self._last = message.metadata.sequence.stream
        if not messages:
            info = await consumer.consumer_info()  # raises if NATS or the consumer is gone
            if info.delivered is not None and info.delivered.stream_seq > self._last:
                raise nats.errors.Error("a message was lost on its way, and NATS does not send it again")
            if info.num_pending == 0:
                self.known, self.is_working = known, True
        if self.known is known:
            self._heard_at = asyncio.get_running_loop().time()


def all_sessions_of(user_id: UUID, epoch: int, but: str = "") -> tuple[str, bytes]:
    """Return the entry that ends all sessions of a person that began before this epoch, but for one."""
    return f"user.{user_id}", json.dumps({"epoch": epoch, "but": but}).encode()


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
