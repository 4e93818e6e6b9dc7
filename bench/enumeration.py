"""Can a stranger tell accounts by how long a refused login takes? A rank test on 1,000 times each.

Run with `python bench/enumeration.py`. Each refusal is of an account with few failures: no guess has to wait.
"""

import asyncio
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx2
from argon2 import PasswordHasher
from uuid_utils.compat import uuid7

from earlybird.identity.app import migrate_identity
from earlybird.infra.mongo import Client, connect_mongo
from earlybird.settings import Settings
from earlybird.stack.servers import running_servers

TIMES = 1000
PER_ACCOUNT = 8  # failures: fewer than are free
KINDS: dict[str, dict[str, Any]] = {
    "wrong password": {"is_active": 1},
    "disabled": {"is_active": 0},
    "locked": {"is_active": 1, "is_locked": True},
    "unknown": {},
}
PORT = 18_001


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with running_servers(Path(folder) / "data") as servers:
            settings = Settings(
                mongodb_uri=servers.mongodb_uri, nats_url=servers.nats_url, valkey_url=servers.valkey_url
            )
            await migrate_identity(settings)
            async with connect_mongo(settings, "bench") as client:
                await add_accounts(client)
            environment = os.environ | {
                "EARLYBIRD_MONGODB_URI": servers.mongodb_uri,
                "EARLYBIRD_NATS_URL": servers.nats_url,
                "EARLYBIRD_VALKEY_URL": servers.valkey_url,
                "EARLYBIRD_IDENTITY_PORT": str(PORT),
                "EARLYBIRD_SIGNING_KEY_FOLDER": f"{folder}/keys",
            }
            command = [sys.executable, "-m", "earlybird", "serve", "identity"]
            quiet = asyncio.subprocess.DEVNULL
            process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=quiet)
            try:
                report(await measure())
            finally:
                process.terminate()
                await process.wait()


async def add_accounts(client: Client) -> None:
    password, now = PasswordHasher(2, 19_456, parallelism=1).hash("the right password"), datetime.now(UTC)
    for kind, fields in KINDS.items():
        if fields:
            people = [
                {
                    "_id": uuid7(),
                    **dict.fromkeys(("username", "email", "phone"), name(kind, i)),
                    "password": password,
                    "is_first_login": 1,
                    "roles": ["customer"],
                    "created_at": now,
                    **fields,
                }
                for i in range(TIMES // PER_ACCOUNT + 1)
            ]
            await client["identity"]["users"].insert_many(people)


def name(kind: str, i: int) -> str:
    return f"{kind.partition(' ')[0]}-{i}"


async def measure() -> dict[str, list[float]]:
    work = [(kind, i // PER_ACCOUNT) for kind in KINDS for i in range(TIMES)]
    random.shuffle(work)
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", timeout=20) as http:
        while True:
            try:
                if (await http.get("/readyz")).status_code == 200:
                    break
            except httpx2.TransportError:
                await asyncio.sleep(0.1)
        for done, (kind, i) in enumerate(work):
            right = kind in {"disabled", "locked"}  # even the right password is refused there
            password = "the right password" if right else "a wrong password"
            body = {"username": name(kind, i), "password": password}
            began = time.perf_counter()
            answer = await http.post("/login", json=body)
            times[kind].append(time.perf_counter() - began)
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_credentials"), answer.text
            if done % 500 == 0:
                print(f"{done} of {len(work)}", file=sys.stderr)
    return times


def report(times: dict[str, list[float]]) -> None:
    print("| refused because | median | p99 |\n|---|---:|---:|")
    for kind, taken in times.items():
        taken.sort()
        print(
            f"| {kind} | {taken[len(taken) // 2] * 1000:.2f} ms | {taken[len(taken) * 99 // 100] * 1000:.2f} ms |"
        )
    print("\n| two kinds | p-value |\n|---|---:|")
    for one, other in combinations(times, 2):
        print(f"| {one}, {other} | {p_value(times[one], times[other]):.3f} |")


def p_value(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the two-sided p-value of the Mann-Whitney U test, by the normal approximation."""
    n, m = len(one), len(other)
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    rank_sum = sum(rank for rank, (_, group) in enumerate(ranked, start=1) if group == 0)
    u = rank_sum - n * (n + 1) / 2
    z = (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
    return math.erfc(abs(z) / math.sqrt(2))


if __name__ == "__main__":
    asyncio.run(main())
