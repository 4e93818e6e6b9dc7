"""How many first logins a second the sequencer numbers: it starts when all of them wait in the change stream.

    python bench/sequencer.py [first logins] [rounds]

Prints a line for each round: entries a second, and CPU milliseconds of this process for each entry. To compare two
versions, run it in both, in turns.
"""

import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from uuid_utils.compat import uuid7

from earlybird.identity.app import migrate_identity
from earlybird.identity.ledger.sequencer import Sequencer
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.mongo import Client, connect_mongo
from earlybird.settings import Settings
from earlybird.stack.servers import running_servers


async def main(first_logins: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running_servers(Path(folder) / "data", test_commands=True) as servers:
            settings = Settings(mongodb_uri=servers.mongodb_uri, mongodb_timeout_seconds=60)
            async with connect_mongo(settings, "bench") as client:
                await migrate_identity(settings)
                for round_ in range(rounds):
                    await one_round(client, round_ * first_logins, first_logins)


async def one_round(client: Client, before: int, count: int) -> None:
    users, ledger = client["identity"]["users"], client["identity"]["ledger"]
    ids, now = [uuid7() for _ in range(count)], datetime.now(UTC)
    names = ({"_id": one, "username": str(one), "email": str(one), "phone": str(one)} for one in ids)
    await users.insert_many([name | {"is_first_login": 1} for name in names])
    await users.update_many({"is_first_login": 1}, {"$set": {"is_first_login": 0, "first_login_at": now}})
    started, cpu = time.perf_counter(), time.process_time()
    worker = asyncio.create_task(Sequencer(Ledger(client["identity"]), asyncio.Event()).run())
    while await ledger.find_one({"_id": before + count}, {"_id": 1}) is None:  # noqa: ASYNC110  # no event tells
        await asyncio.sleep(0.05)
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    print(f"{count / took:.0f} a second, {cpu / count * 1000:.3f} ms of CPU each")


if __name__ == "__main__":
    asyncio.run(main(*map(int, [*sys.argv[1:], "20000", "3"][:2])))
