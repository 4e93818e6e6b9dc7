"""The stack that a browser is pointed at: one that runs already (EARLYBIRD_TEST_URL), or a new one."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from earlybird.stack.readiness import http_answers

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
            yield asyncio.run(_address(Path(folder) / "stack.json", stack))
        finally:
            stack.terminate()
            stack.wait(60)


async def _address(file: Path, stack: "subprocess.Popen[bytes]") -> str:
    import json

    async with asyncio.timeout(_START_SECONDS):
        while not file.exists():
            assert stack.poll() is None, "the stack has ended"
            await asyncio.sleep(0.1)
        url = str(json.loads(file.read_text())["url"])
        await http_answers(url + "/static/nothing", 404)
    return url
