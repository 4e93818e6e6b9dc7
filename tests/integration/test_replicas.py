"""Three members: what may be a little old is read from secondaries, what decides goes to the primary."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path

import nats.errors
import pytest
from nats.js import JetStreamContext
from people import open_campaign, running, until_logged
from pymongo import monitoring
from structlog.testing import capture_logs
from uuid_utils.compat import uuid7

from earlybird.access.permissions import Caller
from earlybird.events import FirstLogin
from earlybird.identity.accounts.administration import AccountStore
from earlybird.identity.accounts.model import NewUser
from earlybird.identity.accounts.store import UserStore
from earlybird.identity.app import migrate_identity
from earlybird.identity.ledger import relay as relay_module
from earlybird.identity.ledger.relay import Relay
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.mongo import Client, connect_mongo
from earlybird.infra.nats import connect_nats
from earlybird.promotions.app import migrate_promotions
from earlybird.promotions.granting.store import GrantStore
from earlybird.promotions.vouchers.store import VoucherStore
from earlybird.settings import Settings
from earlybird.stack.servers import Servers, running_servers


class Commands(monitoring.CommandListener):
    """Notes where each command went: (name, port), and with which read concern."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []
        self.read_concerns: list[str | None] = []
        self.listening = False

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self.listening and not event.command_name.startswith("sasl"):
            self.sent.append((event.command_name, event.connection_id[1] or 0))
            self.read_concerns.append(event.command.get("readConcern", {}).get("level"))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to note."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to note."""

    @contextmanager
    def noted(self) -> Iterator[list[tuple[str, int]]]:
        self.sent, self.read_concerns, self.listening = [], [], True
        yield self.sent
        self.listening = False


@pytest.fixture(scope="module")
def commands() -> Commands:
    """Every client made after this is listened to."""
    listener = Commands()
    monitoring.register(listener)
    return listener


