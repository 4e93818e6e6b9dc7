"""The mailbox of the local stack: a real SMTP server and a receiver of short messages, which keep files.

`python -m earlybird.stack.mailbox FOLDER SMTP_PORT SMS_PORT` runs both on loopback until SIGTERM. The secret of
short messages is in `EARLYBIRD_SMS_WEBHOOK_SECRET`. Files have mode 0600, and the newest 500 are kept. Your own
servers stand in its place in production.
"""

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path

FOLDER = "mail"
_KEPT = 500
_MAIL, _SMS = ".eml", ".json"


@dataclass(frozen=True, slots=True)
class Letter:
    """What came: a mail, or a short message, which has no subject."""

    to: str
    subject: str | None
    text: str


class Mailbox:
    """The folder with what came. A file is there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, content: bytes, suffix: str) -> None:
        """Add a file, and remove the oldest beyond 500."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        draft = self._folder / f".draft-{os.getpid()}"
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content)
        draft.replace(self._folder / f"{time.time_ns():020}{suffix}")
        for old in self._files()[:-_KEPT]:
            old.unlink(missing_ok=True)

    def newest(self, count: int) -> list[Letter]:
        """Read the last so many, the oldest of them first."""
        return [_read(file) for file in self._files()[-count:]]

    def _files(self) -> list[Path]:
        return sorted(file for file in self._folder.glob("[0-9]*") if file.suffix in {_MAIL, _SMS})


def _read(file: Path) -> Letter:
    content = file.read_bytes()
    if file.suffix == _SMS:
        message = json.loads(content)
        return Letter(message["to"], None, message["text"])
    mail = message_from_bytes(content, policy=policy.default)
    body = mail.get_body(("plain",))
    return Letter(str(mail["To"]), str(mail["Subject"]), body.get_content() if body else "")


async def run_mailbox(folder: Path, smtp_port: int, sms_port: int, sms_secret: str) -> None:
    """Take mails and short messages until SIGTERM or SIGINT."""
    import uvicorn
    from aiosmtpd.smtp import SMTP, Envelope, Session
    from standardwebhooks import Webhook, WebhookVerificationError
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    mailbox, webhook = Mailbox(folder), Webhook(sms_secret)

    class Mails:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002, N802  # as aiosmtpd calls it
            mailbox.keep(envelope.original_content or b"", _MAIL)
            return "250 OK"

    async def take(request: Request) -> Response:
        body = await request.body()
        try:
            webhook.verify(body, dict(request.headers))
        except (WebhookVerificationError, ValueError):
            return Response(status_code=401)
        mailbox.keep(body, _SMS)
        return Response(status_code=204)

    loop = asyncio.get_running_loop()
    smtp = await loop.create_server(
        lambda: SMTP(Mails(), enable_SMTPUTF8=True, hostname="localhost"), "127.0.0.1", smtp_port
    )
    app = Starlette(routes=[Route("/sms", take, methods=["POST"])])
    config = uvicorn.Config(app, host="127.0.0.1", port=sms_port, log_level="warning", lifespan="off")
    async with smtp:
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    folder, smtp_port, sms_port = sys.argv[1:]
    secret = os.environ["EARLYBIRD_SMS_WEBHOOK_SECRET"]
    asyncio.run(run_mailbox(Path(folder), int(smtp_port), int(sms_port), secret))
