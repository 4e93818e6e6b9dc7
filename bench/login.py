"""Logins and registrations through the whole stack, against bare Argon2 verifications on the same cores.

The ratio is that of rates: what the client itself uses of the cores is taken out. What a login costs beside its
hash is measured with the cheapest hash, where it is not the small difference of two large figures.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import uvloop
from figures import Figure, median, progress
from lab import CHEAP, PASSWORD, account, login, person
from open_loop import Answers, Target, closed_loop, post
from stack import Stack, running_stack
from uuid_utils.compat import uuid7

from earlybird.infra.mongo import connect_mongo
from earlybird.settings import Settings

ROUNDS, SECONDS, AT_ONCE = 5, 5.0, 12
_FEW = 50  # people who log in again and again
_CORES = len(os.sched_getaffinity(0))
_OURS = ("identity", "relay", "granter", "envoy")
_BARE = """
import sys, time, threading
from argon2 import PasswordHasher
hasher = PasswordHasher(time_cost=int(sys.argv[1]), memory_cost=int(sys.argv[2]), parallelism=1)
password = "correct horse battery"
hashed, done, end = hasher.hash(password), [], time.monotonic() + float(sys.argv[3])
def work():
    count = 0
    while time.monotonic() < end:
        hasher.verify(hashed, password)
        count += 1
    done.append(count)
threads = [threading.Thread(target=work) for _ in range(int(sys.argv[4]))]
for one in threads: one.start()
for one in threads: one.join()
print(sum(done), time.process_time())
"""


def bare_hash(iterations: int, memory_kib: int, seconds: float = 2) -> tuple[float, float]:
    """Return bare verifications a second on all cores, and the CPU seconds of each."""
    arguments = [sys.executable, "-c", _BARE, str(iterations), str(memory_kib), str(seconds), str(_CORES)]
    count, cpu = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()
    return int(count) / seconds, float(cpu) / int(count)


async def add_accounts(stack: Stack, count: int, password_hash: str) -> list[bytes]:
    """Put accounts into the database that have never logged in; return their logins."""
    now = datetime.now(UTC)
    prefix = uuid7().hex[-12:]
    async with connect_mongo(Settings(mongodb_uri=stack.mongodb_uri), "bench") as client:  # type: ignore[arg-type]
        documents = [
            account(i, uuid7(), now, password_hash)
            | {"username": f"{prefix}-{i}", "email": f"{prefix}-{i}@example.com", "phone": f"{prefix}{i}"}
            for i in range(count)
        ]
        await client["identity"]["users"].insert_many(documents, ordered=False)
    return [post("/login", login(i, prefix)) for i in range(count)]


async def turn(
    stack: Stack, target: Target, requests: Sequence[bytes]
) -> tuple[Answers, Mapping[str, float], float]:
    """Send for some seconds, as fast as answers come; return answers, CPU by part, and the seconds."""
    before, started = stack.used(), asyncio.get_running_loop().time()
    answers = await closed_loop(target, list(requests), AT_ONCE, SECONDS)
    seconds = asyncio.get_running_loop().time() - started
    after = stack.used()
    return answers, {part: after[part] - before[part] for part in after}, seconds


async def logins(
    stack: Stack, settings: Settings, expected_per_second: float, *, again: bool = False
) -> list[tuple[float, ...]]:
    """Measure first logins, or those of a few people who log in `again` and again.

    Return for each round: the ratio, logins a second, and CPU in ms by part.
    """
    from argon2 import PasswordHasher

    hasher = PasswordHasher(settings.password_iterations, settings.password_memory_kib, parallelism=1)
    password_hash, target, rows = hasher.hash(PASSWORD), Target(stack.port), []
    for round_ in range(ROUNDS + 1):
        bare, hash_cpu = bare_hash(settings.password_iterations, settings.password_memory_kib)
        enough = int(expected_per_second * SECONDS * 1.5)
        if not again:
            requests = await add_accounts(stack, enough, password_hash)
        elif round_ == 0:
            requests = await add_accounts(stack, _FEW, password_hash) * (enough // _FEW + 1)
        answers, used, seconds = await turn(stack, target, requests)
        done = answers.count(200)
        assert answers.errors == 0, {status: len(some) for status, some in answers.seconds.items()}
        free_cores = _CORES - used["client"] / seconds
        ratio = done / seconds / (bare * free_cores / _CORES)
        beside = (sum(used[part] for part in _OURS) / done - hash_cpu) * 1000
        if round_:  # the first warms up
            rows.append(
                (
                    ratio,
                    done / seconds,
                    beside,
                    *(used[part] / done * 1000 for part in (*_OURS, "mongod", "valkey")),
                )
            )
    target.close()
    return rows


async def registrations(stack: Stack, settings: Settings) -> float:
    """Return the CPU of a registration beside its hash, in ms."""
    target, rows = Target(stack.port), []
    _, hash_cpu = bare_hash(settings.password_iterations, settings.password_memory_kib)
    for round_ in range(3):
        prefix = uuid7().hex[-12:]
        requests = [post("/register", person(i + 20_000_000 * (round_ + 1), prefix)) for i in range(6000)]
        answers, used, _ = await turn(stack, target, requests)
        done = answers.count(200)
        rows.append((sum(used[part] for part in _OURS) / done - hash_cpu) * 1000)
    target.close()
    return median(rows)


async def measure() -> list[Figure]:
    """Measure, and return the figures."""
    progress("logins with the real hash, against bare hashes")
    limits = {"EARLYBIRD_SOURCE_REGISTRATIONS": "1000000"}
    async with running_stack(limits) as stack:
        first = await logins(stack, Settings(), 110)
        later = await logins(stack, Settings(), 70, again=True)
    ratio, rate = (median([row[i] for row in first]) for i in (0, 1))
    ratio_again, rate_again = (median([row[i] for row in later]) for i in (0, 1))
    progress("logins and registrations with the cheapest hash")
    async with running_stack(limits | CHEAP) as stack:
        cheap = Settings(password_memory_kib=8, password_iterations=1)
        rows = await logins(stack, cheap, 700)
        registered = await registrations(stack, cheap)
    beside, *parts = (median([row[i] for row in rows]) for i in range(2, len(rows[0])))
    print(
        json.dumps(dict(zip((*_OURS, "mongod", "valkey"), (round(one, 3) for one in parts), strict=True))),
        file=sys.stderr,
    )
    return [
        Figure("login", "rate ÷ that of bare hashes, client taken out", ratio, "", at_least=0.95),
        Figure("login", "first logins a second, real hash", rate, "/s"),
        Figure("login", "… the ratio of people who log in again", ratio_again, "", at_least=0.95),
        Figure("login", "logins again a second, real hash", rate_again, "/s"),
        Figure("login", "CPU beside the hash: identity, relay, granter, Envoy", beside, "ms", at_most=1.5),
        *(
            Figure("login", f"… of it {part}" if part in _OURS else f"besides: {part}", value, "ms")
            for part, value in zip((*_OURS, "mongod", "valkey"), parts, strict=True)
        ),
        Figure("login", "registration: CPU beside the hash", registered, "ms", at_most=1.5),
    ]


if __name__ == "__main__":
    for figure in uvloop.run(measure()):
        print(figure)
