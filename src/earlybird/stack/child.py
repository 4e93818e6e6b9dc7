"""One child process: started in its own session, watched until it answers, stopped gently or at once.

Not here: when to start it again (`supervisor`), and what "answers" means (`readiness`).
"""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from earlybird.infra.processes import cancel_until_done
from earlybird.stack import StackError

READY_SECONDS = 60.0
STOP_SECONDS = 15.0
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LOG_TAIL_LINES, _LOG_LINE_CHARACTERS = 5, 300


async def nothing_to_wait_for() -> None:
    """Be ready at once: for a program that serves nothing."""


@dataclass(frozen=True)
class Program:
    """What to run: `until_ready` returns once it truly answers, and is cancelled if it ends before."""

    name: str
    command: Sequence[str]
    port: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)  # on top of our own
    until_ready: Callable[[], Awaitable[None]] = nothing_to_wait_for


class Process(Protocol):
    """What a child runs as."""

    @property
    def pid(self) -> int:
        """Its id."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for the signal that ended it; None while it runs."""

    async def wait(self) -> int:
        """Wait until it is gone; return the exit code."""

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""


Start = Callable[[Program, Path], Awaitable[Process]]


async def spawned(program: Program, log: Path) -> Process:
    """Run a program, which appends what it prints to `log`."""
    with log.open("ab") as file:
        return await asyncio.create_subprocess_exec(
            *program.command,
            env=os.environ | program.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # a Ctrl-C in the terminal reaches `up` alone, which stops in order
            preexec_fn=die_with(os.getpid()) if sys.platform == "linux" else None,
        )


class Child:
    """A program and its present process, if any. Use it from one event loop, in a thread that lives on:

    on Linux the process is killed when the thread that started it ends, so that nothing outlives a killed `up`.
    """

    def __init__(self, program: Program, logs: Path, start: Start = spawned) -> None:
        """Run `program`, and append what it prints to `<name>.log` in `logs`."""
        self.program = program
        self.name = program.name
        self.log = logs / f"{program.name}.log"
        self.answers = False
        self._start = start
        self._process: Process | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The id of the running process; None while there is none."""
        return self._process.pid if self._process and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether its process exists, answering or not."""
        return self._process is not None and self._process.returncode is None

    async def start(self, within_seconds: float | None = READY_SECONDS) -> None:
        """Start it if it does not run, and wait until it answers; StackError if it ends first or is late."""
        if not self.is_running:
            await self._spawn()
        await self._answer(within_seconds)

    async def run(self) -> None:
        """Start it, and wait until it has ended well; StackError if it fails."""
        await self._spawn()
        if await self.ended() != 0:
            raise StackError(self._obituary("failed"))

    async def ended(self) -> int:
        """Wait until its process is gone; return the exit code, negative for the signal that ended it."""
        code = await self._process.wait() if self._process else 0
        self.answers = False
        return code

    async def stop(self, within_seconds: float = STOP_SECONDS) -> None:
        """End it with SIGTERM, and with SIGKILL if that takes too long. Nothing if it does not run."""
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(within_seconds):
                await self.ended()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it with SIGKILL, and wait until it is gone. Nothing if it does not run."""
        self.send(signal.SIGKILL)
        await self.ended()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs: to this process alone."""
        if self._process and self.is_running:
            self._process.send_signal(number)

    async def _spawn(self) -> None:
        self.answers = False
        try:
            self._log_start = self.log.stat().st_size if self.log.exists() else 0
            self._process = await self._start(self.program, self.log)
        except OSError as error:
            msg = f"{self.name} cannot be started: {error}"
            raise StackError(msg) from None

    async def _answer(self, within_seconds: float | None) -> None:
        ready = asyncio.ensure_future(self.program.until_ready())
        ended = asyncio.ensure_future(self.ended())
        try:
            await asyncio.wait({ready, ended}, timeout=within_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            outcomes = await _settled(ready, ended)
        if not self.is_running:
            raise StackError(self._obituary("stopped before it answered"))
        if isinstance(outcomes[0], asyncio.CancelledError):
            msg = f"{self.name} runs but did not answer within {within_seconds:.0f} s; its log: {self.log}"
            raise StackError(msg)
        if outcomes[0] is not None:
            raise outcomes[0]
        self.answers = True

    def _obituary(self, fate: str) -> str:
        code = self._process.returncode if self._process else None
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").strip().splitlines()[-_LOG_TAIL_LINES:]
        tail = "".join(f"\n    {line[:_LOG_LINE_CHARACTERS]}" for line in lines) or " (empty)"
        return f"{self.name} {fate} (exit code {code}); its log, {self.log}, ends with:{tail}"


async def _settled(*tasks: asyncio.Future[Any]) -> list[BaseException | None]:
    await cancel_until_done(tasks)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    return [outcome if isinstance(outcome, BaseException) else None for outcome in outcomes]


def die_with(parent: int) -> Callable[[], None]:
    """Return what a child does before its program begins: ask Linux to kill it when its parent dies."""
    libc = ctypes.CDLL(None)  # loaded here: between fork and exec as little as possible may happen

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask
