"""Processes: from import to ready, what each keeps in memory, and how soon a stack is up again."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from figures import Figure, median, progress
from lab import Lab, laboratory, point_at
from stack import running_stack

ROLES = ("identity", "promotions", "relay", "granter", "pages")
ROUNDS = 3
READY_SECONDS, MEMORY_MIB, UP_SECONDS = 1.0, 110, 4.0


async def seconds_to_ready(lab: Lab, role: str) -> float:
    """Start a role, and return the seconds until it is ready."""
    started = time.perf_counter()
    async with lab.role(role, core=None, tick_seconds=0.01):
        return time.perf_counter() - started


async def warm_starts(count: int) -> list[float]:
    """Start a stack again and again on the same data; return the seconds of each start but the first."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count + 1):
            started = time.perf_counter()
            up = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "earlybird", "up", "--port", "0", "--data-dir", str(Path(folder) / "data"),
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert up.stdout is not None
            while b"Stop with Ctrl-C." not in await up.stdout.readline():
                assert up.returncode is None
            seconds.append(time.perf_counter() - started)
            up.terminate()
            await up.communicate()
    return seconds[1:]


async def measure() -> list[Figure]:
    """Measure, and return the figures."""
    progress("processes: start and memory")
    async with laboratory() as lab, lab.role("identity", core=None) as identity:  # whose keys others wait for
        point_at(lab.environment, identity.port)
        ready = {role: median([await seconds_to_ready(lab, role) for _ in range(ROUNDS)]) for role in ROLES}
    up = median(await warm_starts(3))
    async with running_stack() as stack:
        memory = stack.memory()
    slowest, largest = (
        max(ready, key=ready.__getitem__),
        max((n for n in memory if n.startswith(ROLES)), key=memory.__getitem__),
    )
    return [
        Figure(
            "processes", f"import to ready, the slowest ({slowest})", ready[slowest], "s", at_most=READY_SECONDS
        ),
        Figure(
            "processes", f"resident memory, the largest ({largest})", memory[largest], "MiB", at_most=MEMORY_MIB
        ),
        Figure("processes", "`earlybird up`, warm", up, "s", at_most=UP_SECONDS),
    ]


if __name__ == "__main__":
    for figure in uvloop.run(measure()):
        print(figure)
