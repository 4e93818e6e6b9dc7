"""From the answer to a first login to its voucher in the API, at six tenths of the capacity and at all of it."""

import asyncio
import json

import uvloop
from argon2 import PasswordHasher
from figures import Figure, median, progress
from lab import PASSWORD
from login import add_accounts
from open_loop import Target, closed_loop, get, poisson
from stack import Stack, running_stack

from earlybird.settings import Settings

SECONDS, POLL_SECONDS, ROUNDS = 10.0, 0.002, 3
_PATIENCE_SECONDS = 10


class Connections:
    """Kept connections to one port, for exchanges whose answer is read whole."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send, and return the status and the body."""
        reader, writer = self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        body = await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
        self._free.append((reader, writer))
        return int(head[9:12]), body

    def close(self) -> None:
        """Close all."""
        for _, writer in self._free:
            writer.close()


async def until_voucher(connections: Connections, request: bytes) -> float | None:
    """Log in, and return the seconds from the answer until the voucher is shown; None for a refused login."""
    status, body = await connections.exchange(request)
    if status != 200:
        return None
    answered = asyncio.get_running_loop().time()
    read = get("/voucher", json.loads(body)["token"])
    while (await connections.exchange(read))[0] != 200:
        assert asyncio.get_running_loop().time() < answered + _PATIENCE_SECONDS, "no voucher"
        await asyncio.sleep(POLL_SECONDS)
    return asyncio.get_running_loop().time() - answered


async def at_rate(stack: Stack, logins: list[bytes], rate: float) -> list[float]:
    """Have people log in at this rate; return what each waited for the voucher."""
    connections, loop = Connections(stack.port), asyncio.get_running_loop()
    started, tasks = loop.time(), []
    for request, moment in zip(logins, poisson(rate, SECONDS, seed=7), strict=False):
        await asyncio.sleep(max(0, started + moment - loop.time()))
        tasks.append(asyncio.create_task(until_voucher(connections, request)))
    waited = [one for one in await asyncio.gather(*tasks) if one is not None]
    connections.close()
    return sorted(waited)


def percentile(ordered: list[float], percent: float) -> float:
    """Return a percentile by nearest rank."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


async def measure() -> list[Figure]:
    """Measure, and return the figures."""
    progress("from login to voucher")
    settings = Settings()
    hasher = PasswordHasher(settings.password_iterations, settings.password_memory_kib, parallelism=1)
    password_hash = hasher.hash(PASSWORD)
    async with running_stack() as stack:
        await stack.raise_vouchers(1_000_000)
        target = Target(stack.port)
        peak = await closed_loop(target, await add_accounts(stack, 800, password_hash), 12, 5)
        target.close()
        rate, found = peak.count(200) / 5, {}
        for share in (0.6, 1.0):
            rounds = []
            for _ in range(ROUNDS):
                logins = await add_accounts(stack, int(rate * share * SECONDS * 1.3), password_hash)
                waited = await at_rate(stack, logins, rate * share)
                rounds.append((percentile(waited, 50) * 1000, percentile(waited, 99) * 1000))
            found[share] = [median(column) for column in zip(*rounds, strict=True)]
    return [
        Figure("login to voucher", "p50 at six tenths of the logins", found[0.6][0], "ms", at_most=15),
        Figure("login to voucher", "p99 at six tenths of the logins", found[0.6][1], "ms", at_most=50),
        Figure("login to voucher", "p50 at saturation", found[1.0][0], "ms"),
        Figure("login to voucher", "p99 at saturation", found[1.0][1], "ms", at_most=300),
    ]


if __name__ == "__main__":
    for figure in uvloop.run(measure()):
        print(figure)
