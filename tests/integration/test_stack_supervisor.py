"""Children that die, hang or are told to stop, and what the supervisor makes of them."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from stack_processes import LISTEN_FOREVER, die_with_their_parent, eventually, python

from earlybird.stack import supervisor as pauses
from earlybird.stack.child import Child
from earlybird.stack.status import StackFile
from earlybird.stack.supervisor import Supervisor

STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"
)


@pytest.fixture
async def child(tmp_path: Path) -> AsyncIterator[Child]:
    child = python("valkey", LISTEN_FOREVER, tmp_path)
    yield child
    await child.kill()


async def test_a_child_that_dies_is_started_again_and_the_person_is_told(
    child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "FIRST_PAUSE_SECONDS", 0.01)
    said: list[str] = []
    supervisor = Supervisor(said.append, lambda: None)
    await supervisor.start(child)
    first = child.pid
    child.send(signal.SIGKILL)
    await eventually(lambda: child.answers and child.pid != first)
    await supervisor.stop([[child]])
    assert re.fullmatch(
        r"valkey stopped \(exit code -9; its log: .*/valkey\.log\); starting it again in .*", said[0]
    )
    assert said[1:] == ["valkey answers again"]


async def test_a_child_that_keeps_dying_is_started_ever_more_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(pauses, "LONGEST_PAUSE_SECONDS", 0.04)
    assert await _announced_pauses(tmp_path, 4) == ["0.01", "0.02", "0.04", "0.04"]


async def test_a_child_that_lived_well_is_started_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(pauses, "HEALTHY_SECONDS", 0)
    assert await _announced_pauses(tmp_path, 3) == ["0.01", "0.01", "0.01"]


async def test_the_stack_file_follows_every_death_and_return(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "FIRST_PAUSE_SECONDS", 0.01)
    file = StackFile(tmp_path / "stack.json", {"url": "http://127.0.0.1:8080"}, [child])
    seen: list[int | None] = []

    def refresh() -> None:
        file.refresh()
        seen.append(json.loads((tmp_path / "stack.json").read_text())["processes"]["valkey"]["pid"])

    supervisor = Supervisor(lambda _: None, refresh)
    await supervisor.start(child)
    file.publish()
    child.send(signal.SIGKILL)
    await eventually(lambda: len(seen) == 2)
    assert seen == [None, child.pid]
    await supervisor.stop([[child]])
    file.withdraw()
    assert not (tmp_path / "stack.json").exists()


async def test_children_stop_group_after_group(tmp_path: Path) -> None:
    late = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(print(time.time())))\n"
    children = [python(name, f"{late}print(flush=True)\nsignal.pause()", tmp_path) for name in ("envoy", "mongod")]
    supervisor = Supervisor(lambda _: None, lambda: None)
    for child in children:
        await supervisor.start(child)
        await eventually(lambda child=child: child.log.stat().st_size > 0)  # type: ignore[misc]
    await supervisor.stop([[child] for child in children])
    stopped = [float(child.log.read_text()) for child in children]
    assert stopped == sorted(stopped)
    assert [child.pid for child in children] == [None, None]


async def test_a_child_that_ignores_sigterm_is_killed_in_the_end(tmp_path: Path) -> None:
    child = python("mongod-1", STUBBORN, tmp_path)
    await child.start()
    await eventually(lambda: child.log.stat().st_size > 0)
    await child.stop(within_seconds=0.1)
    assert child.pid is None
    assert await child.ended() == -signal.SIGKILL


async def test_a_second_order_to_stop_kills_at_once(tmp_path: Path) -> None:
    child = python("mongod-1", STUBBORN, tmp_path)
    supervisor = Supervisor(lambda _: None, lambda: None)
    await supervisor.start(child)
    await eventually(lambda: child.log.stat().st_size > 0)
    stopping = asyncio.create_task(supervisor.stop([[child]]))
    await asyncio.sleep(0)
    supervisor.kill()
    async with asyncio.timeout(5):
        await stopping
    assert await child.ended() == -signal.SIGKILL


async def test_a_ctrl_c_in_the_terminal_does_not_reach_the_children(child: Child) -> None:
    await child.start()
    assert child.pid is not None
    assert os.getsid(child.pid) == child.pid


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot tie a child's life to its parent's")
async def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    await die_with_their_parent(sys.executable, "-c", _PARENT, str(tmp_path))


_PARENT = f"""
import asyncio, pathlib, sys
from earlybird.stack.child import Child, Program

async def main():
    child = Child(Program("child", [sys.executable, "-c", {LISTEN_FOREVER!r}]), pathlib.Path(sys.argv[1]))
    await child.start()
    print(child.pid, flush=True)
    await child.ended()

asyncio.run(main())
"""


async def _announced_pauses(logs: Path, number: int) -> list[str]:
    """Let a child die again and again; return the pauses that were announced, in seconds."""
    said: list[str] = []
    supervisor = Supervisor(said.append, lambda: None)
    child = python("granter", "raise SystemExit(1)", logs)
    await supervisor.start(child)
    await eventually(lambda: sum("in " in line for line in said) >= number)
    await supervisor.stop([[child]])
    return [line.rpartition(" in ")[2].removesuffix(" s") for line in said if " in " in line][:number]
