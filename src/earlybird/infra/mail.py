"""Mails: the server that takes them, and what can go wrong. Not here: what they say."""

import re
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import parseaddr
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiosmtplib

from earlybird.errors import Failure
from earlybird.settings import Settings

_PORTS = {"smtp": 587, "smtps": 465}


class NotSent(Exception):
    """A message did not leave. `is_final`: it never will; the server has refused it for good."""

    def __init__(self, reason: str, *, is_final: bool) -> None:
        super().__init__(reason)
        self.reason = reason  # a code; never what a server said, for that may name the person
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A mail server, and whom mails come from."""

    host: str
    port: int
    user: str | None
    password: str | None = field(repr=False)
    is_tls: bool  # from the first byte; if not, STARTTLS
    sender: str
    ca_file: Path | None

    @property
    def starts_tls(self) -> bool:
        """Whether the connection must be turned into TLS before anything is said.

        A server on this machine that asks for no login may do without.
        """
        return not self.is_tls and not (is_here(self.host) and self.user is None)


async def send_mail(server: SmtpServer, letter: EmailMessage, recipient: str) -> None:
    """Hand a mail to the server. Raises NotSent; the caller bounds the time."""
    try:
        await aiosmtplib.send(
            letter,
            sender=parseaddr(server.sender)[1],
            recipients=[recipient],
            hostname=server.host,
            port=server.port,
            username=server.user,
            password=server.password,
            use_tls=server.is_tls,
            start_tls=server.starts_tls,
            tls_context=ssl.create_default_context(cafile=server.ca_file),
        )
    except aiosmtplib.SMTPAuthenticationError:
        raise NotSent("login_refused", is_final=False) from None
    except aiosmtplib.SMTPRecipientsRefused as error:
        codes = [refused.code for refused in error.recipients]
        raise NotSent("recipient_refused", is_final=min(codes) >= 500) from None
    except (aiosmtplib.SMTPDataError, aiosmtplib.SMTPNotSupported) as error:
        is_final = getattr(error, "code", 500) >= 500
        raise NotSent("mail_refused", is_final=is_final) from None
    except (aiosmtplib.SMTPException, OSError) as error:
        raise NotSent(type(error).__name__, is_final=False) from None


def mail_server(settings: Settings) -> SmtpServer:
    """Return the mail server that the settings name. Raises Failure that says what is wrong."""
    url = urlsplit(settings.smtp_url.get_secret_value() if settings.smtp_url else "")
    sender = settings.smtp_sender or ""
    try:
        port = url.port
    except ValueError:
        port = -1
    if url.scheme not in _PORTS or not url.hostname or port == -1:
        raise Failure("EARLYBIRD_SMTP_URL: give smtp://user:password@host:587 (STARTTLS), or smtps://…")
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", parseaddr(sender)[1]) or not sender.isprintable():
        raise Failure("EARLYBIRD_SMTP_SENDER: give an address, or `Name <address>`")
    return SmtpServer(
        host=url.hostname,
        port=port or _PORTS[url.scheme],
        user=unquote(url.username) if url.username else None,
        password=unquote(url.password) if url.password else None,
        is_tls=url.scheme == "smtps",
        sender=sender,
        ca_file=settings.smtp_ca_file,
    )


def is_here(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
