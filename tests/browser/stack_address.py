"""The stack that a browser is pointed at: a new one, or one that runs already.

For that, EARLYBIRD_TEST_URL has its address, and EARLYBIRD_TEST_DATA the folder of its data.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Stack:
    """A running stack: its address, and where its data are."""

    url: str
    data_dir: str

    def command(self, *words: str) -> None:
        """Run a command of ours against it; it must succeed."""
        command = [sys.executable, "-m", "earlybird", *words, "--data-dir", self.data_dir]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def running_stack() -> Iterator[Stack]:
    """Yield a stack; one that is started here is stopped, with its data."""
    running = os.environ.get("EARLYBIRD_TEST_URL")
    if running:
        yield Stack(running, os.environ.get("EARLYBIRD_TEST_DATA", ".earlybird"))
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "earlybird", "up", "--port", "0", "--data-dir", folder]
        stack = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            yield Stack(_address(stack), folder)
        finally:
            stack.terminate()
            stack.communicate(timeout=60)


def _address(stack: "subprocess.Popen[str]") -> str:
    """Return the address, which the stack prints once all runs."""
    assert stack.stdout is not None
    for line in stack.stdout:
        if found := re.search(r"earlybird is running: open (\S+)", line):
            return found[1]
    pytest.fail("the stack has ended before it ran")
