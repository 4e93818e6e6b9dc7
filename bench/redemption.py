"""Redemptions of one pinned promotions process: rate, times at half load and at nine tenths, and 200 at once."""

import asyncio
import itertools
import json
import statistics
from collections.abc import Iterator, Sequence

import uvloop
from figures import Figure, progress
from lab import CHEAP, Lab, laboratory, point_at, winners
from latency import Connections
from open_loop import Target, answer, closed_loop, open_loop, poisson
from stack import running_stack

from earlybird.infra.mongo import connect_mongo
from earlybird.settings import Settings

PER_TURN, AT_ONCE, SECONDS, ROUNDS = 2000, 16, 4.0, 5
_numbers = itertools.count()


def redeem(token: str, path: str = "/voucher/redemptions", body: bytes | None = None) -> bytes:
    """Build a redemption, or what else is sent to a path, with a key of its own."""
    number = next(_numbers)
    body = body if body is not None else b'{"order_id":"topup-%d","amount":100000,"currency":"VND"}' % number
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        f"Idempotency-Key: bench-{number}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def at_once(target: Target, requests: Sequence[bytes]) -> list[int]:
    """Send all at the same time; return the statuses."""
    return list(await asyncio.gather(*(answer(target, one) for one in requests)))


async def reserve_and_confirm(port: int, tokens: Sequence[str]) -> float:
    """Hold and confirm a voucher each, four people at once; return the 95th percentile of the seconds for both."""
    connections, loop, left, seconds = Connections(port), asyncio.get_running_loop(), iter(tokens), []

    async def one_after_another() -> None:
        for token in left:
            started = loop.time()
            status, body = await connections.exchange(redeem(token, "/voucher/reservations"))
            assert status in {200, 201}, body
            held = json.loads(body)["reservation"]["id"]
            status, body = await connections.exchange(
                redeem(token, f"/voucher/reservations/{held}/confirm", body=b"")
            )
            assert status in {200, 201}, body
            seconds.append(loop.time() - started)

    await asyncio.gather(*(one_after_another() for _ in range(4)))
    connections.close()
    return statistics.quantiles(seconds, n=20)[18]


async def rate_of_one(lab: Lab, rounds: Iterator[int]) -> tuple[float, float]:
    """Return redemptions a second of one pinned process, and its CPU for each, in ms."""
    async with lab.role("identity", core=None, **CHEAP) as identity:
        point_at(lab.environment, identity.port)
        async with lab.role("promotions") as promotions:
            rates, costs = [], []
            for round_ in range(ROUNDS + 1):
                requests = [redeem(token) for token in await lab.winners(PER_TURN, next(rounds))]
                before = promotions.cpu_seconds()
                answers = await closed_loop(promotions.target, requests, AT_ONCE, SECONDS)
                done = answers.count(200)
                if round_:
                    rates.append(done / SECONDS)
                    costs.append((promotions.cpu_seconds() - before) / done * 1000)
    return statistics.median(rates), statistics.median(costs)


async def through_the_stack(rounds: Iterator[int]) -> dict[str, float]:
    """Measure times at half load and at nine tenths, and who wins a race, with all the machine's cores for all."""
    async with running_stack(CHEAP) as stack:
        settings = Settings(mongodb_uri=stack.mongodb_uri)  # type: ignore[arg-type]
        async with connect_mongo(settings, "bench") as mongo:

            async def fresh(count: int) -> list[str]:
                return await winners(mongo, stack.data_dir / "signing-keys", count, next(rounds))

            target, found = Target(stack.port), {}
            peak = []
            for _ in range(3):
                requests = [redeem(token) for token in await fresh(PER_TURN)]
                peak.append((await closed_loop(target, requests, AT_ONCE, SECONDS)).count(200) / SECONDS)
            found["rate"] = rate = statistics.median(peak)
            for share in (0.5, 0.9):
                p95 = []
                for seed in range(3):
                    requests = [redeem(token) for token in await fresh(int(rate * share * SECONDS * 1.4))]
                    answers = await open_loop(target, requests, poisson(rate * share, SECONDS, seed))
                    p95.append((answers.percentile(200, 95) or float("inf")) * 1000)
                found[str(share)] = statistics.median(p95)
            found["both"] = await reserve_and_confirm(stack.port, await fresh(600)) * 1000
            tokens = await fresh(201)
            found["same"] = (await at_once(target, [redeem(tokens[0]) for _ in range(200)])).count(200)
            found["each"] = (await at_once(target, [redeem(token) for token in tokens[1:]])).count(200)
            target.close()
    return found


async def measure() -> list[Figure]:
    """Measure, and return the figures."""
    progress("redemptions")
    rounds = itertools.count(1)
    async with laboratory() as lab:
        rate, cost = await rate_of_one(lab, rounds)
    found = await through_the_stack(rounds)
    return [
        Figure("redemption", "a second, by one process on one core", rate, "/s"),
        Figure("redemption", "CPU of promotions", cost, "ms"),
        Figure("redemption", "a second, whole stack", found["rate"], "/s"),
        Figure("redemption", "p95 at half load", found["0.5"], "ms", at_most=15),
        Figure("redemption", "p95 at nine tenths", found["0.9"], "ms", at_most=40),
        Figure("redemption", "reserve and confirm: both, p95 with 4 at once", found["both"], "ms"),
        Figure("redemption", "200 at once on one voucher: spent", found["same"], "", at_least=1, at_most=1),
        Figure("redemption", "200 at once on 200 vouchers: spent", found["each"], "", at_least=200),
    ]


if __name__ == "__main__":
    for figure in uvloop.run(measure()):
        print(figure)
