"""A crash between any two steps changes nothing: each crash point of the source is reached, on real processes.

Those of the login are reached in test_serve.py, those of verification in test_courier.py.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx2
import pytest
from _pytest.mark import ParameterSet
from nats.aio.client import Client as NatsClient
from people import add_users, log_in_first, open_campaign, registration, told, until, until_judged, until_told
from services import Ports, environment, serving, serving_here, until_ready

from crash_points import CRASH_POINTS
from earlybird.infra.mongo import Client
from earlybird.operations.audit import Audit
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.settings import Settings

WORKERS = ("relay", "granter")
WORKER_PARTS = ("sequencer", "reconcile", "relay", "granter", "placer", "publisher")
PURCHASE = {"order_id": "topup-1", "amount": 100_000, "currency": "VND"}


def points(*parts: str) -> list[str]:
    return [name for name in CRASH_POINTS if name.partition(".")[0] in parts]


def with_a_sample(*parts: str) -> list[ParameterSet]:
    """Give the same points; those beside a commit, where most can go wrong, are the sample of `make test`."""
    slow = pytest.mark.slow
    return [pytest.param(name, marks=() if name.endswith("before_commit") else slow) for name in points(*parts)]


async def test_every_step_has_its_crash_point_and_every_crash_point_its_test() -> None:
    """The list is read from the source, so this guards against reading nothing."""
    parts = [*WORKER_PARTS, "publish", "caretaker", "redemption", "login", "campaign", "account", "withdrawal"]
    parts += ["contact", "courier", "message", "collector", "dispatcher", "announcer", "webhook"]
    assert all(points(part) for part in parts)
    assert points(*parts) == CRASH_POINTS
    assert len(CRASH_POINTS) >= 35


async def lose_history(mongo: Client) -> None:
    """Leave the head without a place to go on from, as after an oplog that was too short."""
    await mongo["identity"]["head"].update_one({}, {"$unset": {"start_at": "", "resume_token": ""}})


async def dies(process: asyncio.subprocess.Process) -> None:
    """Wait until it has killed itself at its crash point."""
    async with asyncio.timeout(60):
        await process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was to die at its crash point"


async def prove(mongo: Client, broker: NatsClient, winners: int) -> None:
    """All is as it should be with so many winners, and the world was told once of each, in order."""
    await until_told(mongo)
    await Audit(mongo, broker.jetstream()).run(lambda _: None)
    vouchers = mongo["promotions"]["vouchers"].find().sort("position", 1)
    granted = [event for event in await told(broker) if event["type"].endswith("granted.v1")]
    expected = [(str(voucher["_id"]), voucher["position"]) async for voucher in vouchers]
    assert [(event["data"]["voucher_id"], event["data"]["position"]) for event in granted] == expected
    assert len(expected) == winners


@pytest.mark.parametrize("crash_at", with_a_sample(*WORKER_PARTS))
async def test_a_worker_that_dies_here_and_is_restarted_loses_and_repeats_nothing(
    crash_at: str, settings: Settings, mongo: Client, broker: NatsClient
) -> None:
    await open_campaign(mongo, 10)
    users = await add_users(mongo, 530 if crash_at == "reconcile.page_appended" else 25)
    await log_in_first(mongo, users[:-5])
    if crash_at.startswith("reconcile."):
        await lose_history(mongo)
    async with serving(environment(settings, Ports(), EARLYBIRD_CRASH_AT=crash_at), *WORKERS) as process:
        await dies(process)
    await log_in_first(mongo, users[-5:])
    async with serving_here(environment(settings, Ports()), *WORKERS):
        await until_judged(mongo, len(users))
        await prove(mongo, broker, 10)


@pytest.mark.parametrize("dying", WORKERS)
async def test_a_batch_of_which_the_stream_has_a_part_is_completed(
    dying: str, settings: Settings, mongo: Client, broker: NatsClient
) -> None:
    await open_campaign(mongo, 10)
    users = await add_users(mongo, 25)
    await log_in_first(mongo, users)
    [living] = set(WORKERS) - {dying}
    part = environment(settings, Ports(), EARLYBIRD_CRASH_AT="publish.one_acknowledged")
    async with serving_here(environment(settings, Ports()), living):
        async with serving(part, dying) as process:
            await dies(process)
        async with serving_here(environment(settings, Ports()), dying):
            await until_judged(mongo, 25)
            await prove(mongo, broker, 10)


@pytest.mark.parametrize("crash_at", with_a_sample("caretaker"))
async def test_a_raise_cut_short_here_still_gives_those_next_in_line_theirs(
    crash_at: str, settings: Settings, mongo: Client, broker: NatsClient
) -> None:
    campaign_id = await open_campaign(mongo, 5)
    users = await add_users(mongo, 25)
    await log_in_first(mongo, users[:20])
    async with serving(environment(settings, Ports(), EARLYBIRD_CRASH_AT=crash_at), *WORKERS) as process:
        await until_judged(mongo, 20)
        await CampaignStore(mongo["promotions"]).edit(campaign_id, {"number_of_promotion": 15}, "test")
        await dies(process)
    await log_in_first(mongo, users[20:])
    async with serving_here(environment(settings, Ports()), *WORKERS):
        await until_judged(mongo, 25)
        await until(mongo, "vouchers", {}, 15)
        await prove(mongo, broker, 15)


async def command(settings: Settings, *arguments: str, crash_at: str = "") -> int | None:
    """Run a command of the command line; return its exit status."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "earlybird", *arguments),
        env=environment(settings, Ports(), EARLYBIRD_CRASH_AT=crash_at),
        stdout=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(60):
        return await process.wait()


