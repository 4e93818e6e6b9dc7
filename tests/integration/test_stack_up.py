"""`earlybird up` as a person runs it: the real servers, the real roles, real signals."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
from people import registration
from pymongo import AsyncMongoClient
from stack_processes import eventually, is_gone

from earlybird.stack.servers import running_servers
from stopping import stop

NAMES = {
    *("mongod-1", "nats-1", "valkey", "envoy", "relay", "granter", "webhooks", "pages"),
    *("identity-1", "identity-2", "promotions-1", "promotions-2"),
}

pytestmark = pytest.mark.timeout(180)


@dataclass
class Up:
    """A running `earlybird up`."""

    process: asyncio.subprocess.Process
    data_dir: Path

    @property
    def stack(self) -> dict[str, Any]:
        stack: dict[str, Any] = json.loads((self.data_dir / "stack.json").read_text())
        return stack

    @property
    def pids(self) -> dict[str, int | None]:
        return {name: process["pid"] for name, process in self.stack["processes"].items()}

    def children(self) -> list[int]:
        """Return the ids of the programs that it has started, also before stack.json is there.

        Not those that are still on their way to being another program: `up` waits for these, so to stop one
        would be to stop `up` itself.
        """
        started = self._children_of(self.process.pid)
        forks = [child for pid in started if _is_of_multiprocessing(pid) for child in self._children_of(pid)]
        return [pid for pid in started if not _is_of_multiprocessing(pid)] + forks

    def _children_of(self, pid: int) -> list[int]:
        ours = Path(f"/proc/{self.process.pid}/cmdline").read_bytes()
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [child for child in found if Path(f"/proc/{child}/cmdline").read_bytes() not in {b"", ours}]

    async def is_up(self) -> None:
        await eventually((self.data_dir / "stack.json").exists, within_seconds=60)

    async def ends(self) -> int:
        async with asyncio.timeout(40):
            return await self.process.wait()


def _is_of_multiprocessing(pid: int) -> bool:
    """Whether it is the fork server or its helper, which no test is about; what is forked has the same words."""
    return b"multiprocessing" in Path(f"/proc/{pid}/cmdline").read_bytes()


@asynccontextmanager
async def running_up(data_dir: Path, *options: str) -> AsyncIterator[Up]:
    data_dir.parent.mkdir(exist_ok=True)
    # What `up` leaves in the folder for temporary files when it is killed, its fork server's socket, goes too.
    with TemporaryDirectory() as temporary, (data_dir.parent / "out").open("ab") as out:
        own = {"EARLYBIRD_MONGODB_URI": "mongodb://nowhere", "EARLYBIRD_IDENTITY_PORT": "1", "TMPDIR": temporary}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "earlybird", "up", "--port", "0", "--data-dir", str(data_dir), *options),
            stdout=out,
            stderr=out,
            env=os.environ | own,
        )
        try:
            yield Up(process, data_dir)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture(scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    async with running_up(tmp_path_factory.mktemp("up") / "data") as up:
        await up.is_up()
        yield up


async def test_the_stack_file_names_every_process(up: Up) -> None:
    assert set(up.pids) == NAMES
    assert set(up.stack) == {
        *("url", "mongodb_uri", "nats_url", "valkey_url", "verify", "processes"),
        *("webhook_key", "webhook_networks"),
    }
    assert not any(is_gone(pid or 0) for pid in up.pids.values())


@pytest.mark.parametrize("name", ["valkey", "identity-1", "mongod-1", "nats-1", "granter", "envoy"])
async def test_a_process_that_is_killed_comes_back_under_a_new_pid(up: Up, name: str) -> None:
    before = up.pids[name]
    assert before is not None
    os.kill(before, signal.SIGKILL)
    await eventually(lambda: up.pids[name] is None)
    await eventually(lambda: up.pids[name] is not None)
    assert up.pids[name] != before
    assert "starting it again" in (up.data_dir.parent / "out").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_clients_do_not_see_an_identity_die(up: Up, number: signal.Signals) -> None:
    await eventually(lambda: None not in up.pids.values())
    dying = up.pids["identity-1"]
    assert dying is not None
    person = registration(number)
    login = {name: person[name] for name in ("username", "password")}
    statuses: list[int] = []

    async def keep_logging_in(client: httpx2.AsyncClient) -> None:
        while up.pids["identity-1"] in {dying, None} or len(statuses) < 10:
            statuses.append((await client.post(up.stack["url"] + "/login", json=login)).status_code)

    async with httpx2.AsyncClient(trust_env=False, timeout=10) as client, asyncio.TaskGroup() as group:
        assert (await client.post(up.stack["url"] + "/register", json=person)).status_code == 200
        for _ in range(4):
            group.create_task(keep_logging_in(client))
        await eventually(lambda: len(statuses) > 5)
        os.kill(dying, number)
    assert set(statuses) == {200}


async def newest_code(up: Up) -> str:
    """Return the code that `earlybird mail` shows last; wait for it."""
    command = [sys.executable, "-m", "earlybird", "mail", "--last", "1", "--data-dir", str(up.data_dir)]
    async with asyncio.timeout(30):
        while True:
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(*command, stdout=pipe)
            output, _ = await process.communicate()
            if found := re.search(r"^ *([0-9]{6})$", output.decode(), re.MULTILINE):
                return found[1]


async def a_person_gets_in_by_mail(up: Up) -> None:
    """Register, read the code that came to the mail server, confirm, log in; not before."""
    person = registration(1)
    login = {name: person[name] for name in ("username", "password")}
    async with httpx2.AsyncClient(base_url=up.stack["url"], trust_env=False, timeout=10) as client:
        assert (await client.post("/register", json=person)).status_code == 200
        early = await client.post("/login", json=login)
        assert (early.status_code, early.json()["code"]) == (400, "contact_not_verified")
        confirmation = {"username": person["username"], "contact": person["email"], "code": await newest_code(up)}
        assert (await client.post("/verifications/confirm", json=confirmation)).status_code == 200
        assert (await client.post("/login", json=login)).status_code == 200
    assert {*up.pids} == NAMES | {"courier", "mailbox"}


@pytest.mark.slow
async def test_codes_reach_people_and_sigterm_stops_everything_and_a_new_start_finds_the_data(
    tmp_path: Path,
) -> None:
    async with running_up(tmp_path / "data", "--verify", "email") as up:
        await up.is_up()
        await a_person_gets_in_by_mail(up)
        pids, uri = up.pids, up.stack["mongodb_uri"]
        async with AsyncMongoClient[dict[str, Any]](uri, w="majority") as client:
            await client["test"]["kept"].insert_one({"_id": 1})
        up.process.terminate()
        assert await up.ends() == 0
    assert all(is_gone(pid or 0) for pid in pids.values())
    assert not (tmp_path / "data" / "stack.json").exists()

    with socket.socket() as other:  # somebody else has the port meanwhile
        other.bind(("127.0.0.1", int(uri.rpartition(":")[2].partition("/")[0])))
        async with running_servers(tmp_path / "data") as servers:
            assert servers.mongodb_uri != uri
            async with AsyncMongoClient[dict[str, Any]](servers.mongodb_uri) as client:
                assert await client["test"]["kept"].find_one() == {"_id": 1}


@pytest.mark.parametrize("children", [1, 3, 6])
async def test_a_ctrl_c_while_it_starts_stops_what_has_started(tmp_path: Path, children: int) -> None:
    async with running_up(tmp_path / "data") as up:
        await eventually(lambda: up.process.returncode is None and len(up.children()) >= children)
        pids = up.children()
        up.process.send_signal(signal.SIGINT)
        assert await up.ends() == 0
    assert all(is_gone(pid) for pid in pids)
    assert not (tmp_path / "data" / "stack.json").exists()


async def test_a_second_ctrl_c_does_not_wait_for_processes_that_hang(tmp_path: Path) -> None:
    async with running_up(tmp_path / "data") as up:
        await eventually(lambda: len(up.children()) >= 3)
        pids = up.children()
        for pid in pids:
            stop(pid)
        up.process.send_signal(signal.SIGINT)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(up.process.wait(), 0.5)
        up.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(5):
            assert await up.ends() == 0
    assert all(is_gone(pid) for pid in pids)


@pytest.mark.slow
async def test_nothing_is_left_when_up_itself_is_killed_and_the_next_start_works(tmp_path: Path) -> None:
    async with running_up(tmp_path / "data") as up:
        await up.is_up()
        pids = up.pids
        up.process.kill()
        await up.ends()
    await eventually(lambda: all(is_gone(pid or 0) for pid in pids.values()), within_seconds=5)
    async with running_servers(tmp_path / "data") as servers:
        assert servers.process("mongod-1").pid is not None
