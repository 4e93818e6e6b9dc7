"""A NATS that trusts an operator's signatures (Synadia Cloud is one): a role shows a credentials file."""

import base64
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from server_processes import process, until_listening

from earlybird.infra.nats import connect_nats
from earlybird.settings import Settings
from earlybird.stack import binaries
from free_ports import free_port

nkeys = pytest.importorskip("nkeys")
NO_LIMITS = dict.fromkeys(
    (
        *("subs", "data", "payload", "imports", "exports", "conn", "leaf"),
        *("mem_storage", "disk_storage", "streams", "consumer"),
    ),
    -1,
)


class Key:
    """A key of an operator, an account or a user."""

    def __init__(self, kind: int) -> None:
        self.seed: bytes = nkeys.encode_seed(secrets.token_bytes(32), kind)
        self.pair = nkeys.from_seed(bytearray(self.seed))
        self.name: str = self.pair.public_key.decode()

    def sign(self, of: "Key", claims: dict[str, Any]) -> str:
        """Return the JWT in which this key says this of another."""
        body = {
            "jti": secrets.token_hex(8),
            "iat": int(time.time()),
            "iss": self.name,
            "sub": of.name,
            "nats": claims,
        }
        text = ".".join(map(encoded, ({"typ": "JWT", "alg": "ed25519-nkey"}, body)))
        return f"{text}.{base64.urlsafe_b64encode(self.pair.sign(text.encode())).decode().rstrip('=')}"


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@asynccontextmanager
async def trusting_nats(folder: Path) -> AsyncIterator[Settings]:
    """Run a server that trusts an operator, and give the settings of one of its users."""
    operator, system, account, user = map(
        Key,
        (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER),
    )
    limits = {"type": "account", "version": 2, "limits": {**NO_LIMITS, "wildcards": True}}
    port = free_port()
    config = {
        "listen": f"127.0.0.1:{port}",
        "operator": operator.sign(operator, {"type": "operator", "version": 2}),
        "system_account": system.name,
        "resolver": "MEMORY",
        "resolver_preload": {
            system.name: operator.sign(system, {"type": "account", "version": 2}),
            account.name: operator.sign(account, limits),
        },
        "jetstream": {"store_dir": str(folder / "nats")},
    }
    (folder / "nats.conf").write_text(json.dumps(config))
    jwt = account.sign(user, {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1})
    credentials = folder / "nats.creds"
    credentials.write_text(
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    async with process(binaries.find_nats_server(), "-c", folder / "nats.conf"):
        await until_listening(port)
        yield Settings(nats_url=f"nats://127.0.0.1:{port}", nats_credentials_file=credentials)


async def test_a_role_gets_in_by_its_credentials_file_and_nobody_without_one(tmp_path: Path) -> None:
    async with trusting_nats(tmp_path) as settings:
        async with connect_nats(settings, "test", patience_seconds=10) as broker:
            await broker.jetstream().add_stream(name="ours", subjects=["ours"])
            assert (await broker.jetstream().publish("ours", b"")).seq == 1
        nobody = settings.model_copy(update={"nats_credentials_file": None})
        with pytest.raises((nats.errors.Error, TimeoutError)):
            async with connect_nats(nobody, "test", patience_seconds=3):
                pytest.fail("NATS let in whoever has no credentials")
