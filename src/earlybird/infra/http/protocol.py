"""HTTP/1.1 on one connection: uvicorn's protocol, with whole answers, deadlines, and refusals in our envelope.

Not here: the server that accepts connections; the limit of a body (`gate`).
"""

import asyncio
import json
from asyncio import TimerHandle
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from earlybird.errors import Refusal
from earlybird.infra.http.gate import REFUSED
from earlybird.infra.http.refusals import envelope


@dataclass(frozen=True)
class Deadlines:
    """How long a client may take, however steadily it sends; uvicorn itself waits for ever.

    A head is a few hundred bytes, a body at most 16 KiB: ten seconds are enough on the slowest mobile line, and
    what takes longer holds a connection for nothing (CWE-400, "Slowloris").
    """

    head_seconds: float = 10  # from the first byte of a request to the end of its head
    body_seconds: float = 10  # from there to the end of its body


DEADLINES = Deadlines()
HEAD_LIMIT_BYTES = 32 * 1024  # of one request's line and headers; a token has 4 KiB at most

_TOO_SLOW = Refusal("request_timeout", "The request did not arrive in time.")
_MALFORMED = Refusal(
    "malformed_request", "This is no HTTP/1.1 request that can be read. Check its method and headers."
)
_HEAD_TOO_LARGE = Refusal(
    "headers_too_large", f"The request line and headers are over {HEAD_LIMIT_BYTES // 1024} KiB."
)


def _whole_answer(refusal: Refusal) -> bytes:
    """Make the whole answer, because nothing above this protocol can: the application knows no such request."""
    body = json.dumps(envelope(refusal)).encode()
    head = (
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


class Protocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, deadlines: Deadlines, **named: Any) -> None:  # noqa: ANN401  # uvicorn's
        super().__init__(*arguments, **named)
        self._deadlines = deadlines
        self._deadline: TimerHandle | None = None  # of the request that is arriving; None between requests
        self._deadline_of_body = False  # whether the deadline is that of a body
        self._begun = False  # whether a request is arriving
        self._reads_body = False  # whether the bytes that come next belong to the body of `cycle`
        self._head_bytes = (
            0  # received of the head that is arriving, but for the packet that the last request ended in
        )
        self._packet_bytes = 0  # of the packet that is being parsed
        self._fault = _MALFORMED  # what to say when the parser gives up
        self._refusal: Refusal | None = None  # of the request that is arriving; nothing is read after it

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock that closes an idle connection; uvicorn starts it only after the first answer."""
        super().connection_made(_WholeAnswers(transport, self.loop))  # type: ignore[arg-type]
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse bytes. The first byte after a request begins the next, even in an empty line.

        A request that is here whole, as most are, starts no clock.
        """
        if self._refusal:
            return
        self._begun = True
        self._head_bytes += len(data)
        self._packet_bytes = len(data)
        super().data_received(data)
        if self._refusal or self.transport.is_closing():
            return
        if self._begun and not self._reads_body and self._head_bytes > HEAD_LIMIT_BYTES:
            self._refuse(_HEAD_TOO_LARGE)
        else:
            self._watch()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's own message, in plain text
        """Refuse what the parser cannot read."""
        self._refuse(self._fault)

    def on_message_begin(self) -> None:
        """Note a request that began in the same packet as the end of the one before."""
        self._begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        # All that has come since the last request, with the packet that it ended in, is no less than the head.
        if self._head_bytes + self._packet_bytes > HEAD_LIMIT_BYTES and self._head_size() > HEAD_LIMIT_BYTES:
            self._fault = _HEAD_TOO_LARGE
            raise ValueError  # the parser stops, and `send_400_response` refuses
        super().on_headers_complete()
        self._reads_body = True

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def on_message_complete(self) -> None:
        """Stop the clock: the client has sent its part."""
        self._disarm()
        self._begun = self._reads_body = False
        self._head_bytes = 0
        super().on_message_complete()

    def _watch(self) -> None:
        """Have the clock run that what is still to arrive asks for; one that runs already goes on."""
        if self._deadline is not None and (not self._begun or self._deadline_of_body != self._reads_body):
            self._disarm()
        if self._begun and self._deadline is None:
            seconds = self._deadlines.body_seconds if self._reads_body else self._deadlines.head_seconds
            self._deadline = self.loop.call_later(seconds, self._refuse, _TOO_SLOW)
            self._deadline_of_body = self._reads_body

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def on_response_complete(self) -> None:
        """Go on with the next request; after the last one before a refusal, refuse."""
        if self._refusal and not self.pipeline:
            self._end(self._refusal)
        super().on_response_complete()

    def _refuse(self, refusal: Refusal) -> None:
        """Refuse the request that is arriving and close, after the answers to the requests before it."""
        if self._refusal:
            return
        self._refusal = refusal
        self._disarm()
        last: RequestResponseCycle | None = self.cycle
        if last is None or (last.response_complete and not self._reads_body):
            self._end(refusal)
        elif self._reads_body and self.pipeline:
            self.pipeline.popleft()  # the refused request itself, which waits for those before it
        elif self._reads_body:
            self._end(None if last.response_started else refusal)

    def _end(self, refusal: Refusal | None) -> None:
        if refusal:
            REFUSED[refusal.code].inc()
            self.transport.write(_whole_answer(refusal))
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
