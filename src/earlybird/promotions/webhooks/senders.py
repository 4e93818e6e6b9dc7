"""How deliveries leave: by HTTP, signed after Standard Webhooks or as Slack takes it, and by mail.

An address that a person typed is not trusted: its name is looked up here, each address that it leads to is judged,
and the connection goes to the address that was judged. So a name that leads elsewhere a moment later (DNS
rebinding) gains nothing. Redirects are not followed, proxies of the environment are not used.
"""

import asyncio
import json
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr, parsedate_to_datetime
from typing import Protocol
from urllib.parse import urlsplit

import httpcore2
from standardwebhooks import Webhook

from earlybird.infra.mail import NotSent, SmtpServer, send_mail
from earlybird.promotions.webhooks.model import Delivery, Kind, Network, may_reach, secret_of

SEND_SECONDS = 15  # for one delivery, as Standard Webhooks recommends; less than a lease
_GONE = 410
_MOST_BODY_BYTES = 64 * 1024  # of an answer: what is beyond is not read
_PER_HOST = 8


class Undelivered(Exception):
    """An attempt failed. `is_gone`: the receiver wants no more, ever; `retry_after`: when it wants the next."""

    def __init__(self, reason: str, *, is_gone: bool = False, retry_after: timedelta | None = None) -> None:
        super().__init__(reason)
        self.reason = reason  # a code; never what the receiver said
        self.is_gone = is_gone
        self.retry_after = retry_after


class Sender(Protocol):
    """Delivers to endpoints of one kind."""

    async def deliver(self, delivery: Delivery) -> None:
        """Deliver once. Raises Undelivered."""


class _JudgedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that may be reached, and to no others."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's own
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Look the name up, judge every address, and connect to the first."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Undelivered("name_not_found") from error
        addresses = [str(one[4][0]) for one in found]
        if not all(may_reach(address, self._allowed) for address in addresses):
            raise Undelivered("address_not_allowed")
        return await self._inner.connect_tcp(addresses[0], port, timeout, local_address, socket_options)


class HttpSender:
    """Posts deliveries. Use it as a context."""

    def __init__(self, allowed: Sequence[Network], tls: ssl.SSLContext | None = None) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=100,
            max_keepalive_connections=_PER_HOST,
            keepalive_expiry=30,
            network_backend=_JudgedNetwork(allowed),
        )
        self._allowed = allowed

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Post a body. Raises Undelivered unless the answer is 2xx."""
        if urlsplit(url).scheme != "https" and not self._allowed:
            raise Undelivered("address_not_allowed")
        try:
            async with asyncio.timeout(SEND_SECONDS):
                status, answered = await self._exchange(url, body, headers)
        except TimeoutError:
            raise Undelivered("timeout") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as error:
            raise Undelivered(type(error).__name__) from None
        except (OSError, ValueError) as error:  # of TLS, or of a name that cannot be one
            raise Undelivered(type(error).__name__) from None
        if not 200 <= status < 300:
            after = _retry_after(answered.get(b"retry-after"), datetime.now(UTC))
            raise Undelivered(f"status_{status}", is_gone=status == _GONE, retry_after=after)

    async def _exchange(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[bytes, bytes]]:
        sent = [(name.encode(), value.encode()) for name, value in headers.items()]
        async with self._pool.stream("POST", url, headers=sent, content=body) as response:
            read = 0
            async for part in response.aiter_stream():
                read += len(part)
                if read > _MOST_BODY_BYTES:
                    break
            return response.status, {name.lower(): value for name, value in response.headers}


class WebhookSender:
    """Delivers events as they are, signed after Standard Webhooks."""

    def __init__(self, http: HttpSender, key: bytes | None) -> None:
        self._http = http
        self._key = key

    async def deliver(self, delivery: Delivery) -> None:
        """Post an event; `webhook-id` is its id, the same in a repeat. Raises Undelivered."""
        if self._key is None:
            raise Undelivered("no_webhook_key")
        now, endpoint, event = datetime.now(UTC), delivery.endpoint, delivery.event
        body = event.payload.decode()
        signatures = [
            Webhook(secret_of(self._key, endpoint.id, number)).sign(event.id, now, body)
            for number in endpoint.signing_numbers(now)
        ]
        headers = {
            "content-type": "application/cloudevents+json",
            "user-agent": "earlybird",
            "webhook-id": event.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        await self._http.post(endpoint.address, event.payload, headers)


class SlackSender:
    """Posts what people read, as Slack's incoming webhooks take it."""

    def __init__(self, http: HttpSender) -> None:
        self._http = http

    async def deliver(self, delivery: Delivery) -> None:
        """Post a line of text. Raises Undelivered."""
        body = json.dumps({"text": _text(delivery)}).encode()
        await self._http.post(delivery.endpoint.address, body, {"content-type": "application/json"})


class NoticeMailSender:
    """Mails what people read. `server` is None where there is no mail server."""

    def __init__(self, server: SmtpServer | None) -> None:
        self._server = server

    async def deliver(self, delivery: Delivery) -> None:
        """Send a mail in plain text. Raises Undelivered."""
        if self._server is None:
            raise Undelivered("no_mail_server")
        letter, event = EmailMessage(), delivery.event
        letter["Subject"] = _text(delivery)
        letter["From"] = self._server.sender
        letter["To"] = delivery.endpoint.address
        letter["Date"] = format_datetime(datetime.now(UTC))
        letter["Message-ID"] = f"<{event.id}@{parseaddr(self._server.sender)[1].rpartition('@')[2]}>"
        letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
        letter.set_content(f"{_text(delivery)}\n\n{json.dumps(json.loads(event.payload), indent=2)}\n")
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await send_mail(self._server, letter, delivery.endpoint.address)
        except TimeoutError:
            raise Undelivered("timeout") from None
        except NotSent as failed:
            raise Undelivered(failed.reason) from None


@dataclass(frozen=True, slots=True)
class Senders:
    """A sender for each kind of endpoint."""

    by_kind: Mapping[Kind, Sender]

    async def deliver(self, delivery: Delivery) -> None:
        """Deliver once. Raises Undelivered."""
        await self.by_kind[delivery.endpoint.kind].deliver(delivery)


def _text(delivery: Delivery) -> str:
    data = json.loads(delivery.event.payload)
    text = data["data"].get("text") or f"{delivery.event.topic}: {delivery.event.subject}"
    return " ".join(str(text).split())  # one line: it may stand in a header


def _retry_after(value: bytes | None, now: datetime) -> timedelta | None:
    """Read `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3)."""
    text = (value or b"").decode("latin-1").strip()
    if text.isascii() and text.isdigit() and len(text) < 8:
        return timedelta(seconds=int(text))
    try:
        return max(timedelta(), parsedate_to_datetime(text) - now)
    except (TypeError, ValueError):
        return None
