"""How fast, and in how much memory, a million winners are exported.

    .venv/bin/python bench/winners_export.py [winners] [> report]

Starts servers of its own in a temporary folder, fills one campaign, and runs `earlybird campaign winners --csv` as
its users do. A tenth and the whole are exported in one run, so that growth shows; times depend on the machine.
"""

import asyncio
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from uuid_utils.compat import uuid7

from earlybird.infra.mongo import Client, connect_mongo
from earlybird.promotions.app import migrate_promotions
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.settings import Settings
from earlybird.stack.servers import running_servers

PAGE = 10_000


async def fill(client: Client, winners: int) -> UUID:
    """Put a campaign with so many vouchers, and their owners, straight into the database."""
    campaigns, now = CampaignStore(client["promotions"]), datetime.now(UTC)
    name = f"of {winners}"
    draft = Campaign(uuid7(), name, 30, winners, "30 % off", 30, None, None, None)
    await campaigns.create(draft, "bench")
    for start in range(1, winners + 1, PAGE):
        positions = range(start, min(start + PAGE, winners + 1))
        ids = [uuid7() for _ in positions]
        users = [
            {"_id": user, "username": f"user-{user}", "first_login_at": now, "padding": "x" * 300} for user in ids
        ]
        vouchers = [
            {
                "_id": uuid7(), "user_id": user, "campaign_id": draft.id, "position": n, "first_login_n": n,
                "description": "30 % off", "discount": 30, "expire_at": now + timedelta(days=30), "currency": None,
                "min_amount": None, "max_discount_amount": None, "is_available": 1, "created_at": now,
            }
            for n, user in zip(positions, ids, strict=True)
        ]  # fmt: skip
        await client["identity"]["users"].insert_many(users, ordered=False)
        await client["promotions"]["vouchers"].insert_many(vouchers, ordered=False)
        print(f"\rfilled {positions[-1]:,} of {winners:,}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return draft.id


def export(campaign_id: UUID, environment: dict[str, str], to: Path) -> tuple[float, int, int]:
    """Run the command; give its seconds, peak memory (bytes) and lines."""
    command = [sys.executable, "-m", "earlybird", "campaign", "winners", str(campaign_id), "--csv"]
    started = time.perf_counter()
    with to.open("wb") as output:
        pid = os.posix_spawn(
            sys.executable, command, environment, file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), 1)]
        )
        _, status, usage = os.wait4(pid, 0)
    assert status == 0, "the export failed"
    with to.open("rb") as lines:
        count = sum(1 for _ in lines)
    return time.perf_counter() - started, usage.ru_maxrss * 1024, count


async def main(winners: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running_servers(Path(folder) / "data") as servers:
            settings = Settings(mongodb_uri=servers.mongodb_uri)
            environment = {**os.environ, "EARLYBIRD_MONGODB_URI": servers.mongodb_uri}
            await migrate_promotions(settings)
            async with connect_mongo(settings, "bench") as client:
                for count in (winners // 10, winners):
                    campaign_id = await fill(client, count)
                    for _ in range(3):
                        seconds, memory, lines = await asyncio.to_thread(
                            export, campaign_id, environment, Path(folder) / "winners.csv"
                        )
                        assert lines == count + 1, lines
                        rate, mib = count / seconds, memory / 2**20
                        print(f"{count:>9,} winners  {seconds:6.1f} s  {rate:>8,.0f}/s  peak {mib:.0f} MiB")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
