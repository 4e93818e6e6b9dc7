"""HTTP/1.1 on one connection: uvicorn's, with whole answers and with deadlines for what clients send.

Not here: the server that accepts connections; the size of a body (`web`).
"""

import asyncio
import json
from asyncio import TimerHandle
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from earlybird.errors import Refusal


@dataclass(frozen=True)
class Deadlines:
    """How long a client may take, however steadily it sends; uvicorn itself waits for ever.

    A head is a few hundred bytes, a body at most 16 KiB: ten seconds are enough on the slowest mobile line, and
    what takes longer holds a connection for nothing (CWE-400, "Slowloris").
    """

    head_seconds: float = 10  # from the first byte of a request to the end of its head
    body_seconds: float = 10  # from there to the end of its body


DEADLINES = Deadlines()


def _too_slow() -> bytes:
    """Make the whole answer: it is given below the application, whose answer may be under way already."""
    refusal = Refusal("request_timeout", "The request did not arrive in time.")
    body = json.dumps({"status": "error", "message": refusal.message, "code": refusal.code}).encode()
    head = (
        f"HTTP/1.1 {refusal.status} Request Timeout\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, deadlines: Deadlines, **named: Any) -> None:  # noqa: ANN401  # uvicorn's
        """Take what uvicorn gives, and the deadlines."""
        super().__init__(*arguments, **named)
        self._deadlines = deadlines
        self._deadline: TimerHandle | None = None  # of the request that is arriving; None between requests

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; a connection that sends nothing is closed like one that sends nothing more."""
        super().connection_made(_WholeAnswers(transport, self.loop))  # type: ignore[arg-type]
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """End; nothing more is awaited."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in; the first after a request start the clock of the next, even if they are empty lines."""
        self._await_head()
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Start the clock of a request whose beginning came together with the end of the one before."""
        self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand the request to the application, and wait for its body for so long."""
        self._disarm()
        self._deadline = self.loop.call_later(self._deadlines.body_seconds, self._end_late_body)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Stop the clock: from here on the time is ours."""
        self._disarm()
        super().on_message_complete()

    def _await_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._deadlines.head_seconds, self._end_late_head)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_late_head(self) -> None:
        earlier: RequestResponseCycle | None = self.cycle
        if earlier is not None and not earlier.response_complete:
            earlier.keep_alive = False  # the request before this one is still being answered; then we close
        else:
            self.transport.write(_too_slow())
            self.transport.close()

    def _end_late_body(self) -> None:
        if not self.cycle.response_started and not self.pipeline:
            self.transport.write(_too_slow())
        self.transport.close()


class _WholeAnswers:
    """A transport that sends what is written in one turn of the loop in one piece.

    uvicorn writes head and body apart; a process killed between the two would leave an answer cut in half,
    which no balancer can mend.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # everything else is the transport's own
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            data, self._parts = b"".join(self._parts), []
            self._transport.write(data)
