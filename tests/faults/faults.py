"""The faults: each begins, lasts, and ends with every process running again and every way open.

How long things last is drawn from the run's random numbers; that time passes is what a fault is about, so `lasts`
sleeps.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from random import Random

import libfaketime

from faults.cluster import Cluster

Targets = Callable[[Cluster, Random], Awaitable[list[str]]]
Act = Callable[[Cluster, Random], Awaitable[None]]

KILLED_SECONDS = (0.0, 3.0)
PAUSED_SECONDS = (5.0, 30.0)
CUT_SECONDS = (3.0, 10.0)
_AWARE_WITHIN_SECONDS = 15  # a mongod may have prepared a journal of 100 MB
SKEW = ("+1h", "-1h")


class NotReached(AssertionError):
    """The fault did not come about: the run says nothing of it."""


async def lasts(rng: Random, bounds: tuple[float, float]) -> None:
    """Let the fault last; short ones are likelier."""
    await asyncio.sleep(rng.triangular(*bounds, bounds[0]))


# Whom it hits.


async def primary(cluster: Cluster, rng: Random) -> list[str]:
    """The mongod that is primary."""
    return await cluster.mongod(primary=True)


async def secondary(cluster: Cluster, rng: Random) -> list[str]:
    """A mongod that is not."""
    return [rng.choice(await cluster.mongod(primary=False))]


async def leader(cluster: Cluster, rng: Random) -> list[str]:
    """The NATS server that leads the stream of first logins."""
    return [await cluster.stream_leader()]


async def follower(cluster: Cluster, rng: Random) -> list[str]:
    """A NATS server that does not."""
    leads = await cluster.stream_leader()
    return [rng.choice([name for name in cluster.names("nats") if name != leads])]


async def leader_and_follower(cluster: Cluster, rng: Random) -> list[str]:
    """A majority of the NATS servers, with the one that leads."""
    return await leader(cluster, rng) + await follower(cluster, rng)


def one(kind: str) -> Targets:
    """Any one process of a kind."""

    async def choose(cluster: Cluster, rng: Random) -> list[str]:
        return [rng.choice(cluster.names(kind))]

    return choose


def every(*kinds: str) -> Targets:
    """All processes of some kinds."""

    async def choose(cluster: Cluster, rng: Random) -> list[str]:
        return [name for kind in kinds for name in cluster.names(kind)]

    return choose


# What happens to them.


def kill(targets: Targets) -> Act:
    """SIGKILL, all at the same moment; started again some time later."""

    async def act(cluster: Cluster, rng: Random) -> None:
        names = await targets(cluster, rng)
        await asyncio.gather(*(cluster.children[name].kill() for name in names))
        await lasts(rng, KILLED_SECONDS)
        await asyncio.gather(*(cluster.begin(name) for name in names))

    return act


def pause(targets: Targets) -> Act:
    """SIGSTOP, then SIGCONT: a zombie that wakes up after others have moved on."""

    async def act(cluster: Cluster, rng: Random) -> None:
        names = await targets(cluster, rng)
        for name in names:
            cluster.children[name].send(signal.SIGSTOP)
        try:
            await lasts(rng, PAUSED_SECONDS)
        finally:
            for name in names:
                cluster.children[name].send(signal.SIGCONT)

    return act


def partition(targets: Targets, *, one_way: bool = False) -> Act:
    """Cut off from everybody else, but not from each other; one way: either what it sends or what it is sent."""

    async def act(cluster: Cluster, rng: Random) -> None:
        inside = await targets(cluster, rng)
        outside = [name for name in cluster.children if name not in inside]
        outgoing, incoming = list(product(inside, outside)), list(product(outside, inside))
        await _cut(cluster, rng, rng.choice([outgoing, incoming]) if one_way else outgoing + incoming)

    return act


def part_from_peers(targets: Targets) -> Act:
    """Cut off from the others of their kind alone: everybody else goes on to talk to either side."""

    async def act(cluster: Cluster, rng: Random) -> None:
        [name] = await targets(cluster, rng)
        peers = [peer for peer in cluster.names(name.rpartition("-")[0]) if peer != name]
        await _cut(cluster, rng, [*product([name], peers), *product(peers, [name])])

    return act


async def _cut(cluster: Cluster, rng: Random, ways: Iterable[tuple[str, str]]) -> None:
    await cluster.cut(ways)
    held_bytes = 0
    try:
        await lasts(rng, CUT_SECONDS)
    finally:
        held_bytes = await cluster.cut([])
    if not held_bytes:
        raise NotReached("nothing was sent along the ways that were cut")


def cut_between(some: str, others: Sequence[str], *, one_way: bool = False) -> Act:
    """Cut the ways between one process and one of some others."""

    async def act(cluster: Cluster, rng: Random) -> None:
        other = rng.choice(others)
        ways = [(some, other), (other, some)]
        await _cut(cluster, rng, [rng.choice(ways)] if one_way else ways)

    return act


def drop_connections(targets: Targets) -> Act:
    """Abort every connection to them, a few times over."""

    async def act(cluster: Cluster, rng: Random) -> None:
        for _ in range(rng.randint(1, 6)):
            await cluster.drop(await targets(cluster, rng))
            await lasts(rng, (0.05, 1.0))

    return act


def skew_clock(targets: Targets, *, primary: bool = False) -> Act:
    """Have them live an hour earlier or later for a while (their monotonic clock goes on as it is).

    A mongod that was primary is made `primary` again, or another would date the first logins.
    """

    async def act(cluster: Cluster, rng: Random) -> None:
        names = await targets(cluster, rng)
        await asyncio.gather(*(cluster.restart(name, **_fake_time(rng.choice(SKEW))) for name in names))
        for name in names:
            await _see_skew(cluster, name, primary=primary)
        skewed = [cluster.children[name].pid for name in names]
        await lasts(rng, CUT_SECONDS)
        await asyncio.gather(*(cluster.restart(name) for name in names))
        for pid in skewed:  # libfaketime's own, which it leaves behind
            for file in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
                Path("/dev/shm", file).unlink(missing_ok=True)  # noqa: S108  # not ours to choose

    return act


async def _see_skew(cluster: Cluster, name: str, *, primary: bool) -> None:
    """See that a process lives in another hour: by a mongod's own word, by the library in any other."""
    if not name.startswith("mongod"):
        if "libfaketime" not in Path("/proc", str(cluster.children[name].pid), "maps").read_text():
            raise NotReached(f"{name} has the clock of everybody else")
        return
    if primary:
        await cluster.make_primary(name)
    hello = await cluster.hello(name)
    off = hello["localTime"].replace(tzinfo=UTC) - datetime.now(UTC)
    if abs(off) < timedelta(minutes=50) or hello["isWritablePrimary"] is not primary:
        raise NotReached(f"{name} is {off} off, or not what it should be")


