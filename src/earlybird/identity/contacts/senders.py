"""How messages leave: mails by SMTP, short messages by a signed webhook.

What a sender needs is in the settings. Both speak TLS, but to a server on this machine that asks for no login.
"""

import asyncio
import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Protocol
from urllib.parse import urlsplit
from uuid import UUID

import httpx2
from pydantic import SecretStr
from standardwebhooks import Webhook

from earlybird.errors import Failure
from earlybird.identity.contacts.model import Channel, required
from earlybird.identity.contacts.outbox import Message
from earlybird.identity.contacts.texts import write
from earlybird.infra.mail import NotSent, SmtpServer, is_here, mail_server, send_mail
from earlybird.settings import Settings

SEND_SECONDS = 20  # for one message; less than a courier's claim on it
_AGAIN = frozenset({408, 425, 429})  # of 4xx: not now, where the others mean never
_SECRET_BYTES = range(24, 65)  # Standard Webhooks


class Sender(Protocol):
    """Sends messages of one channel."""

    async def send(self, message_id: UUID, message: Message) -> None:
        """Send once. A repeat has the same id, by which its receiver can know it. Raises NotSent."""


class MailSender:
    """Sends mails."""

    def __init__(self, server: SmtpServer, service: str) -> None:
        self._server = server
        self._service = service

    async def send(self, message_id: UUID, message: Message) -> None:
        """Send a mail in plain text. Raises NotSent."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await send_mail(self._server, self._letter(message_id, message), message.address)
        except TimeoutError:
            raise NotSent("TimeoutError", is_final=False) from None

    def _letter(self, message_id: UUID, message: Message) -> EmailMessage:
        text = write(message.kind, message.language, message.code, self._service)
        letter = EmailMessage(policy=SMTP.clone(utf8=not message.address.isascii()))
        letter["Subject"] = text.subject
        letter["From"] = self._server.sender
        letter["To"] = Address(addr_spec=message.address)
        letter["Date"] = format_datetime(datetime.now(UTC))
        letter["Message-ID"] = f"<{message_id}@{parseaddr(self._server.sender)[1].rpartition('@')[2]}>"
        letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
        letter["Content-Language"] = message.language
        letter.set_content(text.body)
        return letter


@dataclass(frozen=True, slots=True)
class SmsGateway:
    """An HTTP server that sends short messages."""

    url: str = field(repr=False)
    secret: str = field(repr=False)


class SmsSender:
    """Posts short messages, as JSON of `to` (E.164) and `text`, with the headers of Standard Webhooks."""

    def __init__(self, gateway: SmsGateway, http: httpx2.AsyncClient, service: str) -> None:
        self._gateway = gateway
        self._http = http
        self._webhook = Webhook(gateway.secret)
        self._service = service

    async def send(self, message_id: UUID, message: Message) -> None:
        """Post a message; `webhook-id` is its id. Raises NotSent."""
        text = write(message.kind, message.language, message.code, self._service)
        body = json.dumps({"to": message.address, "text": text.short})
        now, name = datetime.now(UTC), str(message_id)
        headers = {
            "content-type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(name, now, body),
        }
        try:
            async with asyncio.timeout(SEND_SECONDS):
                answer = await self._http.post(self._gateway.url, content=body, headers=headers)
        except (httpx2.HTTPError, OSError, TimeoutError) as error:
            raise NotSent(type(error).__name__, is_final=False) from None
        if not answer.is_success:
            is_final = 400 <= answer.status_code < 500 and answer.status_code not in _AGAIN
            raise NotSent(f"status_{answer.status_code}", is_final=is_final)


def check_senders(settings: Settings) -> tuple[SmtpServer | None, SmsGateway | None]:
    """Return what the settings say of the senders that are needed. Raises Failure that says what is missing."""
    channels = required(settings.verify)
    missing = [
        f"EARLYBIRD_{name.upper()}"
        for channel, names in _NEEDS.items()
        for name in names
        if channel in channels and getattr(settings, name) is None
    ]
    if missing:
        raise Failure(
            f"EARLYBIRD_VERIFY={settings.verify} needs {' and '.join(missing)}: see docs/configuration.md"
        )
    return mail_server(settings) if "email" in channels else None, _sms(settings) if "phone" in channels else None


def build_senders(settings: Settings, http: httpx2.AsyncClient) -> Mapping[Channel, Sender]:
    """Return a sender for each contact that must be confirmed. Raises Failure."""
    mail, sms = check_senders(settings)
    senders: dict[Channel, Sender] = {}
    if mail is not None:
        senders["email"] = MailSender(mail, settings.service_name)
    if sms is not None:
        senders["phone"] = SmsSender(sms, http, settings.service_name)
    return senders


_NEEDS: Mapping[Channel, tuple[str, ...]] = {
    "email": ("smtp_url", "smtp_sender"),
    "phone": ("sms_webhook_url", "sms_webhook_secret"),
}


def _sms(settings: Settings) -> SmsGateway:
    url, secret = _text(settings.sms_webhook_url), _text(settings.sms_webhook_secret)
    parts = urlsplit(url)
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_here(parts.hostname))):
        raise Failure("EARLYBIRD_SMS_WEBHOOK_URL: give an https address")
    try:
        size = len(b64decode(secret.removeprefix("whsec_"), validate=True))
    except ValueError:
        size = 0
    if size not in _SECRET_BYTES:
        raise Failure("EARLYBIRD_SMS_WEBHOOK_SECRET: give `whsec_` and 24 to 64 bytes in base64")
    return SmsGateway(url, secret)


def _text(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""
