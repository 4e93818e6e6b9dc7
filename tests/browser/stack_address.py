"""The stack that a browser is pointed at: one that runs already (EARLYBIRD_TEST_URL), or a new one."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_SECONDS = 90


@contextmanager
def stack_url() -> Iterator[str]:
    """Yield the address of a stack; one that is started here is stopped, with its data."""
    running = os.environ.get("EARLYBIRD_TEST_URL")
    if running:
        yield running
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "earlybird", "up", "--port", "0", "--data-dir", folder]
        stack = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            yield _address(Path(folder) / "stack.json", stack)
        finally:
            stack.terminate()
            stack.wait(60)


def _address(file: Path, stack: "subprocess.Popen[bytes]") -> str:
    """Return the address as soon as all runs: the stack writes the file then."""
    deadline = time.monotonic() + _START_SECONDS
    while not file.exists():
        assert stack.poll() is None, "the stack has ended"
        assert time.monotonic() < deadline, "the stack has not started"
        time.sleep(0.1)
    return str(json.loads(file.read_text())["url"])
