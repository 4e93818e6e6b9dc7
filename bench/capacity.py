"""The model's prediction beside the measurement: logins a second of one, two and four identity processes."""

import asyncio
import contextlib
import os
import statistics
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from timeit import repeat

import uvloop
from argon2 import PasswordHasher
from figures import Figure, progress
from lab import PASSWORD, Lab, account, laboratory
from open_loop import closed_loop, post
from stack import machine_cpu_seconds
from uuid_utils.compat import uuid7

from earlybird.capacity.model import predicted_rate
from earlybird.settings import Settings

COUNTS, SECONDS, ROUNDS = (1, 2, 4), 5.0, 3
"""Each has one slot: it hashes one password at a time, on one core."""


def bare_hash_ms(password_hash: str, cores: int) -> float:
    """Return how long it takes to verify a password while every core does that, for they share their caches."""

    def verify(_: int) -> list[float]:
        return repeat(lambda: PasswordHasher().verify(password_hash, PASSWORD), number=1, repeat=41)

    with ThreadPoolExecutor(cores) as pool:
        return statistics.median(one for times in pool.map(verify, range(cores)) for one in times) * 1000


async def rate_of(lab: Lab, count: int, logins: list[bytes]) -> tuple[float, float, float]:
    """Return logins a second, and the CPU of each in ms: that of these processes, and everybody else's."""
    async with contextlib.AsyncExitStack() as roles:
        started = [
            await roles.enter_async_context(lab.role("identity", core=None, EARLYBIRD_PASSWORD_SLOTS="1"))
            for _ in range(count)
        ]
        rounds = []
        for _ in range(ROUNDS):
            own, all_cpu = sum(one.cpu_seconds() for one in started), machine_cpu_seconds()
            loads = [closed_loop(one.target, logins, 4, SECONDS) for one in started]
            done = sum(one.count(200) for one in await asyncio.gather(*loads))
            own, all_cpu = sum(one.cpu_seconds() for one in started) - own, machine_cpu_seconds() - all_cpu
            rounds.append((done / SECONDS, own / done * 1000, max(0, all_cpu - own) / done * 1000))
    return tuple(statistics.median(column) for column in zip(*rounds, strict=True))  # type: ignore[return-value]


async def measure() -> list[Figure]:
    """Measure, and return the figures."""
    progress("one, two and four processes, against the model")
    settings, cores = Settings(), len(os.sched_getaffinity(0))
    password_hash = PasswordHasher(settings.password_iterations, settings.password_memory_kib, 1).hash(PASSWORD)
    figures = []
    async with laboratory() as lab:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
        now = datetime.now(UTC)
        documents = [account(i, uuid7(), now, password_hash) for i in range(400)]
        await lab.mongo["identity"]["users"].insert_many(documents)
        logins = [post("/login", {"username": f"bench-{i}", "password": PASSWORD}) for i in range(400)]
        hash_ms = bare_hash_ms(password_hash, cores)
        _, own, beside = await rate_of(lab, 1, logins)
        for count in COUNTS:
            measured, *_ = await rate_of(lab, count, logins)
            predicted = predicted_rate(count, cores, hash_ms, own - hash_ms, beside)
            figures += [
                Figure("capacity", f"{count} processes: logins a second measured", measured, "/s"),
                Figure("capacity", f"{count} processes: predicted", predicted, "/s"),
                Figure(
                    "capacity", f"{count} processes: off by", abs(predicted / measured - 1) * 100, "%", at_most=15
                ),
            ]
    return figures


if __name__ == "__main__":
    for figure in uvloop.run(measure()):
        print(figure)
