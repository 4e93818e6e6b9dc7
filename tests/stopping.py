"""SIGSTOP that has happened: the signal is on its way for a moment, in which the process may still answer."""

import os
import signal
import time
from pathlib import Path

_SECONDS = 10


def stop(pid: int | None) -> None:
    """Stop a process, and return when each of its threads has stopped."""
    assert pid is not None, "it does not run"
    os.kill(pid, signal.SIGSTOP)
    give_up_at = time.monotonic() + _SECONDS
    while not all(_has_stopped(task) for task in Path(f"/proc/{pid}/task").iterdir()):
        assert time.monotonic() < give_up_at, f"process {pid} does not stop"
        os.sched_yield()


def _has_stopped(task: Path) -> bool:
    return (task / "stat").read_text().rpartition(")")[2].split()[0] in "TZ"
