"""`earlybird serve` as a real process of its own, on the test's servers."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx2
from people import running

from earlybird.identity.app import identity_role, relay_role
from earlybird.promotions.app import granter_role, promotions_role
from earlybird.settings import Settings
from free_ports import free_port


@dataclass
class Ports:
    """A port for each role."""

    identity: int = field(default_factory=free_port)
    promotions: int = field(default_factory=free_port)
    relay: int = field(default_factory=free_port)
    granter: int = field(default_factory=free_port)
    courier: int = field(default_factory=free_port)


def environment(settings: Settings, ports: Ports, **changes: str) -> dict[str, str]:
    """Give the environment in which the services use the test's servers and these ports."""
    return os.environ | {
        "EARLYBIRD_MONGODB_URI": settings.mongodb_uri.get_secret_value(),
        "EARLYBIRD_NATS_URL": settings.nats_url.get_secret_value(),
        "EARLYBIRD_VALKEY_URL": settings.valkey_url.get_secret_value(),
        "EARLYBIRD_SIGNING_KEY_FOLDER": str(settings.signing_key_folder),
        "EARLYBIRD_JWKS_URL": f"http://127.0.0.1:{ports.identity}/.well-known/jwks.json",
        "EARLYBIRD_ACCOUNT_URL": f"http://127.0.0.1:{ports.identity}/account",
        "EARLYBIRD_RECEIPT_URL": f"http://127.0.0.1:{ports.identity}/receipt",
        "EARLYBIRD_PASSWORD_MEMORY_KIB": "8",
        "EARLYBIRD_PASSWORD_ITERATIONS": "1",
        "EARLYBIRD_DRAIN_SECONDS": "0",
        **{f"EARLYBIRD_{role.upper()}_PORT": str(port) for role, port in vars(ports).items()},
        **changes,
    }  # fmt: skip


@asynccontextmanager
async def serving(environment: dict[str, str], *roles: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run roles as a real process."""
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "earlybird", "serve", *roles]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def serving_here(environment: dict[str, str], *roles: str) -> AsyncIterator[None]:
    """Run roles in this process: where none is to die, none needs a process of its own, which is slow to start."""
    prefix = "EARLYBIRD_"
    values = {
        name.removeprefix(prefix).lower(): value for name, value in environment.items() if name.startswith(prefix)
    }
    settings = Settings(**values)  # type: ignore[arg-type]  # text, as the environment has it
    open_roles = {
        "identity": identity_role,
        "promotions": promotions_role,
        "relay": relay_role,
        "granter": granter_role,
    }
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(open_roles[role](settings)) for role in roles]
        await stack.enter_async_context(running(*opened))
        yield


async def until_ready(http: httpx2.AsyncClient, *ports: int) -> None:
    """Wait until each port's /readyz says 200."""
    async with asyncio.timeout(30):
        for port in ports:
            while True:
                try:
                    if (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200:
                        break
                except httpx2.TransportError:
                    pass
                await asyncio.sleep(0.05)
