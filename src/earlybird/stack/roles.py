"""The roles of the system as child processes: `python -m earlybird serve <role>`, and their environment."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from earlybird.settings import Settings
from earlybird.stack.child import Child, Program, Start, spawned
from earlybird.stack.mailbox import FOLDER
from earlybird.stack.permissions import OPERATOR
from earlybird.stack.readiness import http_answers
from earlybird.stack.servers import Servers

HTTP_ROLES = ("identity-1", "identity-2", "promotions-1", "promotions-2")
WORKERS = ("relay", "granter", "webhooks")
PAGES = "pages"
JWKS_PATH = "/.well-known/jwks.json"


WEBHOOK_NETWORKS = "127.0.0.0/8"  # receivers are on this machine
_WEBHOOKS = {OPERATOR, "promotions", "webhooks"}  # who knows the secrets of webhooks


def password_slots() -> int:
    """Say how many passwords each identity hashes at once: all of them together, as many as there are cores."""
    settings = Settings()
    if "password_slots" in settings.model_fields_set:
        return settings.password_slots
    processes = sum(name.startswith("identity") for name in HTTP_ROLES)
    return max(1, (os.cpu_count() or 1) // processes)


@dataclass(frozen=True, slots=True)
class Verification:
    """Which contacts a new account must confirm, and the ports of the mailbox that the codes go to."""

    verify: str = "nothing"
    smtp_port: int = 0
    sms_port: int = 0

    @property
    def is_on(self) -> bool:
        """Whether there is a mailbox, and a courier."""
        return self.verify != "nothing"

    def environment(self, servers: Servers) -> dict[str, str]:
        """Return the variables by which the roles know it."""
        if not self.is_on:
            return {"EARLYBIRD_VERIFY": self.verify}
        return {
            "EARLYBIRD_VERIFY": self.verify,
            "EARLYBIRD_SMTP_URL": f"smtp://127.0.0.1:{self.smtp_port}",
            "EARLYBIRD_SMTP_SENDER": "earlybird <earlybird@localhost.example>",
            "EARLYBIRD_SMS_WEBHOOK_URL": f"http://127.0.0.1:{self.sms_port}/sms",
            "EARLYBIRD_SMS_WEBHOOK_SECRET": servers.sms_secret,
        }


NOT_VERIFIED = Verification()


def role_environment(
    servers: Servers, root: Path, port: int, user: str, verification: Verification = NOT_VERIFIED
) -> dict[str, str]:
    """Return the variables that the roles of this user get on top of our own; they win over the caller's."""
    return {
        "EARLYBIRD_MONGODB_URI": servers.mongodb_uri_of(user),
        "EARLYBIRD_NATS_URL": servers.nats_url_of(user),
        "EARLYBIRD_VALKEY_URL": servers.valkey_url_of(user),
        "EARLYBIRD_STREAM_REPLICAS": str(servers.members),
        "EARLYBIRD_HOST": "127.0.0.1",
        "EARLYBIRD_HTTP_CERTIFICATE_FILE": "",  # the balancer's way to the roles is loopback
        "EARLYBIRD_PASSWORD_SLOTS": str(password_slots()),
        "EARLYBIRD_SIGNING_KEY_FOLDER": str(root / "signing-keys"),
        "EARLYBIRD_JWKS_URL": f"http://127.0.0.1:{port}{JWKS_PATH}",
        "EARLYBIRD_ACCOUNT_URL": f"http://127.0.0.1:{port}/account",
        "EARLYBIRD_RECEIPT_URL": f"http://127.0.0.1:{port}/receipt",
        "EARLYBIRD_WEBHOOK_KEY": servers.webhook_key if user in _WEBHOOKS else "",
        "EARLYBIRD_WEBHOOK_NETWORKS": WEBHOOK_NETWORKS,
        **verification.environment(servers),
        **_own_network(),
    }


def pages_environment(inside: int, role_ports: Mapping[str, int]) -> dict[str, str]:
    """Return the variables of the pages: they reach the API, and no database."""
    return {
        "EARLYBIRD_HOST": "127.0.0.1",
        "EARLYBIRD_API_URL": f"http://127.0.0.1:{inside}",
        **watching(role_ports),
        **_own_network(),
    }


def watching(role_ports: Mapping[str, int]) -> dict[str, str]:
    """Return the variable by which a role looks at how the others are."""
    targets = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in role_ports.items())
    return {"EARLYBIRD_STATUS_TARGETS": targets}


def _own_network() -> dict[str, str]:
    """Keep a proxy of the caller's, which is for the world outside, away from loopback."""
    return {
        name: ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))
        for name in ("NO_PROXY", "no_proxy")
    }


def role(name: str, port: int, environment: dict[str, str], logs: Path, start: Start = spawned) -> Child:
    """Return a role, such as `identity-2`, as a child; it answers when its /readyz does."""
    kind = name.partition("-")[0]
    own = {f"EARLYBIRD_{kind.upper()}_PORT": str(port), "PYTHONUNBUFFERED": "1"}
    until_ready = partial(http_answers, f"http://127.0.0.1:{port}/readyz", 200)
    command = [sys.executable, "-m", "earlybird", "serve", kind]
    return Child(Program(name, command, port, environment | own, until_ready), logs, start)


def mailbox(root: Path, verification: Verification, secret: str) -> Child:
    """Return the servers that take mails and short messages, as a child."""
    ports = verification.smtp_port, verification.sms_port
    command = [sys.executable, "-m", "earlybird.stack.mailbox", str(root / FOLDER), *map(str, ports)]
    until_ready = partial(http_answers, f"http://127.0.0.1:{ports[1]}/", 404)
    environment = {"EARLYBIRD_SMS_WEBHOOK_SECRET": secret}
    return Child(Program("mailbox", command, ports[0], environment, until_ready), root / "logs")
