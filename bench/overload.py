"""What the system does at one, two, five and ten times the logins that it can bear.

    python bench/overload.py [seconds per load]   # 8 by default; writes docs/overload.svg and docs/overload.md

Starts a stack of its own (`earlybird up`, in a temporary folder, on loopback, passwords hashed as in production),
registers accounts, finds the capacity (16 logins always in flight), then offers logins at fixed rates whatever
comes back: all loads in turn, three times over, and each has the row of its median goodput. Beside them, ten times
a second each: GET /voucher through Envoy, /healthz and /readyz of an identity. Servers and generator share one
machine: the last columns say how much of it each had. A load during which others took much of it is measured
again, ten times at most; then the last stands, and its columns say so.
"""

import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from open_loop import Answers, Target, answer, closed_loop, evenly, get, open_loop, poisson, post
from overload_report import write_report
from stack import Stack, machine_cpu_seconds, running_stack

ACCOUNTS = 300
LOADS = (1, 2, 5, 10)
ROUNDS = 3
PASSWORD = "correct horse battery"
PROBES_PER_SECOND = 10
_IN_FLIGHT = 16  # four to a slot on two cores: all slots busy, none refused
# On a machine that is not ours alone a load waits for others to take no more than this of it (the servers that are
# not named take half), so long at most; and it is measured again when they took more meanwhile, so often at most.
_OTHERS_CORES, _QUIET_SECONDS, _TRIES = 0.2, 60, 10


@dataclass
class Measured:
    """One load: what was offered and what became of it."""

    times: int
    seconds: float
    logins: Answers
    probes: dict[str, Answers]
    peak_rss_mib: float  # of the larger identity process
    cores: dict[str, float]  # busy, on average, by whom

    @property
    def goodput(self) -> float:
        """Accepted logins per second."""
        return self.logins.count(200) / self.seconds

    def row(self) -> dict[str, Any]:
        """Return the figures: rates per second, times in milliseconds."""
        logins, total = self.logins, sum(map(len, self.logins.seconds.values()))
        return {
            "load": f"{self.times}×" if self.times else "peak",
            "offered/s": round(total / self.seconds, 1),
            "accepted/s": round(self.goodput, 1),
            "refused/s": round(logins.count(503) / self.seconds, 1),
            "accepted p50 ms": _ms(logins, 200, 50),
            "accepted p99 ms": _ms(logins, 200, 99),
            "refused p99 ms": _ms(logins, 503, 99),
            **{f"{name} p99 ms": _ms(probe, 200, 99) for name, probe in self.probes.items()},
            "identity RSS MiB": round(self.peak_rss_mib),
            "errors": logins.errors + sum(p.errors + p.count(503) for p in self.probes.values()),
            "late": logins.late,
            **{f"{who} cores": round(cores, 2) for who, cores in self.cores.items()},
        }


class Watched:
    """A stack, and what of it each load is to say."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.identity_port = int(stack.processes["identity-1"]["port"])

    def forget_peak_memory(self) -> None:
        for pid in self.stack.pids("identity"):
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): resets VmHWM

    def peak_rss_mib(self) -> float:
        """Return the largest memory of an identity process since it was last forgotten."""
        lines = (Path(f"/proc/{pid}/status").read_text() for pid in self.stack.pids("identity"))
        return max(int(text.partition("VmHWM:")[2].split()[0]) for text in lines) / 1024

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU time that each part has used; `others` is the rest of the machine."""
        all_parts = self.stack.used()
        used = {part: all_parts[part] for part in ("identity", "envoy", "mongod")} | {
            "generator": all_parts["client"]
        }
        return used | {"others": machine_cpu_seconds() - sum(used.values())}


def _ms(answers: Answers, status: int, percent: float) -> int | None:
    seconds = answers.percentile(status, percent)
    return None if seconds is None else round(seconds * 1000)