def _fake_time(skew: str) -> dict[str, str]:
    library = Path(libfaketime.__file__).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
    return {"LD_PRELOAD": str(library), "FAKETIME": skew, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


async def rolling_restart(cluster: Cluster, rng: Random) -> None:
    """Restart every process, one after the other, in any order."""
    names = [name for name in cluster.children if name != "network"]
    for name in rng.sample(names, len(names)):
        await cluster.restart(name)


def fill_disk(targets: Targets) -> Act:
    """Fill the file system that holds their data, until they fail or a while is over; then free it and restart."""

    async def act(cluster: Cluster, rng: Random) -> None:
        names = await targets(cluster, rng)
        ballasts = [cluster.root / name / "ballast" for name in names]
        logged = {name: cluster.children[name].log.stat().st_size for name in names}
        for ballast in ballasts:
            _fill(ballast)
        await lasts(rng, CUT_SECONDS)
        unaware = await _unaware(cluster, logged)
        for name, ballast in zip(names, ballasts, strict=True):
            await cluster.children[name].kill()
            ballast.unlink()
            await cluster.begin(name)
        if unaware:
            raise NotReached(f"the disk was full, and {unaware} had nothing to write")

    return act


async def _unaware(cluster: Cluster, logged: dict[str, int]) -> list[str]:
    """Give those who do not say, in their log from there on, that their disk is full; after some patience."""
    for _ in range(_AWARE_WITHIN_SECONDS):
        logs = {name: cluster.children[name].log.read_bytes()[start:] for name, start in logged.items()}
        unaware = [name for name, log in logs.items() if b"o space left" not in log]
        if not unaware:
            break
        await asyncio.sleep(1)
    return unaware


def _fill(ballast: Path) -> None:
    block = bytes(1024 * 1024)
    with ballast.open("wb", buffering=0) as file:
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2]  # down to the last byte
