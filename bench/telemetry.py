"""What metrics cost: CPU of a role for each login and each GET /voucher, with them and without.

    python bench/telemetry.py [rounds]

One process each, in which a signal takes every instrument out and puts it back; so what differs between two
processes does not count. Load comes in short turns, which alternate. CPU is that of the process, by the kernel's
own clock. Others on the machine can only add to it: so besides the rounds' ratios it prints those of the first
deciles, the calmest tenth of the turns. The control is a second turn without.
"""

import os
import signal
import statistics
import sys
from collections.abc import Mapping

import uvloop
from lab import CHEAP, Lab, Process, laboratory, login, point_at, tokens
from open_loop import closed_loop_of, get, post

PEOPLE = 32
AT_ONCE = 32
TURNS = {"without": False, "with": True, "control": False}
_WARM_UP = 6  # rounds that do not count


def make_switchable() -> None:
    """Take all instruments out, and put them back, at each SIGUSR1."""
    from prometheus_client import Counter, Gauge, Histogram

    from earlybird.infra.http.metrics import Measured
    from earlybird.infra.mongo_pool import PoolMetrics
    from earlybird.metrics import RequestTimes

    def nothing(*_: object) -> None: ...

    async def hand_on(self: Measured, *call: object) -> None:
        await self._app(*call)  # type: ignore[arg-type]

    others: dict[tuple[type, str], object] = {
        **{(kind, name): nothing for kind in (Counter, Gauge) for name in ("inc",)},
        **{(Gauge, name): nothing for name in ("dec", "set")},
        (Histogram, "observe"): nothing,
        (RequestTimes, "note"): nothing,
        (Measured, "__call__"): hand_on,
        **{(PoolMetrics, name): nothing for name in vars(PoolMetrics) if name.startswith("connection_")},
    }

    def swap(*_: object) -> None:
        for (kind, name), other in list(others.items()):
            others[kind, name] = getattr(kind, name)
            setattr(kind, name, other)

    signal.signal(signal.SIGUSR1, swap)


async def compare(process: Process, requests: list[bytes], count: int, rounds: int) -> Mapping[str, list[float]]:
    """Send so many requests in each turn; return the CPU of each turn, in µs per request."""
    used: dict[str, list[float]] = {turn: [] for turn in TURNS}
    measured = True
    names = list(TURNS)
    for round_ in range(rounds + _WARM_UP):
        shift = round_ % len(names)
        for turn in names[shift:] + names[:shift]:
            if measured != TURNS[turn]:
                os.kill(process.pid, signal.SIGUSR1)
                measured = TURNS[turn]
            before = process.cpu_seconds()
            statuses = await closed_loop_of(process.target, requests, AT_ONCE, count)
            assert statuses == {200}, statuses
            if round_ >= _WARM_UP:
                used[turn].append((process.cpu_seconds() - before) / count * 1e6)
    return used


def said(name: str, used: Mapping[str, list[float]]) -> str:
    """Put the figures into words."""
    lines = [f"{name}: {statistics.median(used['without']):.1f} µs without"]
    for turn in ("with", "control"):
        ratios = [value / base - 1 for base, value in zip(used["without"], used[turn], strict=True)]
        low, ratio, high = statistics.quantiles(ratios, n=4)
        calm = statistics.quantiles(used[turn], n=10)[0] / statistics.quantiles(used["without"], n=10)[0] - 1
        spread = f"quartiles {low:+.1%} … {high:+.1%}"
        lines.append(f"  {turn}: {calm:+.1%} in the calmest tenth; {ratio:+.1%} in a round ({spread})")
    return "\n".join(lines)


async def measure(lab: Lab, rounds: int, command: str = "measured") -> None:
    async with (
        lab.role("identity", command=command, **CHEAP) as cheap,
        lab.role("identity", command=command) as real,
    ):
        point_at(lab.environment, cheap.port)
        await lab.open_campaign(PEOPLE)
        held = await tokens(cheap.port, PEOPLE)
        async with lab.role("relay", core=None), lab.role("granter", core=None):
            await lab.granted(PEOPLE)
        logins = [post("/login", login(i)) for i in range(PEOPLE)]
        async with lab.role("promotions", command=command) as promotions:
            reads = [get("/voucher", token) for token in held]
            print(said("GET /voucher, from the cache", await compare(promotions, reads, 480, rounds)), flush=True)
            print(said("POST /login, with next to no hash", await compare(cheap, logins, 32, rounds)), flush=True)
            print(said("POST /login", await compare(real, logins, 16, rounds // 2)), flush=True)


async def main(rounds: int) -> None:
    async with laboratory() as lab:
        await measure(lab, rounds)


if __name__ == "__main__":
    uvloop.run(main(int((sys.argv[1:] or ["100"])[0])))
