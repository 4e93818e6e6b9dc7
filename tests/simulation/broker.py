"""JetStream and Valkey, as far as the workers use them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import nats.errors
import nats.js.errors
from nats.js.api import ConsumerConfig, Header

from earlybird.events import STREAM
from earlybird.promotions.vouchers.cache import _SET_OVER_NONE
from simulation.loop import simulated_loop
from simulation.mongo import Process, settle

_UNACKNOWLEDGED = 4  # times as often as others, messages that nobody acknowledges get lost
_GAP = 1e-9  # between two messages on one connection, which do not overtake each other


class Stream:
    """The stream of first logins: what all its replicas have, None if there is no such stream."""

    def __init__(self, stored: Callable[[int], None]) -> None:
        """Call `stored` with the number of messages whenever there is one more."""
        self._stored = stored
        self.messages: list[bytes] | None = None
        self.incarnation = 0
        self._readers: list[asyncio.Future[None]] = []

    def lose(self) -> None:
        self.messages = None

    def roll_back(self, count: int) -> None:
        if self.messages is not None:
            del self.messages[count:]

    def make(self) -> None:
        if self.messages is None:
            self.messages = []
            self.incarnation += 1

    def publish(self, payload: bytes, expected: int) -> None:
        if self.messages is None:
            raise nats.js.errors.NoStreamResponseError
        if self.refuses(expected):
            raise nats.js.errors.BadRequestError(code=400, err_code=10071, description="wrong last sequence")
        self.messages.append(payload)
        self._stored(len(self.messages))
        for reader in self._readers:
            settle(reader)
        self._readers.clear()

    def refuses(self, expected: int) -> bool:
        """Say whether a message whose predecessor is to have this sequence is out of place."""
        return len(self.messages or ()) != expected

    async def until_published(self, seconds: float) -> None:
        """Wait until something is published, for so long at most."""
        loop = asyncio.get_running_loop()
        published: asyncio.Future[None] = loop.create_future()
        self._readers.append(published)
        timer = loop.call_later(seconds, settle, published)
        try:
            await published
        finally:
            timer.cancel()


class SimulatedJetStream:
    """As nats.js.JetStreamContext, on one connection of one process."""

    def __init__(self, stream: Stream, process: Process) -> None:
        self._stream = stream
        self._process = process
        self._last_arrival = 0.0
        self._loop = simulated_loop()

    async def stream_info(self, _: str) -> Any:
        await self._process.travel(nats.errors.TimeoutError)
        return self._info()

    async def add_stream(self, _: object) -> Any:
        await self._process.request("add_stream", self._stream.make, nats.errors.TimeoutError)
        return self._info()

    async def get_msg(self, _: str, sequence: int) -> Any:
        await self._process.travel(nats.errors.TimeoutError)
        messages = self._stream.messages or []
        if sequence > len(messages):
            raise nats.js.errors.NotFoundError
        return SimpleNamespace(data=messages[sequence - 1])

    async def publish(self, _: str, payload: bytes, headers: Mapping[str, str]) -> None:
        now = self._loop.time()
        self._last_arrival = max(self._last_arrival + _GAP, now + self._process.travel_seconds())
        lost, expected = nats.errors.TimeoutError, int(headers[Header.EXPECTED_LAST_SEQUENCE])
        way = self._loop.arrival(self._last_arrival - now, lost if self._process.loses() else None)
        store = partial(self._stream.publish, payload, expected)
        await self._process.request(f"publish {expected + 1}", store, lost, way)
        await self._process.travel(lost)

    async def pull_subscribe(self, _: str, *, stream: str, config: ConsumerConfig) -> "SimulatedConsumer":  # noqa: ARG002
        await self._process.travel(nats.errors.TimeoutError)
        if self._stream.messages is None:
            raise nats.js.errors.NotFoundError
        return SimulatedConsumer(self._stream, self._process, (config.opt_start_seq or 1) - 1)

    async def delete_consumer(self, _: str, __: str) -> None:
        await self._process.travel(nats.errors.TimeoutError)

    def _info(self) -> Any:
        if self._stream.messages is None:
            raise nats.js.errors.NotFoundError
        return SimpleNamespace(state=SimpleNamespace(last_seq=len(self._stream.messages)), cluster=None)


def _message(sequence: int, data: bytes, behind: int) -> SimpleNamespace:
    reply = f"$JS.ACK.{STREAM}.consumer.1.{sequence}.{sequence}.0.{behind}"
    return SimpleNamespace(
        data=data, reply=reply, metadata=SimpleNamespace(sequence=SimpleNamespace(stream=sequence))
    )


@dataclass(slots=True)
class SimulatedConsumer:
    """As a pull subscription that acknowledges nothing."""

    stream: Stream
    process: Process
    place: int
    incarnation: int = -1

    def __post_init__(self) -> None:
        self.incarnation = self.stream.incarnation

    async def fetch(self, batch: int, *, timeout: float) -> Sequence[Any]:  # noqa: ASYNC109  # as nats-py has it
        await self.process.travel(nats.errors.TimeoutError)
        if not self._has_more():
            await self.stream.until_published(timeout)
        if not self._has_more():
            raise nats.errors.TimeoutError
        messages = self.stream.messages or []
        found = list(enumerate(messages[self.place : self.place + batch], self.place + 1))
        self.place += len(found)
        await self.process.travel(nats.errors.TimeoutError)
        arrived = [
            _message(n, data, len(messages) - n) for n, data in found if not self.process.loses(_UNACKNOWLEDGED)
        ]
        if not arrived:
            raise nats.errors.TimeoutError
        return arrived

    async def consumer_info(self) -> Any:
        await self.process.travel(nats.errors.TimeoutError)
        if self._is_gone():
            raise nats.js.errors.NotFoundError
        return SimpleNamespace(delivered=SimpleNamespace(stream_seq=self.place))

    async def unsubscribe(self) -> None:
        """Nothing is kept of it."""

    def _is_gone(self) -> bool:
        return self.stream.messages is None or self.stream.incarnation != self.incarnation

    def _has_more(self) -> bool:
        return not self._is_gone() and len(self.stream.messages or ()) > self.place


class SimulatedValkey:
    """As redis.asyncio.Redis with what the voucher cache uses, on one process's connection to shared data."""

    def __init__(self, data: dict[str, bytes], process: Process) -> None:
        self._data = data
        self._process = process

    async def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        await self._process.travel(ConnectionError)
        values = [self._data.get(key) for key in keys]
        await self._process.travel(ConnectionError)
        return values

    def pipeline(self, *, transaction: bool) -> "SimulatedValkey":  # noqa: ARG002
        pipeline = type(self)(self._data, self._process)
        pipeline.commands = []
        return pipeline

    commands: list[Callable[[], None]]

    def set(self, key: str, value: bytes, *, px: int = 0, nx: bool = False, ex: int = 0) -> Any:
        """In a pipeline, add the command; by itself, as the mark BYPASS is set, do it at once."""
        if ex:
            return self._set_at_once(key, value, ex)

        def command() -> None:
            if self._may_set(key, nx=nx):
                self._data[key] = value
                asyncio.get_running_loop().call_later(px / 1000, self._expire, key, value)

        self.commands.append(command)
        return None

    async def _set_at_once(self, key: str, value: bytes, ex: int) -> None:
        pipeline = self.pipeline(transaction=False)
        pipeline.set(key, value, px=1000 * ex)
        await pipeline.execute()

    def eval(self, script: str, _: int, key: str, value: bytes, __: int, marker: bytes) -> None:
        def command() -> None:
            known = self._data.get(key)
            if known in (None, marker) if script == _SET_OVER_NONE else known != marker:
                self._data[key] = value

        self.commands.append(command)

    async def execute(self) -> None:
        await self._process.request("cache", self._execute, ConnectionError)
        await self._process.travel(ConnectionError)

    def _execute(self) -> None:
        for command in self.commands:
            command()

    def _may_set(self, key: str, *, nx: bool) -> bool:
        return not nx or key not in self._data

    def _expire(self, key: str, value: bytes) -> None:
        if self._data.get(key) == value:
            del self._data[key]