async def register(target: Target, names: Iterable[str]) -> None:
    """Make accounts, a few at a time."""
    bodies = [
        {"username": name, "email": f"{name}@example.com", "phone": f"+8490{n:07}", "password": PASSWORD,
         "full_name": "Grace Hopper", "birthday": "1990-12-10"}
        for n, name in enumerate(names)
    ]  # fmt: skip
    requests = [post("/register", json.dumps(body).encode()) for body in bodies]
    slots = asyncio.Semaphore(8)

    async def one(request: bytes) -> None:
        async with slots:
            while (status := await answer(target, request)) != 200:
                assert status == 503, f"a registration was answered {status}"
                await asyncio.sleep(1)  # as Retry-After says

    await asyncio.gather(*map(one, requests))


async def token_of(port: int, request: bytes) -> str:
    """Log in once, slowly but fully; give the token."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    body = await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
    writer.close()
    token: str = json.loads(body)["token"]
    return token


async def measure(stack: Watched, envoy: Target, logins: list[bytes], token: str, times: int, rate: float,
                  seconds: float) -> Measured:  # fmt: skip
    """Offer logins at a rate (or, at 0, as fast as they come back), with probes beside them."""
    identity = Target(stack.identity_port)
    probes = {"voucher": (envoy, get("/voucher", token)), "healthz": (identity, get("/healthz")),
              "readyz": (identity, get("/readyz"))}  # fmt: skip
    stack.forget_peak_memory()
    before = stack.cpu_seconds()
    started = asyncio.get_running_loop().time()
    load = (
        open_loop(envoy, logins, poisson(rate, seconds, seed=times))
        if rate
        else closed_loop(envoy, logins, _IN_FLIGHT, seconds)
    )
    answers, *probed = await asyncio.gather(
        load,
        *(open_loop(target, [request], evenly(PROBES_PER_SECOND, seconds)) for target, request in probes.values()),
    )
    elapsed, after = asyncio.get_running_loop().time() - started, stack.cpu_seconds()
    identity.close()
    cores = {who: (after[who] - before[who]) / elapsed for who in after}
    named = dict(zip(probes, probed, strict=True))
    return Measured(times, seconds, answers, named, stack.peak_rss_mib(), cores)


async def until_quiet(stack: Watched) -> None:
    """Wait until queue and machine have come to rest."""
    for _ in range(_QUIET_SECONDS // 2):
        before = stack.cpu_seconds()["others"]
        await asyncio.sleep(2)
        if (stack.cpu_seconds()["others"] - before) / 2 <= _OTHERS_CORES:
            return


async def run(seconds: float) -> list[Measured]:
    """Measure the peak, then every load; the figures come as they are made, on standard error."""
    names = [f"person-{n}" for n in range(ACCOUNTS)]
    logins = [post("/login", json.dumps({"username": n, "password": PASSWORD}).encode()) for n in names]
    measured: dict[int, list[Measured]] = {times: [] for times in (0, *LOADS)}
    async with running_stack() as running:
        stack, envoy = Watched(running), Target(running.port)
        await register(envoy, names)
        token = await token_of(running.port, logins[0])
        await closed_loop(envoy, logins, _IN_FLIGHT, 3)  # warm
        for times in (0, *LOADS * ROUNDS):
            rate = times * measured[0][0].goodput if times else 0
            for _ in range(_TRIES):
                await until_quiet(stack)
                result = await measure(stack, envoy, logins, token, times, rate, seconds)
                print(result.row(), file=sys.stderr)
                if result.cores["others"] <= _OTHERS_CORES:
                    break
            measured[times].append(result)
        envoy.close()
    return [sorted(rounds, key=lambda one: one.goodput)[len(rounds) // 2] for rounds in measured.values()]


if __name__ == "__main__":
    results = uvloop.run(run(float(sys.argv[1]) if len(sys.argv) > 1 else 8))
    write_report([result.row() for result in results])
