"""Python programs as forks of one process that has imported their libraries, rather than each started by itself.

`python -m earlybird serve identity` imports for most of a second, and a stack has eight such roles. The fork
server (that of `multiprocessing`) imports once, and each role is a fork of it: the same command, with its own
environment, session and log. It ends with the process that started it, and what it forked ends with it.
"""

import asyncio
import ctypes
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path

from earlybird.stack.child import Program, die_with

_context = multiprocessing.get_context("forkserver")
_FIRST = "earlybird.stack.fork_server"
_context.set_forkserver_preload([_FIRST])
_PR_SET_NAME = 15  # prctl(2)


async def start_fork_server(imports: str) -> None:
    """Start the fork server, and wait until it has imported this module."""
    _context.set_forkserver_preload([_FIRST, imports])
    forkserver.ensure_running()  # in this thread, for it ends with the thread that starts it
    first = _context.Process(target=int)
    await asyncio.to_thread(first.start)
    await asyncio.to_thread(first.join)
    first.close()


async def forked(program: Program, log: Path) -> "Forked":
    """Run a program whose command is `python -m …` as a fork, which appends what it prints to `log`."""
    return Forked(program, log)


class Forked:
    """A fork, as asyncio's Process shows a child. Use it from one event loop."""

    def __init__(self, program: Program, log: Path) -> None:
        """Fork now, or when the imports are done. Raises OSError for a log that cannot be written."""
        log.touch()
        module = program.command[program.command.index("-m") + 1 :]
        environment = os.environ | program.environment
        self._process = _context.Process(target=_run, args=(program.name, module, dict(environment), log))
        self._process.start()
        assert self._process.pid is not None  # noqa: S101  # it has started
        self.pid: int = self._process.pid
        self._sentinel = self._process.sentinel
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self._sentinel, self._note_the_end)

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for the signal that ended it; None while it runs."""
        return self._code.result() if self._code.done() else None

    async def wait(self) -> int:
        """Wait until it is gone; return the exit code."""
        return await asyncio.shield(self._code)

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def _note_the_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._sentinel)
        self._process.join()
        self._code.set_result(self._process.exitcode or 0)
        self._process.close()


def _run(name: str, module: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """Become `python -m <module>`: what an exec would have done, and no more."""
    from earlybird.stack import fork_server

    if sys.platform == "linux":
        die_with(fork_server.PID)()
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())  # what `ps` and `top` show
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = list(module)
    runpy.run_module(module[0], run_name="__main__", alter_sys=True)
