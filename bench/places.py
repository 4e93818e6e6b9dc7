"""What a place costs, and what verifying costs, as the ledger grows.

    python bench/places.py [first logins …]

For each size: milliseconds for the indexed reads of GET /place (median and 99th percentile of 1,000 people), and
seconds for `earlybird verify` of a list with as many entries.
"""

import asyncio
import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from joserfc.jwk import OKPKey
from uuid_utils.compat import uuid7

from earlybird.events import FirstLogin
from earlybird.identity.app import migrate_identity
from earlybird.identity.ledger.seals import FIRST_SEAL, seal_each
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.mongo import Client, connect_mongo
from earlybird.operations.published.publishing import Publisher
from earlybird.operations.published.verifying import verify
from earlybird.promotions.app import migrate_promotions
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.places.service import Places
from earlybird.promotions.places.store import PlaceStore
from earlybird.settings import Settings
from earlybird.stack.servers import running_servers

_PAGE = 10_000
_ASKED = 1000


async def main(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running_servers(Path(folder) / "data", test_commands=True) as servers:
            settings = Settings(mongodb_uri=servers.mongodb_uri, mongodb_timeout_seconds=60)
            async with connect_mongo(settings, "bench") as client:
                await migrate_identity(settings)
                await migrate_promotions(settings)
                campaign_id, count = await open_campaign(client), 0
                for size in sizes:
                    await grow(client, count, size)
                    count = size
                    await measure(client, campaign_id, count, Path(folder) / "list.jsonl")


async def open_campaign(client: Client) -> UUID:
    campaigns = CampaignStore(client["promotions"])
    draft = Campaign(uuid7(), "Launch", 30, 0, "30 % off", 30, None, None, None)
    await campaigns.create(draft, "bench")
    await campaigns.open(draft.id, "bench")
    return draft.id


async def grow(client: Client, before: int, to: int) -> None:
    """Put entries into the ledger as the sequencer does, and their places as the placer does."""
    ledger, seal = client["identity"]["ledger"], FIRST_SEAL
    secret = await Ledger(client["identity"]).secret()
    if before:
        seal = (await ledger.find_one({"_id": before}))["seal"]
    now = datetime.now(UTC) + timedelta(seconds=1)
    for start in range(before + 1, to + 1, _PAGE):
        entries = [FirstLogin(n, uuid7(), now) for n in range(start, min(start + _PAGE, to + 1))]
        seals = list(seal_each(secret, seal, entries))
        seal = seals[-1]
        await ledger.insert_many(
            {"_id": one.n, "user_id": one.user_id, "first_login_at": one.first_login_at, "seal": seal}
            for one, seal in zip(entries, seals, strict=True)
        )
        await PlaceStore(client["promotions"]).commit(start - 1, entries)


async def measure(client: Client, campaign_id: UUID, count: int, path: Path) -> None:
    ledger, places = Ledger(client["identity"]), PlaceStore(client["promotions"])
    found = client["identity"]["ledger"].find({"_id": {"$in": random.sample(range(1, count + 1), _ASKED)}})
    service, took = Places(places, CampaignStore(client["promotions"])), []
    for user in [entry["user_id"] async for entry in found]:
        started = time.perf_counter()
        entry, _ = await ledger.find_sealed(user)
        place = await service.find((entry.n, entry.first_login_at), is_staff=False)
        took.append((time.perf_counter() - started) * 1000)
        assert place.place == entry.n
    await Publisher(client, OKPKey.generate_key("Ed25519"), "bench").publish(campaign_id, path)
    started = time.perf_counter()
    assert verify(path).counted == count
    verified = time.perf_counter() - started
    p99 = statistics.quantiles(took, n=100)[98]
    print(
        f"{count:>9,} first logins: a place {statistics.median(took):.2f} ms (p99 {p99:.2f}); "
        f"verified in {verified:.1f} s"
    )


if __name__ == "__main__":
    asyncio.run(main([int(one) for one in sys.argv[1:]] or [10_000, 1_000_000]))
