"""A real SMTP server with STARTTLS and a login, and a real receiver of webhooks, in this process."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from free_ports import free_port

USER, SECRET_WORD = "courier", "p@ss word"


@dataclass
class PostOffice:
    """Takes mails from who logs in over TLS; answers `reply` to each."""

    port: int
    ca_file: Path
    mails: list[EmailMessage] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)  # to the next mails; then all are taken
    over_tls: set[bool] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"smtp://{USER}:p%40ss%20word@localhost:{self.port}"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002, N802
        if self.replies:
            return self.replies.pop(0)
        self.over_tls.add(session.ssl is not None)
        self.mails.append(message_from_bytes(envelope.original_content or b"", policy=policy.default))
        return "250 OK"

    def authenticate(self, *asked: object) -> AuthResult:
        given = asked[-1]
        assert isinstance(given, LoginPassword)
        is_right = (given.login, given.password) == (USER.encode(), SECRET_WORD.encode())
        return AuthResult(success=is_right, handled=False)  # the server itself says so


@asynccontextmanager
async def post_office(folder: Path) -> AsyncIterator[PostOffice]:
    """Run the server for the length of a block."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    office = PostOffice(free_port(), folder / "ca.pem")
    loop = asyncio.get_running_loop()

    def connection() -> SMTP:
        return SMTP(
            office,
            tls_context=tls,
            require_starttls=True,
            auth_required=True,
            authenticator=office.authenticate,
            hostname="localhost",
        )

    server = await loop.create_server(connection, "127.0.0.1", office.port)
    async with server:
        yield office
