"""The commands, as processes of their own, on the test's servers."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient
from nats.js import JetStreamContext
from nats.js.api import StreamInfo
from people import open_campaign
from pydantic import SecretStr
from runbook import run

from earlybird.cli.services import migrate
from earlybird.errors import Failure
from earlybird.events import STREAM, SUBJECT
from earlybird.infra.mongo import Client
from earlybird.operations import reset_stream
from earlybird.settings import Settings
from free_ports import free_port


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


@pytest.fixture
def local_stack(settings: Settings, tmp_path: Path) -> Path:
    """The folder of a local stack, as far as commands look at it: it names the test's servers."""
    folder = tmp_path / "stack"
    folder.mkdir()
    urls = {name: getattr(settings, name).get_secret_value() for name in ("mongodb_uri", "nats_url", "valkey_url")}
    (folder / "stack.json").write_text(json.dumps(urls))
    return folder


@pytest.fixture
def elsewhere(settings: Settings) -> Settings:
    """Settings of another deployment, which is down."""
    nowhere = f"127.0.0.1:{free_port()}"
    return settings.model_copy(
        update={
            "mongodb_uri": SecretStr(f"mongodb://{nowhere}/?replicaSet=earlybird"),
            "nats_url": SecretStr(f"tls://{nowhere}"),
        }
    )


@pytest.mark.usefixtures("mongo")
async def test_a_folder_that_is_named_goes_before_the_deployment_of_the_environment(
    elsewhere: Settings,
    local_stack: Path,
    broker: NatsClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EARLYBIRD_NATS_CA_FILE", str(tmp_path / "elsewhere.pem"))
    await broker.jetstream().add_stream(name=STREAM, subjects=[SUBJECT])
    code, output = await run(f"earlybird audit --data-dir {local_stack}", elsewhere, tmp_path)
    assert (code, "Audit passed" in output) == (0, True), output
    code, output = await run(f"earlybird migrate --data-dir {local_stack}", elsewhere, tmp_path)
    assert (code, output) == (0, "nothing to do\n")


async def test_the_default_folder_that_is_named_goes_before_the_environment_too(
    elsewhere: Settings, tmp_path: Path
) -> None:
    code, output = await run("earlybird reset-stream --data-dir .earlybird", elsewhere, tmp_path)
    assert (code, output.startswith("earlybird: no stack is running in .earlybird")) == (1, True), output


async def test_migrate_needs_a_stack_or_a_deployment_like_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EARLYBIRD_MONGODB_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Failure, match=r"no stack is running in \.earlybird"):
        migrate()


class SlowRelay(JetStreamContext):
    """JetStream whose stream has one message more at each look, until it has so many; a look takes 40 seconds."""

    def __init__(self, broker: NatsClient, until: int) -> None:
        super().__init__(broker)
        self._until = until
        self.seconds = 0.0

    async def stream_info(self, *words: Any, **options: Any) -> StreamInfo:
        self.seconds += 40
        info = await super().stream_info(*words, **options)
        if info.state.last_seq < self._until:
            await self.publish(SUBJECT, b"")
        return info


@pytest.mark.usefixtures("mongo")
async def test_a_stream_is_waited_for_as_long_as_it_grows(
    broker: NatsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await broker.jetstream().add_stream(name=STREAM, subjects=[SUBJECT])
    jetstream = SlowRelay(broker, until=4)
    monkeypatch.setattr(reset_stream, "time", SimpleNamespace(monotonic=lambda: jetstream.seconds))
    await reset_stream.until_refilled(jetstream, 4)
    assert jetstream.seconds == 200
    with pytest.raises(Failure, match="up to 4 of 5, and has not grown for 60 s: does a relay run"):
        await reset_stream.until_refilled(jetstream, 5)
