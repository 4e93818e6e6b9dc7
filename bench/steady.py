"""Logins at four fifths of the capacity: no failure, no growth.

python bench/steady.py [seconds]      a minute as part of `make bench`; half an hour is the goal
"""

import asyncio
import sys
from pathlib import Path

import uvloop
from argon2 import PasswordHasher
from figures import Figure, progress
from lab import PASSWORD
from login import add_accounts
from open_loop import Target, closed_loop, open_loop, poisson
from stack import Stack, running_stack

from earlybird.infra.mongo import connect_mongo
from earlybird.infra.nats import connect_nats
from earlybird.settings import Settings

SHARE = 0.8
_OURS = ("identity", "promotions", "relay", "granter", "webhooks", "pages")


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def held(stack: Stack) -> dict[str, float]:
    """Return what our processes hold: MiB and descriptors, connections to MongoDB and consumers in NATS."""
    pids = [pid for part in _OURS for pid in stack.pids(part)]
    descriptors = sum(map(_descriptors, pids))
    memory = sum(value for name, value in stack.memory().items() if name.startswith(_OURS))
    settings = Settings(mongodb_uri=stack.mongodb_uri, nats_url=stack.nats_url)  # type: ignore[arg-type]
    async with connect_mongo(settings, "bench") as mongo, connect_nats(settings, "bench") as nats:
        connections = (await mongo["admin"].command("serverStatus"))["connections"]["current"]
        consumers = (await nats.jetstream().account_info()).consumers
    return {
        "memory": memory,
        "descriptors": descriptors,
        "connections to MongoDB": connections,
        "consumers in NATS": consumers,
    }


async def measure(seconds: float = 60) -> list[Figure]:
    """Measure, and return the figures."""
    progress(f"{seconds:.0f} seconds at four fifths of the capacity")
    settings = Settings()
    hasher = PasswordHasher(settings.password_iterations, settings.password_memory_kib, parallelism=1)
    password_hash = hasher.hash(PASSWORD)
    async with running_stack() as stack:
        target = Target(stack.port)
        known = await add_accounts(stack, 2000, password_hash)
        peak = (await closed_loop(target, known, 12, 8)).count(200) / 8
        rate = peak * SHARE
        logins = await add_accounts(stack, int(rate * (seconds + 30) * 1.2), password_hash)
        await open_loop(target, logins[: int(rate * 25)], poisson(rate, 20, seed=3))  # pools and caches fill
        before = await held(stack)
        answers = await open_loop(target, logins[int(rate * 25) :], poisson(rate, seconds, seed=4))
        await asyncio.sleep(1)
        after = await held(stack)
        target.close()
    name = f"{seconds:.0f} s at four fifths"
    done = answers.count(200)
    progress(f"{name}: answers by status: { ({status: len(one) for status, one in answers.seconds.items()}) }")
    return [
        Figure(name, "logins", done, ""),
        Figure(name, "failed", sum(map(len, answers.seconds.values())) - done, "", at_most=0),
        Figure(name, "p99 of a login", (answers.percentile(200, 99) or 99) * 1000, "ms", at_most=500),
        Figure(
            name, "growth of memory, all processes", (after["memory"] / before["memory"] - 1) * 100, "%", at_most=5
        ),
        *(
            Figure(name, f"growth of {what}", after[what] - before[what], "", at_most=most)
            for what, most in (("descriptors", 10), ("connections to MongoDB", 10), ("consumers in NATS", 2))
        ),
    ]


if __name__ == "__main__":
    length = float((sys.argv[1:] or ["60"])[0])
    figures = uvloop.run(measure(length))
    from measure import keep

    keep(f"steady {length:.0f}", figures)
    for figure in figures:
        print(figure)