@pytest.mark.parametrize("crash_at", with_a_sample("campaign"))
async def test_a_campaign_whose_opening_was_cut_short_here_is_opened_once(
    crash_at: str, settings: Settings, mongo: Client
) -> None:
    assert await command(settings, "campaign", "create", "--name", "Tet", "--discount", "30", "--number", "5") == 0
    assert await command(settings, "campaign", "open", "Tet", crash_at=crash_at) == -signal.SIGKILL
    assert await command(settings, "campaign", "open", "Tet") == 0
    actions = [entry["action"] async for entry in mongo["promotions"]["audit_log"].find().sort("order", 1)]
    assert actions == ["campaign.created", "campaign.opened"]
    assert await mongo["promotions"]["campaigns"].count_documents({"is_available": 1}) == 1


@pytest.mark.parametrize("crash_at", with_a_sample("account"))
async def test_an_account_whose_disabling_was_cut_short_here_is_disabled_and_noted_once(
    crash_at: str, settings: Settings, mongo: Client
) -> None:
    await add_users(mongo, 1)
    assert await command(settings, "user", "disable", "user-0", crash_at=crash_at) == -signal.SIGKILL
    assert await command(settings, "user", "disable", "user-0") == 0
    actions = [entry["action"] async for entry in mongo["identity"]["audit_log"].find()]
    assert actions == ["account.disabled"]
    assert await mongo["identity"]["users"].count_documents({"is_active": 0}) == 1


async def test_a_withdrawal_cut_short_before_and_after_its_commit_and_asked_for_again_is_made_once(
    settings: Settings, mongo: Client, broker: NatsClient
) -> None:
    await open_campaign(mongo, 2)
    users = await add_users(mongo, 3)
    async with serving_here(environment(settings, Ports()), *WORKERS):
        await log_in_first(mongo, users, at_once=1)
        await until_judged(mongo, 3)
        words = ("voucher", "withdraw", "user-0", "--reason", "a bot", "--replace")
        for crash_at in sorted(points("withdrawal"), reverse=True):
            assert await mongo["promotions"]["vouchers"].count_documents({"withdrawn_at": {"$ne": None}}) == 0
            assert await command(settings, *words, crash_at=crash_at) == -signal.SIGKILL
        assert await command(settings, *words) == 0
        await until(mongo, "vouchers", {}, 3)
        await prove(mongo, broker, 3)
    actions = ["voucher.withdrawn", "campaign.extended"]
    noted = mongo["promotions"]["audit_log"].find({"action": {"$in": actions}}).sort("order", 1)
    assert [entry["action"] async for entry in noted] == actions
    assert [event["type"].split(".")[-2] for event in await told(broker)].count("withdrawn") == 1


