"""Faults of MongoDB and NATS that no signal causes: failovers at the worst moment, stores that forget."""

import asyncio
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from random import Random

from bson import Timestamp
from pymongo import WriteConcern
from pymongo.errors import OperationFailure

from earlybird.events import STREAM
from earlybird.infra.mongo import Client, Document
from faults.cluster import Cluster
from faults.faults import CUT_SECONDS, KILLED_SECONDS, Act, NotReached, Targets, follower, lasts
from faults.replica import read_replica

_REACHED_WITHIN_SECONDS = 10
_SHUTDOWN_IN_PROGRESS, _WRITE_CONCERN_FAILED = 91, 64  # MongoDB: error_codes.yml


async def _fail(client: Client, commands: Sequence[str], times: int, **how: object) -> int:
    """Have a mongod fail these commands of the roles, so many times; give how often it ever failed one."""
    data: Document = {"failCommands": list(commands), **how}
    order = {"configureFailPoint": "failCommand", "mode": {"times": times} if times else "off", "data": data}
    return int((await client.admin.command(order))["count"])


async def step_down_mid_transaction(cluster: Cluster, rng: Random) -> None:
    """Hold up commits on the primary, and have it step down while they wait."""
    for _ in range(rng.randint(1, 3)):
        [name] = await cluster.mongod(primary=True)
        held = rng.randint(300, 1500)
        async with cluster.servers.mongod_client(name) as client:
            await _fail(client, ["commitTransaction"], 4, blockConnection=True, blockTimeMS=held)
            await _until_held(client)
            await lasts(rng, (0.0, held / 2000))
            await client.admin.command("replSetStepDown", 4, secondaryCatchUpPeriodSecs=1, force=True)
            if (await client.admin.command("hello"))["isWritablePrimary"]:
                raise NotReached(f"{name} is still primary")


async def _until_held(client: Client) -> None:
    """Wait until a commit of the roles waits."""
    held: list[Document] = [
        {"$currentOp": {"allUsers": True}},
        {"$match": {"active": True, "command.commitTransaction": {"$exists": True}}},
    ]
    try:
        async with asyncio.timeout(_REACHED_WITHIN_SECONDS):
            while not await (await client.admin.aggregate(held)).to_list():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise NotReached("nobody committed") from None


async def leave_commits_unknown(cluster: Cluster, rng: Random) -> None:
    """Have commits and first logins made and not acknowledged, or cut off before they are made."""
    [name] = await cluster.mongod(primary=True)
    async with cluster.servers.mongod_client(name) as client:
        before = await _fail(client, [], 0)
        for _ in range(rng.randint(3, 8)):
            commands = rng.choice([["commitTransaction"], ["update"], ["insert"], ["commitTransaction", "update"]])
            code = rng.choice([_SHUTDOWN_IN_PROGRESS, _WRITE_CONCERN_FAILED])
            unacknowledged: Document = {"writeConcernError": {"code": code, "errmsg": "injected"}}
            how = rng.choice([{"closeConnection": True}, unacknowledged])
            await _fail(client, commands, rng.randint(1, 6), **how)
            await lasts(rng, (0.2, 1.0))
        if await _fail(client, [], 0) == before:
            raise NotReached("no command failed")


def roll_back_store(targets: Targets) -> Act:
    """Give NATS servers their store of some time ago, as a disk restored from a backup would.

    If one of them led the stream it leads again before that, with messages that its old store has not.
    """

    async def act(cluster: Cluster, rng: Random) -> None:
        names = await targets(cluster, rng)
        led = await cluster.stream_leader()
        children = [cluster.children[name] for name in names]
        await asyncio.gather(*(child.stop() for child in children))
        for name in names:
            shutil.copytree(cluster.root / name, cluster.root / f"{name}.old")
        copied = max(len(read_replica(cluster.root / name, STREAM, 1)) for name in names)
        await asyncio.gather(*(cluster.begin(name) for name in names))
        await lasts(rng, CUT_SECONDS)
        if led in names:
            await cluster.make_leader(led)
        if (await cluster.jetstream.stream_info(STREAM)).state.last_seq <= copied:
            raise NotReached("nothing was published that the old store has not")
        await asyncio.gather(*(child.kill() for child in children))
        for name in names:
            shutil.rmtree(cluster.root / name)
            (cluster.root / f"{name}.old").rename(cluster.root / name)
        await asyncio.gather(*(cluster.begin(name) for name in names))
        await _renew_replicas_behind(cluster)

    return act


async def _renew_replicas_behind(cluster: Cluster) -> None:
    """Do what docs/runbook.md says of a replica that does not catch up: give that server an empty store.

    When a majority forgot what the third still knows, its Raft log contradicts theirs, and NATS leaves it behind.
    """
    try:
        async with asyncio.timeout(_REACHED_WITHIN_SECONDS):
            while await cluster.replicas_behind():
                await asyncio.sleep(0.25)
    except TimeoutError:
        for name in await cluster.replicas_behind():
            await cluster.children[name].stop()
            shutil.rmtree(cluster.root / name)
            await cluster.begin(name)


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
    await cluster.make_leader(name)
    cluster.mended_at = time.monotonic()


async def _oldest(cluster: Cluster) -> Timestamp:
    """Give how far the primary's oplog reaches back."""
    while True:
        with suppress(OperationFailure):  # what is read may be forgotten meanwhile
            [entry] = await cluster.mongo["local"]["oplog.rs"].find().sort("$natural", 1).limit(1).to_list()
            oldest: Timestamp = entry["ts"]
            return oldest


async def lose_oplog_history(cluster: Cluster, rng: Random) -> None:
    """With both relays stopped, write until the oplog has forgotten where the ledger ends (it is kept small)."""
    relays = cluster.names("relay")
    await asyncio.gather(*(cluster.children[name].stop() for name in relays))
    hello = await cluster.mongo.admin.command("hello")
    stopped: Timestamp = hello["lastWrite"]["opTime"]["ts"]
    await lasts(rng, KILLED_SECONDS)
    junk = cluster.mongo["junk"].get_collection("junk", write_concern=WriteConcern("majority"))
    async with asyncio.timeout(60):
        while await _oldest(cluster) <= stopped:
            await junk.insert_many([{"filling": rng.randbytes(500_000)} for _ in range(8)])
    await junk.drop()
    await asyncio.gather(*(cluster.begin(name) for name in relays))
