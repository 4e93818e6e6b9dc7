"""Ports: remembered, and never given to two processes."""

import asyncio
from pathlib import Path

import pytest

from earlybird.stack import ports
from earlybird.stack.ports import Ports

NAMES = [f"server-{i}" for i in range(12)]


async def test_processes_that_get_their_ports_one_after_another_share_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The servers get theirs first, and listen on them later: nothing but the memory says that they are taken."""
    monkeypatch.setattr(ports, "HIGHEST", ports.LOWEST + 60)
    memory = tmp_path / "ports.json"
    with Ports(memory) as first:
        servers = await first.assign(NAMES)
        roles = await first.assign([f"role-{i}" for i in range(12)])
    assert len({*servers.values(), *roles.values()}) == 24
    with Ports(memory) as again:
        assert await again.assign([*servers, *roles]) == servers | roles, "and they are remembered"


async def test_stacks_that_start_at_once_share_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "HIGHEST", ports.LOWEST + 60)
    with Ports(tmp_path / "one.json") as one, Ports(tmp_path / "other.json") as other:
        given = [*(await one.assign(NAMES)).values(), *(await other.assign(NAMES)).values()]
    assert len({*given}) == 24


async def test_a_server_can_listen_on_a_port_that_is_held_for_it(tmp_path: Path) -> None:
    with Ports(tmp_path / "ports.json") as held:
        [port] = (await held.assign(["server"])).values()
        async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b""
            writer.close()
