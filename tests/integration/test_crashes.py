"""A crash between any two steps changes nothing: each crash point of the source is reached, on real processes."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client as NatsClient
from people import add_users, free_port, log_in_first, open_campaign, until_judged

import earlybird
from earlybird.audit import Audit, Proof
from earlybird.infra.mongo import Client
from earlybird.settings import Settings

SOURCE = Path(earlybird.__file__).parent
CRASH_POINTS = sorted(
    {name for file in SOURCE.rglob("*.py") for name in re.findall(r'crash_point\("([^"]+)"\)', file.read_text())}
)
WORKER_CRASH_POINTS = [name for name in CRASH_POINTS if not name.startswith("login.")]


def environment(settings: Settings, crash_at: str) -> dict[str, str]:
    ports = {f"EARLYBIRD_{role}_PORT": str(free_port()) for role in ("RELAY", "GRANTER")}
    return os.environ | ports | {
        "EARLYBIRD_MONGODB_URI": settings.mongodb_uri.get_secret_value(),
        "EARLYBIRD_NATS_URL": settings.nats_url.get_secret_value(),
        "EARLYBIRD_VALKEY_URL": settings.valkey_url.get_secret_value(),
        "EARLYBIRD_CRASH_AT": crash_at,
    }  # fmt: skip


@asynccontextmanager
async def workers(settings: Settings, crash_at: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
    """Run relay and granter as one real process, killed at the end unless it killed itself."""
    command = [sys.executable, "-m", "earlybird", "serve", "relay", "granter"]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment(settings, crash_at), stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def lose_history(mongo: Client) -> None:
    """Leave the head without a place to go on from, as after an oplog that was too short."""
    await mongo["identity"]["head"].update_one({}, {"$unset": {"start_at": "", "resume_token": ""}})


@pytest.mark.parametrize("crash_at", WORKER_CRASH_POINTS)
async def test_a_worker_that_dies_here_and_is_restarted_loses_and_repeats_nothing(
    crash_at: str, settings: Settings, mongo: Client, broker: NatsClient
) -> None:
    await open_campaign(mongo, 10)
    users = await add_users(mongo, 530 if crash_at == "reconcile.page_appended" else 25)
    await log_in_first(mongo, users[:-5])
    if crash_at.startswith("reconcile."):
        await lose_history(mongo)
    async with workers(settings, crash_at) as process, asyncio.timeout(60):
        assert await process.wait() == -signal.SIGKILL, "it was to die at its crash point"
    await log_in_first(mongo, users[-5:])
    async with workers(settings):
        await until_judged(mongo, len(users))
        proofs: list[Proof] = []
        await Audit(mongo, broker.jetstream()).run(proofs.append)
    assert [proof.subject for proof in proofs][:2] == ["ledger", "users"]
    assert await mongo["promotions"]["vouchers"].count_documents({}) == 10


async def test_every_worker_step_has_its_crash_point() -> None:
    """The list is read from the source, so this guards against reading nothing."""
    assert {"sequencer", "reconcile", "relay", "granter"} <= {
        name.partition(".")[0] for name in WORKER_CRASH_POINTS
    }
    assert len(WORKER_CRASH_POINTS) >= 15
