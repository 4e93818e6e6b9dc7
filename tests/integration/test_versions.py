"""The version before and this one read what the other wrote. `make upgrade` does it under load, role by role."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx2
import pytest
from people import open_campaign
from services import Ports, environment, serving, until_ready

from earlybird.identity.app import migrate_identity
from earlybird.infra.mongo import Client
from earlybird.promotions.app import migrate_promotions
from earlybird.settings import Settings
from journey.customers import until_voucher
from upgrade.expanding import losses, stored
from upgrade.versions import ROOT, NoHistory, Version, present, version_before
from upgrade.visitors import Visitors

ROLES = ("identity", "promotions", "relay", "granter")
PEOPLE = 3


@pytest.fixture
def versions(tmp_path: Path) -> Sequence[Version]:
    """The version before, this one, and the version before again."""
    try:
        old = version_before(tmp_path / "old")
    except NoHistory as reason:
        pytest.skip(str(reason))
    return old, Version(present(), ROOT / "src"), old


@pytest.fixture
def ports() -> Ports:
    return Ports()


@pytest.fixture
async def visitors(ports: Ports) -> AsyncIterator[Visitors]:
    """People who find identity and promotions under one address."""

    async def lead(request: httpx2.Request) -> None:
        if request.url.port is None:
            is_identity = request.url.path in {"/register", "/login"}
            request.url = request.url.copy_with(port=ports.identity if is_identity else ports.promotions)

    hooks = {"request": [lead]}
    async with httpx2.AsyncClient(base_url="http://127.0.0.1", trust_env=False, event_hooks=hooks) as http:
        yield Visitors(http)


async def test_each_version_reads_what_the_other_wrote_there_and_back(
    versions: Sequence[Version], ports: Ports, visitors: Visitors, settings: Settings, mongo: Client
) -> None:
    await open_campaign(mongo, len(versions) * PEOPLE)
    for number, version in enumerate(versions):
        visitors.stage = f"{number}: {version.name}"
        source = {"PYTHONPATH": str(version.source)}
        async with serving(environment(settings, ports, **source), *ROLES):
            await until_ready(visitors.http, ports.identity, ports.promotions)
            for _ in range(PEOPLE):
                await visitors.newcomer()
            for known in visitors.away:
                if known.spent is None:
                    await until_voucher(visitors.http, known.token)
                await visitors.return_of(known)
        assert visitors.failures == []
        databases = mongo["identity"], mongo["promotions"]
        before_it = await stored(*databases)
        await asyncio.gather(
            *(migrate(settings) for migrate in (migrate_identity, migrate_promotions) for _ in "12")
        )
        assert losses(before_it, await stored(*databases)) == set()
    assert all(known.spent and known.place for known in visitors.away)
    assert visitors.spent_again.total() == 9
