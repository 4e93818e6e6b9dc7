"""What a login and a read cost while the data grow: accounts are put into MongoDB directly.

python bench/growth.py [accounts …]      10,000 and 200,000 as part of `make bench`
"""

import random
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from argon2 import PasswordHasher
from figures import Figure, median, progress
from lab import CHEAP, PASSWORD, Lab, Process, account, laboratory, point_at
from open_loop import closed_loop, get, post
from uuid_utils.compat import uuid7

from earlybird.events import FirstLogin
from earlybird.identity.sessions.signer import TokenSigner
from earlybird.identity.sessions.signing_keys import KeyFolder
from earlybird.promotions.granting.store import GrantStore

SIZES = (10_000, 200_000)
ROUNDS, SECONDS, AT_ONCE, PICKED, WINNERS = 5, 2.0, 16, 2_000, 1_000
_AT_A_TIME = 10_000


async def grow(lab: Lab, begin: int, end: int, password_hash: str) -> None:
    """Add accounts with these numbers."""
    users = lab.mongo["identity"]["users"]
    for first in range(begin, end, _AT_A_TIME):
        now = datetime.now(UTC)
        some = range(first, min(first + _AT_A_TIME, end))
        await users.insert_many([account(i, uuid7(), now, password_hash) for i in some], ordered=False)
        if first % 1_000_000 == 0 and first:
            progress(f"{first:,} accounts")


async def cpu(process: Process, requests: list[bytes]) -> float:
    """Return the CPU of a process per request, in µs: the median of some rounds."""
    rounds = []
    for round_ in range(ROUNDS + 1):
        before = process.cpu_seconds()
        answers = await closed_loop(process.target, requests, AT_ONCE, SECONDS)
        done = answers.count(200) + answers.count(400)
        if round_:
            rounds.append((process.cpu_seconds() - before) / done * 1e6)
    return median(rounds)


async def measure(sizes: tuple[int, ...] = SIZES) -> list[Figure]:
    """Measure, and return the figures."""
    progress(f"growth: {', '.join(f'{one:,}' for one in sizes)} accounts")
    password_hash = PasswordHasher(1, 8, parallelism=1).hash(PASSWORD)
    found: dict[int, tuple[float, float]] = {}
    source = random.Random(5)
    async with laboratory() as lab, lab.role("identity", **CHEAP) as identity:
        point_at(lab.environment, identity.port)
        async with lab.role("promotions") as promotions:
            folder = Path(lab.environment["EARLYBIRD_SIGNING_KEY_FOLDER"])
            signer = TokenSigner(KeyFolder(folder, None), "earlybird", "earlybird")
            await lab.open_campaign(WINNERS)
            before = 0
            for size in sizes:
                await grow(lab, before, size, password_hash)
                added, before = range(before, size), size  # none of whom has a voucher yet
                users = lab.mongo["identity"]["users"]
                picked = [f"bench-{source.choice(added)}" for _ in range(PICKED)]
                logins = [post("/login", {"username": name, "password": PASSWORD}) for name in picked]
                ids = [one["_id"] async for one in users.find({"username": {"$in": picked}}, {"_id": 1})]
                store, now = GrantStore(lab.mongo["promotions"]), datetime.now(UTC)
                cursor = await store.cursor()
                events = [FirstLogin(cursor + 1 + i, one, now) for i, one in enumerate(ids[:400])]
                await store.commit_awards(cursor, events)
                tokens = [signer.issue(one, ["customer"], now, str(one), 0) for one in ids]
                found[size] = (
                    await cpu(identity, logins),
                    await cpu(promotions, [get("/voucher", one) for one in tokens]),
                )
    smallest = found[sizes[0]]
    return [
        Figure("growth", f"CPU per {what}, {size:,} accounts", found[size][i] / smallest[i], "×", at_most=1.15)
        for size in sizes[1:]
        for i, what in enumerate(("login", "voucher read"))
    ]


if __name__ == "__main__":
    wanted = tuple(map(int, sys.argv[1:])) or SIZES
    figures = uvloop.run(measure(wanted))
    from measure import keep

    keep(f"growth {max(wanted)}", figures)
    for figure in figures:
        print(figure)
