"""What the tests of the stack share: real processes, asked after by id."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from earlybird.stack.child import Child, Program

LISTEN_FOREVER = "import signal; signal.pause()"


def python(name: str, code: str, logs: Path) -> Child:
    """Return a child that runs this code and counts as ready at once."""
    return Child(Program(name, [sys.executable, "-c", code]), logs)


def is_gone(pid: int) -> bool:
    """Say whether a process has ended, reaped or not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return not Path("/proc/self").exists() or not Path(f"/proc/{pid}").exists()
    return state == "Z"


async def die_with_their_parent(*program: str, **options: Any) -> None:
    """Run a program that starts a child and prints its id. Kill the program: the child must be gone too."""
    parent = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE, **options)
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    assert not is_gone(pid)
    parent.kill()
    await parent.communicate()
    await eventually(lambda: is_gone(pid), within_seconds=5)


async def eventually(holds: Callable[[], bool], within_seconds: float = 30) -> None:
    """Wait until something holds in another process; fail if it does not in time."""
    async with asyncio.timeout(within_seconds):
        while not holds():
            await asyncio.sleep(0.02)
