"""Death at a named crash point: both processes of the role carry it, and at least one must reach it."""

import asyncio
import signal
from collections.abc import Sequence
from random import Random

from crash_points import CRASH_POINTS
from earlybird.events import STREAM
from faults.cluster import Cluster
from faults.faults import Act, NotReached

_ROLES = {
    "sequencer": "relay",
    "reconcile": "relay",
    "relay": "relay",
    "publish": "relay",
    "granter": "granter",
    "caretaker": "granter",
    "placer": "granter",
    "publisher": "granter",
    "redemption": "promotions",
    "login": "identity",
}
_REACHED_WITHIN_SECONDS = 30


def role_of(point: str) -> str:
    """Give the role that comes to a crash point."""
    return _ROLES[point.partition(".")[0]]


def combinations() -> list[list[str]]:
    """Put all crash points into as few groups as can be, one of each role in a group.

    No process of a role changes campaigns or accounts, withdraws, or verifies contacts in a run: those crash
    points are reached in test_crashes.py.
    """
    by_role: dict[str, list[str]] = {}
    for point in CRASH_POINTS:
        if point.partition(".")[0] not in _ROLES:
            continue
        by_role.setdefault(role_of(point), []).append(point)
    longest = max(map(len, by_role.values()))
    return [[points[i] for points in by_role.values() if i < len(points)] for i in range(longest)]


def crash(points: Sequence[str]) -> Act:
    """Have each of these roles die at its crash point; then start it again."""

    async def act(cluster: Cluster, rng: Random) -> None:
        await asyncio.gather(*(_crash(cluster, point) for point in points))

    return act


async def _crash(cluster: Cluster, point: str) -> None:
    names = cluster.names(role_of(point))
    await asyncio.gather(*(cluster.children[name].kill() for name in names))
    if point.startswith("reconcile."):
        await cluster.mongo["identity"]["head"].update_one({}, {"$unset": {"start_at": "", "resume_token": ""}})
    if point == "relay.stream_created":
        await cluster.jetstream.delete_stream(STREAM)
    await asyncio.gather(*(cluster.begin(name, EARLYBIRD_CRASH_AT=point) for name in names))
    deaths = [asyncio.create_task(cluster.children[name].ended()) for name in names]
    try:
        done, _ = await asyncio.wait(deaths, timeout=_REACHED_WITHIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in deaths:
            task.cancel()
        await asyncio.gather(*deaths, return_exceptions=True)
        await asyncio.gather(*(cluster.children[name].kill() for name in names))
        await asyncio.gather(*(cluster.begin(name) for name in names))
    if {task.result() for task in done} != {-signal.SIGKILL}:
        raise NotReached(f"nobody died at {point}")