@pytest.fixture(scope="module")
async def three(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    """Three mongod and three nats-server."""
    async with running_servers(tmp_path_factory.mktemp("three") / "data", members=3) as servers:
        yield servers


@pytest.fixture(scope="module")
async def replicas(three: Servers, commands: Commands) -> AsyncIterator[Client]:  # listens first
    """A client of the three, after every member is known."""
    settings = Settings(mongodb_timeout_seconds=30, mongodb_uri=three.mongodb_uri, nats_url=three.nats_url)
    await migrate_identity(settings)
    await migrate_promotions(settings)
    async with connect_mongo(settings, "test") as client:
        await client.admin.command("ping")
        async with asyncio.timeout(30):
            while len(await client.secondaries) < 2:
                await asyncio.sleep(0.05)
        yield client


async def roles(client: Client, sent: list[tuple[str, int]]) -> list[tuple[str, str]]:
    """Name the member each command went to."""
    primary = await client.primary
    assert primary is not None
    return [(name, "primary" if port == primary[1] else "secondary") for name, port in sent]


def new_user(name: str) -> NewUser:
    phone = f"+8491{uuid7().int % 10**7:07}"
    return NewUser(name, f"{name}@example.com", phone, "", "Some One", date(1990, 12, 10))


async def test_a_login_looks_people_up_on_a_secondary_and_writes_on_the_primary(
    three: Servers, replicas: Client, commands: Commands
) -> None:
    users = UserStore(replicas["identity"])
    user_id = uuid7()
    with commands.noted() as sent:
        await users.insert(user_id, new_user("replicated"), "hash", datetime.now(UTC))
    assert await roles(replicas, sent) == [("insert", "primary")]
    await until_on_every_member(replicas, three)
    with commands.noted() as sent:
        found = await users.find_by_login([("username", "replicated")])
        await users.mark_first_login(user_id)
    assert found is not None
    assert await roles(replicas, sent) == [("find", "secondary"), ("update", "primary")]


async def test_somebody_unknown_to_the_secondary_is_looked_up_on_the_primary(
    replicas: Client, commands: Commands
) -> None:
    with commands.noted() as sent:
        assert await UserStore(replicas["identity"]).find_by_login([("email", "nobody@example.com")]) is None
    assert await roles(replicas, sent) == [("find", "secondary"), ("find", "primary")]
    assert commands.read_concerns == ["majority", "linearizable"]


async def test_what_is_acted_upon_by_itself_is_read_linearizably(replicas: Client, commands: Commands) -> None:
    """At majority a new primary may not show yet what the old one acknowledged: seen under failovers."""
    user_id, ledger = uuid7(), Ledger(replicas["identity"])
    await UserStore(replicas["identity"]).insert(user_id, new_user("lasting"), "hash", datetime.now(UTC))
    caller = Caller(user_id, ("customer",), expires_at=0)
    with commands.noted() as sent:
        assert await AccountStore(replicas["identity"], "VN").confirm(caller, "") == caller
        assert await ledger.find(10**9) is None
    assert await roles(replicas, sent) == [("find", "primary"), ("find", "primary")]
    assert commands.read_concerns == ["linearizable", "linearizable"]


async def test_who_just_registered_can_log_in_at_once(replicas: Client) -> None:
    users = UserStore(replicas["identity"])
    for i in range(50):
        await users.insert(uuid7(), new_user(f"quick-{i}"), "hash", datetime.now(UTC))
        assert await users.find_by_login([("username", f"quick-{i}")]) is not None


async def test_vouchers_are_shown_from_a_secondary_and_decided_on_the_primary(
    replicas: Client, commands: Commands
) -> None:
    grants, store = GrantStore(replicas["promotions"]), VoucherStore(replicas["promotions"])
    await open_campaign(replicas, 1)
    now = datetime.now(UTC)
    with commands.noted() as sent:
        await grants.commit_awards(0, [FirstLogin(1, uuid7(), now)])
    assert {member for _, member in await roles(replicas, sent)} == {"primary"}
    with commands.noted() as sent:
        await store.find_current_vouchers([uuid7()], now, newest=False)
    assert await roles(replicas, sent) == [("find", "secondary")]
    with commands.noted() as sent:
        await store.find_current_vouchers([uuid7()], now, newest=True)
    assert await roles(replicas, sent) == [("find", "primary")]


async def test_the_stream_has_three_replicas(three: Servers, replicas: Client) -> None:
    settings = Settings(
        mongodb_timeout_seconds=30, mongodb_uri=three.mongodb_uri, nats_url=three.nats_url, stream_replicas=3
    )
    async with connect_nats(settings, "test") as broker:
        jetstream = broker.jetstream()
        relay = Relay(Ledger(replicas["identity"]), jetstream, 3, asyncio.Event())
        await relay._last_sequence()
        info = await jetstream.stream_info("first-logins")
    assert info.config.num_replicas == 3
    assert info.cluster is not None
    assert len(info.cluster.replicas or []) == 2


@pytest.mark.slow
async def test_a_replica_that_stays_behind_is_told_of_and_mended_by_an_empty_store(
    three: Servers, replicas: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "_BEHIND_SECONDS", 0.2)
    settings = Settings(
        mongodb_timeout_seconds=30, mongodb_uri=three.mongodb_uri, nats_url=three.nats_url, stream_replicas=3
    )
    async with connect_nats(settings, "test") as broker:
        jetstream = broker.jetstream()
        relay = Relay(Ledger(replicas["identity"]), jetstream, 3, asyncio.Event())
        with capture_logs() as logs:
            async with running(relay):
                [follower, _] = await followers(jetstream)
                server = three.process(follower)
                await server.kill()
                await until_logged(logs, "stream_replica_behind")
                shutil.rmtree(Path(server.program.command[-1]).with_name(follower) / "jetstream")
                await server.start()
                await followers(jetstream)
    told = next(entry for entry in logs if entry["event"] == "stream_replica_behind")
    assert told["servers"] == [follower]


async def followers(jetstream: JetStreamContext) -> list[str]:
    """Wait until both followers' copies are up to date, and name them."""
    async with asyncio.timeout(30):
        while True:
            with suppress(nats.errors.Error):
                cluster = (await jetstream.stream_info("first-logins")).cluster
                found = [peer for peer in (cluster and cluster.replicas) or () if peer.current]
                if len(found) == 2:
                    return [str(peer.name) for peer in found]
            await asyncio.sleep(0.05)


async def until_on_every_member(client: Client, three: Servers) -> None:
    """Wait until every secondary has the user majority-committed."""
    login = three.mongodb_uri.partition("@")[0]
    async with asyncio.timeout(10):
        for host, port in await client.secondaries:
            uri = f"{login}@{host}:{port}/?directConnection=true&authSource=admin"
            async with connect_mongo(Settings(mongodb_uri=uri), "test") as member:
                reading = UserStore(member["identity"])
                while await reading.find_by_login([("username", "replicated")]) is None:
                    await asyncio.sleep(0.01)