class Customer:
    """Somebody with a voucher, who asks the services that run now."""

    def __init__(self, http: httpx2.AsyncClient, settings: Settings) -> None:
        ports = Ports()
        self.environment, self._ports, self._http = environment(settings, ports), ports, http
        self._identity = f"http://127.0.0.1:{ports.identity}"
        self._promotions = f"http://127.0.0.1:{ports.promotions}"
        self._headers: dict[str, str] = {}

    async def join(self, mongo: Client) -> None:
        """Register, log in, and wait for the voucher."""
        await until_ready(self._http, self._ports.identity)
        await self._http.post(f"{self._identity}/register", json=registration(1))
        login = {"username": "person-1", "password": "correct horse battery"}
        token = (await self._http.post(f"{self._identity}/login", json=login)).json()["token"]
        self._headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "one"}
        await until_judged(mongo, 1)

    async def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send it until there is an answer other than "not now": another process may hold on to it yet."""
        async with asyncio.timeout(30):
            while True:
                answer = await self._http.post(f"{self._promotions}{path}", json=body, headers=self._headers)
                said: dict[str, Any] = answer.json()
                if answer.status_code != 503 and said.get("code") != "request_in_flight":
                    return said | {"http": answer.status_code}
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def promotions(self) -> AsyncIterator[None]:
        async with serving_here(self.environment, "promotions"):
            await until_ready(self._http, self._ports.promotions)
            yield

    async def cut_short(
        self, crash_at: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Send a request that the service dies of, and then, to another, twice; give the two answers."""
        async with serving(self.environment | {"EARLYBIRD_CRASH_AT": crash_at}, "promotions") as process:
            await until_ready(self._http, self._ports.promotions)
            with pytest.raises(httpx2.TransportError):
                await self.post(path, body)
            await dies(process)
        async with self.promotions():
            return await self.post(path, body), await self.post(path, body)


@pytest.fixture
async def customer(settings: Settings) -> AsyncIterator[Customer]:
    async with httpx2.AsyncClient(timeout=10) as http:
        yield Customer(http, settings)


@pytest.mark.parametrize("crash_at", with_a_sample("redemption"))
async def test_a_redemption_cut_short_here_and_sent_again_is_made_once(
    crash_at: str, mongo: Client, broker: NatsClient, customer: Customer
) -> None:
    await open_campaign(mongo, 1)
    async with serving_here(customer.environment, "identity", *WORKERS):
        await customer.join(mongo)
        first, second = await customer.cut_short(crash_at, "/voucher/redemptions", PURCHASE)
        await prove(mongo, broker, 1)
    assert (first["http"], first["redemption"]["payable_amount"]) == (200, 70_000)
    assert second == first
    made = await mongo["promotions"]["redemptions"].find().to_list()
    assert [one["_id"] for one in made] == [UUID(first["redemption"]["id"])]
    assert [event["id"] for event in await told(broker)][1:] == [f"{made[0]['_id']}.redeemed"]


@pytest.mark.parametrize("step", ["confirm", "release", "refund"])
async def test_any_other_step_that_was_made_but_not_answered_is_not_made_again(
    step: str, mongo: Client, broker: NatsClient, customer: Customer
) -> None:
    await open_campaign(mongo, 1)
    async with serving_here(customer.environment, "identity", *WORKERS):
        await customer.join(mongo)
        async with customer.promotions():
            held = (await customer.post("/voucher/reservations", PURCHASE))["reservation"]["id"]
            if step == "refund":
                await customer.post(f"/voucher/reservations/{held}/confirm")
        kind = "redemptions" if step == "refund" else "reservations"
        first, second = await customer.cut_short("redemption.after_commit", f"/voucher/{kind}/{held}/{step}")
        await prove(mongo, broker, 1)
    assert first["http"] == 200
    assert second == first
    state = {"confirm": "redeemed", "release": "released", "refund": "refunded"}[step]
    assert [one["state"] async for one in mongo["promotions"]["redemptions"].find()] == [state]
