"""GET /voucher against an empty FastAPI route: rates of one pinned process, and CPU time per request."""

import statistics

import uvloop
from lab import CHEAP, Lab, Process, laboratory, point_at, tokens
from open_loop import closed_loop, get

PEOPLE, WINNERS = 1000, 500
CONNECTIONS, SECONDS, ROUNDS = 64, 2.0, 5


async def turn(process: Process, requests: list[bytes]) -> tuple[float, float]:
    """Return requests per second, and microseconds of the process's CPU for each."""
    before = process.cpu_seconds()
    answers = await closed_loop(process.target, requests, CONNECTIONS, SECONDS)
    done = answers.count(200) + answers.count(400)
    assert done == sum(map(len, answers.seconds.values())), answers.seconds.keys()
    return done / SECONDS, (process.cpu_seconds() - before) / done * 1e6


async def measure(lab: Lab) -> None:
    async with lab.role("identity", core=None, **CHEAP) as identity:
        point_at(lab.environment, identity.port)
        await lab.open_campaign(WINNERS)
        held = await tokens(identity.port, PEOPLE)
        async with lab.role("relay", core=None), lab.role("granter", core=None):
            await lab.granted(WINNERS)
        async with (
            lab.role("promotions") as promotions,
            lab.role(command="empty") as empty,
            lab.role("promotions", EARLYBIRD_VALKEY_URL="redis://127.0.0.1:1/0") as uncached,
        ):
            reads = [get("/voucher", token) for token in held]
            print(await turn(promotions, reads), await turn(uncached, reads))
            rows = []
            for _ in range(ROUNDS):
                one, other = await turn(empty, [get("/empty")]), await turn(promotions, reads)
                third = await turn(uncached, reads)
                rows.append(
                    (other[0] / one[0], one[1] / other[1], one[0], other[0], one[1], other[1], third[0], third[1])
                )
                print(*(f"{x:.2f}" for x in rows[-1]), flush=True)
            print([round(statistics.median(column), 2) for column in zip(*rows, strict=True)])


async def main() -> None:
    async with laboratory() as lab:
        await measure(lab)


if __name__ == "__main__":
    uvloop.run(main())
