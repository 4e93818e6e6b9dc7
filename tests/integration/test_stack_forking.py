"""A fork is what `python -m` would have been: its own environment, session, log, exit code and random numbers."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from stack_processes import die_with_their_parent, eventually, is_gone

from earlybird.stack import StackError
from earlybird.stack.child import Child, Program
from earlybird.stack.forking import forked, start_fork_server

WHAT_IT_IS = """
import json, os, secrets, sys, uuid_utils
print(json.dumps({
    "arguments": sys.argv[1:],
    "main": __name__,
    "variable": os.environ["OWN"],
    "is_leader": os.getsid(0) == os.getpid(),
    "input": sys.stdin.read(),
    "random": [str(uuid_utils.uuid7()), secrets.token_hex()],
    "name": open("/proc/self/comm").read().strip() if sys.platform == "linux" else "identity-1",
}))
print("an error line", file=sys.stderr)
"""
FOREVER = "import signal; signal.pause()"


@pytest.fixture(autouse=True)
async def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules to be run, in a folder that is searched; and a fork server that is ready."""
    (tmp_path / "what_it_is.py").write_text(WHAT_IT_IS)
    (tmp_path / "forever.py").write_text(FOREVER)
    (tmp_path / "three.py").write_text("raise SystemExit(3)")
    (tmp_path / "broken.py").write_text("print('begins'); 1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    await start_fork_server("json")


def fork(logs: Path, name: str, *module: str, **environment: str) -> Child:
    return Child(Program(name, [sys.executable, "-m", *module], environment=environment), logs, forked)


@pytest.fixture
async def forever(tmp_path: Path) -> AsyncIterator[Child]:
    child = fork(tmp_path, "relay", "forever")
    yield child
    await child.kill()


async def test_it_is_what_python_m_would_have_been(tmp_path: Path) -> None:
    found = []
    for number in ("1", "2"):
        child = fork(tmp_path, f"identity-{number}", "what_it_is", "a", "--b", OWN=f"value {number}")
        await child.run()
        shown, error = child.log.read_text().splitlines()
        assert error == "an error line"
        found.append(json.loads(shown))
    for number, one in zip(("1", "2"), found, strict=True):
        expected = {"arguments": ["a", "--b"], "main": "__main__", "variable": f"value {number}", "input": ""}
        assert {name: one[name] for name in expected} == expected
        assert one["is_leader"]
        assert one["name"] == f"identity-{number}"
    assert not {*found[0]["random"]} & {*found[1]["random"]}
    assert "OWN" not in os.environ


async def test_how_it_ended_is_known(tmp_path: Path, forever: Child) -> None:
    with pytest.raises(StackError, match=r"relay failed \(exit code 3\)"):
        await fork(tmp_path, "relay", "three").run()
    with pytest.raises(StackError, match=r"(?s)exit code 1.*begins.*ZeroDivisionError"):
        await fork(tmp_path, "broken", "broken").run()
    await forever.start()
    forever.send(signal.SIGTERM)
    assert await forever.ended() == -signal.SIGTERM
    assert not forever.is_running


async def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"relay cannot be started: .*none"):
        await fork(tmp_path / "none", "relay", "forever").start()


async def test_a_fork_server_that_dies_takes_its_forks_along_and_another_one_takes_its_place(
    forever: Child,
) -> None:
    await forever.start()
    first = forever.pid or 0
    parent = int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    async with asyncio.timeout(10):
        await forever.ended()
    await eventually(lambda: is_gone(first), within_seconds=5)
    await forever.start()
    assert forever.pid not in {None, first}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot tie a child's life to its parent's")
async def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(_PARENT)
    with TemporaryDirectory() as folder:  # of the fork server's socket, which a killed parent leaves there
        own = os.environ | {"TMPDIR": folder}
        await die_with_their_parent(sys.executable, str(tmp_path / "parent.py"), cwd=tmp_path, env=own)


_PARENT = """
import asyncio, pathlib, sys
from earlybird.stack.child import Child, Program
from earlybird.stack.forking import forked

async def main():
    child = Child(Program("child", [sys.executable, "-m", "forever"]), pathlib.Path(), forked)
    await child.start()
    print(child.pid, flush=True)
    await child.ended()

if __name__ == "__main__":
    asyncio.run(main())
"""
