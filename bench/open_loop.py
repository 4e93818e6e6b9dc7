"""A lean generator of load: raw HTTP/1.1 over kept connections, on an asyncio protocol, for uvloop.

Open loop: requests start at their appointed times, whatever comes back, and are timed from that appointment, so
that neither a slow service nor a late generator makes the figures look better. It shares the machine with what it
measures; hence requests are built beforehand, and of an answer only status and length are read.
"""

import asyncio
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

NO_ANSWER = 0  # the status of a request whose connection was lost or never made
LATE_SECONDS = 0.01
_CONNECTIONS = 4_000
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

Done = Callable[[int], None]


@dataclass(slots=True)
class Answers:
    """What became of requests: seconds from appointment to answer, by status."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    late: int = 0  # started by us more than LATE_SECONDS after their time

    def add(self, status: int, seconds: float) -> None:
        self.seconds.setdefault(status, []).append(seconds)

    def count(self, status: int) -> int:
        return len(self.seconds.get(status, []))

    @property
    def errors(self) -> int:
        """Everything that is neither accepted nor refused for overload."""
        return sum(len(seconds) for status, seconds in self.seconds.items() if status not in {200, 503})

    def percentile(self, status: int, percent: float) -> float | None:
        """Return a percentile in seconds by nearest rank; None when there was no such answer."""
        ordered = sorted(self.seconds.get(status, []))
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else None


class _Connection(asyncio.Protocol):
    """One kept connection, one request at a time."""

    def __init__(self, free: list["_Connection"]) -> None:
        self._free = free
        self._done: Done | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def send(self, request: bytes, done: Done) -> None:
        self._done = done
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data
        head = buffer.find(b"\r\n\r\n")
        length = _LENGTH.search(buffer, 0, head) if head >= 0 else None
        if length is None or len(buffer) < head + 4 + int(length[1]):
            return
        self._buffer = b""
        self._finish(int(buffer[9:12]))
        if b"\r\nconnection: close" in buffer[:head].lower():
            self.transport.close()
        else:
            self._free.append(self)

    def connection_lost(self, _: Exception | None) -> None:
        if self in self._free:
            self._free.remove(self)
        self._finish(NO_ANSWER)

    def _finish(self, status: int) -> None:
        if self._done:
            done, self._done = self._done, None
            done(status)


class Target:
    """One address, and the connections to it: a free one is used, or else one more is opened."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[_Connection] = []
        self._opening: set[asyncio.Task[None]] = set()
        self._all: list[_Connection] = []

    def send(self, request: bytes, done: Done) -> None:
        """Send now; `done` is called with the status."""
        while self._free:
            connection = self._free.pop()
            if not connection.transport.is_closing():
                connection.send(request, done)
                return
        task = asyncio.create_task(self._open_and_send(request, done))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def close(self) -> None:
        for connection in self._all:
            connection.transport.close()

    async def _open_and_send(self, request: bytes, done: Done) -> None:
        loop = asyncio.get_running_loop()
        try:
            assert len(self._all) < _CONNECTIONS, "more connections than a run may open"
            _, made = await loop.create_connection(lambda: _Connection(self._free), "127.0.0.1", self._port)
        except OSError:
            done(NO_ANSWER)
            return
        self._all.append(made)
        made.send(request, done)


async def answer(target: Target, request: bytes) -> int:
    """Send one request; give the status of its answer."""
    answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    target.send(request, answered.set_result)
    return await answered


def post(path: str, body: bytes | Mapping[str, object]) -> bytes:
    """Build the bytes of a request with a JSON body."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def get(path: str, token: str = "") -> bytes:
    """Build the bytes of a request without a body."""
    authorization = f"\r\nAuthorization: Bearer {token}" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: bench{authorization}\r\n\r\n".encode()


def poisson(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Return the moments of arrival, in seconds from the start, of independent customers."""
    source, now = random.Random(seed), 0.0
    while (now := now + source.expovariate(rate)) < seconds:
        yield now


def evenly(rate: float, seconds: float) -> Iterator[float]:
    """Return evenly spaced moments."""
    return (n / rate for n in range(int(rate * seconds)))


async def open_loop(
    target: Target, requests: list[bytes], arrivals: Iterator[float], patience_seconds: float = 10
) -> Answers:
    """Send the requests in turn at these moments; what has no answer after the patience counts as an error."""
    loop, answers, waiting = asyncio.get_running_loop(), Answers(), 0
    all_sent, drained = False, asyncio.Event()
    start = loop.time()

    def send(number: int, due: float) -> None:
        def done(status: int) -> None:
            nonlocal waiting
            waiting -= 1
            answers.add(status, loop.time() - due)
            if all_sent and not waiting:
                drained.set()

        target.send(requests[number % len(requests)], done)

    for number, moment in enumerate(arrivals):
        due = start + moment
        if (early := due - loop.time()) > 0:
            await asyncio.sleep(early)
        answers.late += loop.time() - due > LATE_SECONDS
        waiting += 1
        send(number, due)
    all_sent = True
    if waiting:
        try:
            async with asyncio.timeout(patience_seconds):
                await drained.wait()
        except TimeoutError:
            for _ in range(waiting):
                answers.add(NO_ANSWER, patience_seconds)
    return answers


async def closed_loop(target: Target, requests: list[bytes], at_once: int, seconds: float) -> Answers:
    """Keep this number of requests in flight for this time, to measure the best pace of a service."""
    loop, answers, numbers = asyncio.get_running_loop(), Answers(), iter(range(10**9))
    end = loop.time() + seconds

    async def one() -> None:
        while (started := loop.time()) < end:
            status = await answer(target, requests[next(numbers) % len(requests)])
            answers.add(status, loop.time() - started)

    await asyncio.gather(*(one() for _ in range(at_once)))
    return answers


async def closed_loop_of(target: Target, requests: list[bytes], at_once: int, count: int) -> set[int]:
    """Send so many requests, some at once; give the statuses that were answered."""
    numbers, statuses = iter(range(count)), set[int]()

    async def one() -> None:
        for number in numbers:
            statuses.add(await answer(target, requests[number % len(requests)]))

    await asyncio.gather(*(one() for _ in range(at_once)))
    return statuses
