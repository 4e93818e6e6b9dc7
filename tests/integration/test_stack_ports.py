"""Ports: remembered, and never given to two processes."""

from pathlib import Path

import pytest

from earlybird.stack import ports
from earlybird.stack.ports import assign_ports


async def test_processes_that_get_their_ports_one_after_another_share_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The servers get theirs first, and listen on them later: nothing but the memory says that they are taken."""
    monkeypatch.setattr(ports, "HIGHEST", ports.LOWEST + 60)
    memory = tmp_path / "ports.json"
    servers = await assign_ports([f"server-{i}" for i in range(12)], memory)
    roles = await assign_ports([f"role-{i}" for i in range(12)], memory)
    assert len({*servers.values(), *roles.values()}) == 24
    assert await assign_ports([*servers, *roles], memory) == servers | roles, "and they are remembered"
