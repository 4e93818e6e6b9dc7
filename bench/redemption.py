"""Redemptions of one pinned promotions process: rate, times at half load and at nine tenths, and 200 at once."""

import asyncio
import itertools
import statistics
from collections.abc import Iterator, Sequence

import uvloop
from figures import Figure, progress
from lab import CHEAP, Lab, Process, laboratory, point_at
from open_loop import Answers, answer, closed_loop, open_loop, poisson

PER_TURN, AT_ONCE, SECONDS = 3000, 16, 4.0
_numbers = itertools.count()


def redeem(token: str, path: str = "/voucher/redemptions") -> bytes:
    """Build a redemption, or a reservation, with a key of its own."""
    body = b'{"amount":100000,"currency":"VND"}'
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        f"Idempotency-Key: bench-{next(_numbers)}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def at_once(process: Process, requests: Sequence[bytes]) -> list[int]:
    """Send all at the same time; return the statuses."""
    return list(await asyncio.gather(*(answer(process.target, one) for one in requests)))


async def measure_with(lab: Lab) -> list[Figure]:
    """Measure, and return the figures."""
    async with lab.role("identity", core=None, **CHEAP) as identity:
        point_at(lab.environment, identity.port)
        async with lab.role("promotions") as promotions:
            rounds = itertools.count(1)

            async def fresh(count: int) -> Iterator[bytes]:
                return iter([redeem(token) for token in await lab.winners(count, next(rounds))])

            rates, costs = [], []
            for round_ in range(6):
                requests = list(await fresh(PER_TURN))
                before = promotions.cpu_seconds()
                answers = await closed_loop(promotions.target, requests, AT_ONCE, SECONDS)
                assert set(answers.seconds) <= {200, 404}, answers.seconds.keys()
                done = answers.count(200)
                if round_:
                    rates.append(done / SECONDS)
                    costs.append((promotions.cpu_seconds() - before) / done * 1000)
            rate = statistics.median(rates)
            times: dict[float, Answers] = {}
            for share in (0.5, 0.9):
                requests = list(await fresh(int(rate * share * 6 * 1.3)))
                times[share] = await open_loop(promotions.target, requests, poisson(rate * share, 6, seed=1))
            tokens = await lab.winners(201, next(rounds))
            same = await at_once(promotions, [redeem(tokens[0]) for _ in range(200)])
            each = await at_once(promotions, [redeem(token) for token in tokens[1:]])
    half, most = (times[share].percentile(200, 95) or float("inf") for share in (0.5, 0.9))
    return [
        Figure("redemption", "a second, by one process on one core", rate, "/s"),
        Figure("redemption", "CPU of promotions", statistics.median(costs), "ms"),
        Figure("redemption", "p95 at half load", half * 1000, "ms", at_most=15),
        Figure("redemption", "p95 at nine tenths", most * 1000, "ms", at_most=40),
        Figure("redemption", "200 at once on one voucher: spent", same.count(200), "", at_least=1, at_most=1),
        Figure("redemption", "200 at once on 200 vouchers: spent", each.count(200), "", at_least=200),
    ]


async def measure() -> list[Figure]:
    """Measure, and return the figures."""
    progress("redemptions")
    async with laboratory() as lab:
        return await measure_with(lab)


if __name__ == "__main__":
    for figure in uvloop.run(measure()):
        print(figure)
