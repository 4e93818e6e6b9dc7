"""Faults of MongoDB and NATS that no signal causes: failovers at the worst moment, stores that forget."""

import asyncio
import json
import shutil
from collections.abc import Sequence
from random import Random

from bson import Timestamp
from pymongo import WriteConcern
from pymongo.errors import PyMongoError

from earlybird.events import STREAM
from earlybird.infra.mongo import Document
from earlybird.stack.readiness import mongod_client
from faults.cluster import Cluster
from faults.faults import CUT_SECONDS, KILLED_SECONDS, Act, Targets, follower, lasts

_SHUTDOWN_IN_PROGRESS, _WRITE_CONCERN_FAILED = 91, 64  # MongoDB: error_codes.yml


async def _fail(cluster: Cluster, commands: Sequence[str], times: int, **how: object) -> None:
    """Have the primary fail these commands of the roles, so many times."""
    [name] = await cluster.mongod(primary=True)
    data: Document = {"failCommands": list(commands), **how}
    order = {"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data}
    async with mongod_client(cluster.children[name].program.port) as client:
        await client.admin.command(order)


async def _step_down(cluster: Cluster) -> None:
    for name in await cluster.mongod(primary=True):
        async with mongod_client(cluster.children[name].program.port) as client:
            try:
                await client.admin.command("replSetStepDown", 4, secondaryCatchUpPeriodSecs=1, force=True)
            except PyMongoError:
                return  # it closes connections as it steps down


async def step_down_mid_transaction(cluster: Cluster, rng: Random) -> None:
    """Hold up commits on the primary, and have it step down while they wait."""
    for _ in range(rng.randint(1, 3)):
        held = rng.randint(300, 1500)
        await _fail(cluster, ["commitTransaction"], 4, blockConnection=True, blockTimeMS=held)
        await lasts(rng, (0.05, held / 1000))
        await _step_down(cluster)


async def leave_commits_unknown(cluster: Cluster, rng: Random) -> None:
    """Have commits and first logins made and not acknowledged, or cut off before they are made."""
    for _ in range(rng.randint(3, 8)):
        commands = rng.choice([["commitTransaction"], ["update"], ["insert"], ["commitTransaction", "update"]])
        code = rng.choice([_SHUTDOWN_IN_PROGRESS, _WRITE_CONCERN_FAILED])
        unacknowledged: Document = {"writeConcernError": {"code": code, "errmsg": "injected"}}
        how = rng.choice([{"closeConnection": True}, unacknowledged])
        await _fail(cluster, commands, rng.randint(1, 6), **how)
        await lasts(rng, (0.2, 1.0))


def roll_back_store(targets: Targets) -> Act:
    """Give NATS servers their store of some time ago, as a disk restored from a backup would."""

    async def act(cluster: Cluster, rng: Random) -> None:
        names = await targets(cluster, rng)
        children = [cluster.children[name] for name in names]
        await asyncio.gather(*(child.stop() for child in children))
        for name in names:
            shutil.copytree(cluster.root / name, cluster.root / f"{name}.old")
        await asyncio.gather(*(cluster.begin(name) for name in names))
        await lasts(rng, CUT_SECONDS)
        await asyncio.gather(*(child.kill() for child in children))
        for name in names:
            shutil.rmtree(cluster.root / name)
            (cluster.root / f"{name}.old").rename(cluster.root / name)
        await asyncio.gather(*(cluster.begin(name) for name in names))

    return act


async def wipe_stream(cluster: Cluster, rng: Random) -> None:
    """Delete the stream of first logins."""
    await cluster.jetstream.delete_stream(STREAM)
    await lasts(rng, KILLED_SECONDS)


async def catch_up_and_lead(cluster: Cluster, rng: Random) -> None:
    """Have a follower lose its store, catch up by snapshot, and lead: where replicas were seen to diverge."""
    [name] = await follower(cluster, rng)
    await cluster.children[name].kill()
    shutil.rmtree(cluster.root / name)
    await lasts(rng, KILLED_SECONDS)
    await cluster.begin(name)
    async with asyncio.timeout(30):
        while await cluster.stream_leader() != name:
            request = json.dumps({"placement": {"preferred": name}}).encode()
            await cluster.broker.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{STREAM}", request, timeout=5)
            await asyncio.sleep(0.25)


async def lose_oplog_history(cluster: Cluster, rng: Random) -> None:
    """With both relays stopped, write until the oplog has forgotten where the ledger ends (it is kept small)."""
    relays = cluster.names("relay")
    await asyncio.gather(*(cluster.children[name].stop() for name in relays))
    hello = await cluster.mongo.admin.command("hello")
    stopped: Timestamp = hello["lastWrite"]["opTime"]["ts"]
    await lasts(rng, KILLED_SECONDS)
    junk = cluster.mongo["junk"].get_collection("junk", write_concern=WriteConcern("majority"))
    oplog = cluster.mongo["local"]["oplog.rs"]
    async with asyncio.timeout(60):
        while ((await oplog.find_one(sort=[("$natural", 1)])) or {"ts": stopped})["ts"] <= stopped:
            await junk.insert_many([{"filling": rng.randbytes(500_000)} for _ in range(8)])
    await junk.drop()
    await asyncio.gather(*(cluster.begin(name) for name in relays))
