"""A running `earlybird up`: its address, its processes, and what each has used."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

_START_SECONDS = 90
# By whose name a process of the stack begins: its part.
PARTS = ("identity", "promotions", "relay", "granter", "pages", "envoy", "mongod", "nats", "valkey")


def cpu_seconds(pid: int) -> float:
    """Return what all threads of a process have used of a core so far, by the kernel's own clock."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in tasks) / 1e9


def machine_cpu_seconds() -> float:
    """Return the CPU seconds that the whole machine has used."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int) -> float:
    """Return the resident set of a process."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


class Stack:
    """A running stack."""

    def __init__(self, data_dir: Path, program: str) -> None:
        self._program = program
        file = json.loads((data_dir / "stack.json").read_text())
        self.data_dir = data_dir
        self.url: str = file["url"]
        self.port = int(self.url.rpartition(":")[2])
        self.mongodb_uri: str = file["mongodb_uri"]
        self.nats_url: str = file["nats_url"]
        self.processes: dict[str, dict[str, Any]] = file["processes"]

    async def raise_vouchers(self, number: int) -> None:
        """Raise the number of vouchers of the campaign that is open."""
        edit = ("campaign", "edit", "Launch", "--number", str(number), "--data-dir", str(self.data_dir))
        child = await asyncio.create_subprocess_exec(
            self._program, "-m", "earlybird", *edit, stdout=asyncio.subprocess.DEVNULL
        )
        assert await child.wait() == 0

    def pids(self, part: str) -> list[int]:
        """Return the processes of a part."""
        return [one["pid"] for name, one in self.processes.items() if name.startswith(part) and one["pid"]]

    def used(self) -> dict[str, float]:
        """Return the CPU seconds that each part has used; `client` is this process."""
        found = {part: sum(map(cpu_seconds, self.pids(part))) for part in PARTS}
        return found | {"client": cpu_seconds(os.getpid())}

    def memory(self) -> dict[str, float]:
        """Return the resident set of each process, in MiB."""
        return {name: memory_mib(one["pid"]) for name, one in self.processes.items() if one["pid"]}


@asynccontextmanager
async def running_stack(
    changes: Mapping[str, str] | None = None, *options: str, program: str = sys.executable
) -> AsyncIterator[Stack]:
    """Run a fresh stack on a free port, until the block ends; `program` is the Python that has it installed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EARLYBIRD_")}
    with tempfile.TemporaryDirectory() as folder:
        data_dir, output = Path(folder) / "data", Path(folder) / "output"
        command = [program, "-m", "earlybird", "up", "--port", "0", "--data-dir", str(data_dir), *options]
        with output.open("wb") as log:
            up = await asyncio.create_subprocess_exec(
                *command, stdout=log, stderr=log, env=environment | (changes or {}), cwd=folder
            )
        try:
            async with asyncio.timeout(_START_SECONDS):
                while "Stop with Ctrl-C." not in output.read_text():
                    assert up.returncode is None, output.read_text()
                    await asyncio.sleep(0.05)
            yield Stack(data_dir, program)
        finally:
            if up.returncode is None:
                up.terminate()
            await up.wait()
