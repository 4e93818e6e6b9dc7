"""The commands, as processes of their own, on the test's servers."""

from pathlib import Path

import pytest
from nats.aio.client import Client as NatsClient
from people import open_campaign
from runbook import run

from earlybird.events import STREAM, SUBJECT
from earlybird.infra.mongo import Client
from earlybird.settings import Settings


@pytest.mark.parametrize(
    "command",
    ["audit", "campaign list", "campaign show", "campaign winners"],
)
async def test_a_campaigns_name_is_shown_as_it_was_chosen(
    command: str,
    mongo: Client,
    broker: NatsClient,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    await broker.jetstream().add_stream(name=STREAM, subjects=[SUBJECT])
    name = "Sale [/2] [vip] :fire:"
    await open_campaign(mongo, 1, name=name)
    code, output = await run(f"earlybird {command}", settings, tmp_path)
    assert (code, name in output) == (0, True), output
