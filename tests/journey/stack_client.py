"""A stack as `earlybird up` runs it, seen from outside: its address, its processes, what it printed."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from free_ports import free_port
from stopping import stop

START_SECONDS = 90
STOP_SECONDS = 45
# Roles inherit the environment: passwords are hashed the cheapest way, and no setting of the caller's gets in.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("EARLYBIRD_")} | {
    "EARLYBIRD_PASSWORD_MEMORY_KIB": "8",
    "EARLYBIRD_PASSWORD_ITERATIONS": "1",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
    "COLUMNS": "160",
}


class RunningStack:
    """A running `earlybird up`, and every process that it ever named."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process = process
        self.data_dir = folder / "data"
        self._output = folder / "output"
        self._named: set[tuple[int, str]] = set()

    @property
    def file(self) -> dict[str, Any]:
        """stack.json as it is now."""
        content: dict[str, Any] = json.loads((self.data_dir / "stack.json").read_text())
        pids = [process["pid"] for process in content["processes"].values()]
        self._named |= {(pid, birth) for pid in pids if pid and (birth := _birth(pid))}
        return content

    @property
    def url(self) -> str:
        return str(self.file["url"])

    @property
    def output(self) -> str:
        """What `up` has printed so far."""
        return self._output.read_text()

    def pid(self, name: str) -> int | None:
        """The process of this name, None while it does not answer."""
        found: int | None = self.file["processes"][name]["pid"]
        return found

    def send(self, number: signal.Signals, *names: str) -> dict[str, int]:
        """Send a signal to processes that run; give their ids."""
        pids = {name: self.pid(name) for name in names}
        running = {name: pid for name, pid in pids.items() if pid}
        assert running.keys() == set(names), f"not all of these run: {pids}"
        for pid in running.values():
            if number == signal.SIGSTOP:
                stop(pid)
            else:
                os.kill(pid, number)
        return running

    async def has_replaced(self, killed: dict[str, int]) -> None:
        """Wait until each of these processes has a successor that answers."""
        await eventually(
            lambda: all(self.pid(name) not in {None, pid} for name, pid in killed.items()),
            otherwise=lambda: f"not restarted: {killed}\n{self.output}",
        )

    def living(self) -> set[int]:
        """Every process that stack.json ever named and that still is."""
        return {pid for pid, birth in self._named if _birth(pid) == birth}

    async def note_processes(self) -> None:
        """Keep reading stack.json, so that no process it names goes unnoticed, until cancelled."""
        while True:
            with suppress(FileNotFoundError):  # it is removed as the stack stops
                _ = self.file
            await asyncio.sleep(0.05)

    async def is_up(self) -> None:
        def up_or_ended() -> bool:
            announced = (self.data_dir / "stack.json").exists() and "Stop with Ctrl-C." in self.output
            return announced or self.process.returncode is not None

        await eventually(up_or_ended, within_seconds=START_SECONDS, otherwise=lambda: self.output)
        assert self.process.returncode is None, self.output

    async def stop(self) -> None:
        """Stop it by SIGTERM, and see that it leaves nothing behind."""
        named = self._named
        assert named, "stack.json named no process"
        self.process.terminate()
        async with asyncio.timeout(STOP_SECONDS):
            code = await self.process.wait()
        assert code == 0, self.output
        assert self.living() == set(), "processes outlive `up`"


@asynccontextmanager
async def running_stack(
    folder: Path, program: Sequence[str | Path] = (sys.executable, "-m", "earlybird")
) -> AsyncIterator[RunningStack]:
    """Run `earlybird up` with its data in `folder`, on a free port; stop it at the end of the block."""
    command = [*program, "up", "--port", str(free_port())]
    with (folder / "output").open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            *("--data-dir", str(folder / "data")),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=ENVIRONMENT,
        )
    stack = RunningStack(process, folder)
    noting = asyncio.create_task(stack.note_processes())
    try:
        await stack.is_up()
        yield stack
        await stack.stop()
    finally:
        noting.cancel()
        await asyncio.gather(noting, return_exceptions=True)
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def run(command: Sequence[str | Path], cwd: Path | None = None, *, within_seconds: float = 60) -> str:
    """Run a program to its end, which must be a success; give what it printed."""
    code, output = await attempt(command, cwd, within_seconds=within_seconds)
    assert code == 0, f"exit code {code}:\n{output}"
    return output


async def attempt(
    command: Sequence[str | Path], cwd: Path | None = None, *, within_seconds: float = 60
) -> tuple[int, str]:
    """Run a program to its end; give its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=ENVIRONMENT,
        cwd=cwd,
    )
    try:
        async with asyncio.timeout(within_seconds):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode()


async def earlybird(stack: RunningStack, *words: str) -> str:
    """Run a command of ours against a stack; it must succeed."""
    return await run([sys.executable, "-m", "earlybird", *words, "--data-dir", stack.data_dir])


async def eventually(
    holds: Callable[[], bool], *, within_seconds: float = 30, otherwise: Callable[[], str] = lambda: "too late"
) -> None:
    """Wait until something holds elsewhere; fail, saying `otherwise`, if it does not in time."""
    deadline = asyncio.get_running_loop().time() + within_seconds
    while not holds():
        assert asyncio.get_running_loop().time() < deadline, otherwise()
        await asyncio.sleep(0.02)


def _birth(pid: int) -> str | None:
    """Tell when a process began, which tells it from another of the same id; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]
