"""GET /voucher against an empty FastAPI route: rates of one pinned process, and CPU time per request."""

import uvloop
from figures import Figure, median, progress
from lab import CHEAP, Lab, Process, laboratory, point_at, tokens
from open_loop import closed_loop, get

PEOPLE, WINNERS = 1000, 500
CONNECTIONS, SECONDS, ROUNDS = 64, 1.0, 9


async def turn(process: Process, requests: list[bytes]) -> tuple[float, float]:
    """Return requests per second, and microseconds of the process's CPU for each."""
    before = process.cpu_seconds()
    answers = await closed_loop(process.target, requests, CONNECTIONS, SECONDS)
    done = answers.count(200) + answers.count(400)
    assert done == sum(map(len, answers.seconds.values())), answers.seconds.keys()
    return done / SECONDS, (process.cpu_seconds() - before) / done * 1e6


async def measure_with(lab: Lab) -> list[Figure]:
    """Measure, and return the figures."""
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
            reads, nothing, rows = [get("/voucher", token) for token in held], [get("/empty")], []
            for round_ in range(ROUNDS + 1):
                of_empty, of_read = await turn(empty, nothing), await turn(promotions, reads)
                ratios = of_read[0] / of_empty[0], of_empty[1] / of_read[1]
                if round_:  # the first warms up
                    rows.append((*of_empty, *of_read, *await turn(uncached, reads), *ratios))
    empty_rate, empty_cpu, rate, cpu, uncached_rate, uncached_cpu, rates, cpus = map(
        median, zip(*rows, strict=True)
    )
    return [
        Figure("GET /voucher", "rate ÷ that of an empty FastAPI route", rates, "", at_least=1.3),
        Figure("GET /voucher", "… the same by CPU per request", cpus, "", at_least=1.3),
        Figure("GET /voucher", "a second, one process", rate, "/s"),
        Figure("GET /voucher", "CPU", cpu, "µs"),
        Figure("GET /voucher", "an empty route: a second", empty_rate, "/s"),
        Figure("GET /voucher", "an empty route: CPU", empty_cpu, "µs"),
        Figure("GET /voucher", "without a cache: a second", uncached_rate, "/s"),
        Figure("GET /voucher", "without a cache: CPU", uncached_cpu, "µs"),
    ]


async def measure() -> list[Figure]:
    """Measure, and return the figures."""
    progress("GET /voucher, against an empty route")
    async with laboratory() as lab:
        return await measure_with(lab)


if __name__ == "__main__":
    for figure in uvloop.run(measure()):
        print(figure)
