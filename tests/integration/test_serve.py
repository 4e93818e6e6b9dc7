"""`earlybird serve`: any roles in one process, stopped politely, failing clearly."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator

import httpx2
import pytest
from people import open_campaign, registration, until_judged
from services import Ports, environment, serving, until_ready

from earlybird.infra.mongo import Client
from earlybird.settings import Settings
from free_ports import free_port


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=10) as client:
        yield client


async def test_one_process_with_all_roles_takes_people_from_registration_to_voucher(
    settings: Settings, mongo: Client, http: httpx2.AsyncClient
) -> None:
    ports = Ports()
    await open_campaign(mongo, 100)
    async with serving(environment(settings, ports), "identity", "promotions", "relay", "granter") as process:
        await until_ready(http, ports.identity, ports.promotions, ports.relay, ports.granter)
        await http.post(f"http://127.0.0.1:{ports.identity}/register", json=registration(1))
        login = {"username": "person-1", "password": "correct horse battery"}
        token = (await http.post(f"http://127.0.0.1:{ports.identity}/login", json=login)).json()["token"]
        await until_judged(mongo, 1)
        header = {"Authorization": f"Bearer {token}"}
        voucher = await http.get(f"http://127.0.0.1:{ports.promotions}/voucher", headers=header)
        assert voucher.json()["voucher"]["discount"] == 30
        process.terminate()
        assert await process.wait() == 0


@pytest.mark.parametrize("crash_at", ["login.before_first_login", "login.after_first_login"])
async def test_a_login_cut_short_counts_once_whether_or_not_it_was_committed(
    crash_at: str, settings: Settings, mongo: Client, http: httpx2.AsyncClient
) -> None:
    ports = Ports()
    login = {"username": "person-1", "password": "correct horse battery"}
    async with serving(environment(settings, ports, EARLYBIRD_CRASH_AT=crash_at), "identity") as process:
        await until_ready(http, ports.identity)
        await http.post(f"http://127.0.0.1:{ports.identity}/register", json=registration(1))
        with pytest.raises(httpx2.TransportError):
            await http.post(f"http://127.0.0.1:{ports.identity}/login", json=login)
        assert await process.wait() == -signal.SIGKILL
    async with serving(environment(settings, ports), "identity", "relay", "granter"):
        await until_ready(http, ports.identity, ports.relay, ports.granter)
        for _ in range(2):
            assert (await http.post(f"http://127.0.0.1:{ports.identity}/login", json=login)).status_code == 200
        await until_judged(mongo, 1)
    assert await mongo["identity"]["ledger"].count_documents({}) == 1


async def test_at_sigterm_requests_in_flight_finish_and_new_ones_are_turned_away(
    settings: Settings, mongo: Client, http: httpx2.AsyncClient
) -> None:
    assert await mongo["identity"]["users"].count_documents({}) == 0
    ports = Ports()
    slow = environment(settings, ports, EARLYBIRD_PASSWORD_ITERATIONS="60", EARLYBIRD_PASSWORD_MEMORY_KIB="19456")
    async with serving(slow | {"EARLYBIRD_PASSWORD_QUEUE_SECONDS": "60"}, "identity") as process:
        await until_ready(http, ports.identity)
        url = f"http://127.0.0.1:{ports.identity}/register"
        in_flight = [asyncio.create_task(http.post(url, json=registration(i))) for i in range(4)]
        await until_hashing(process.pid)
        process.terminate()
        answers = [(await answer).status_code for answer in in_flight]
        await until_turned_away(http, f"http://127.0.0.1:{ports.identity}/healthz")
        assert await process.wait() == 0
    assert answers == [200] * 4


async def until_turned_away(http: httpx2.AsyncClient, url: str) -> None:
    """Ask until nobody answers any more."""
    async with asyncio.timeout(20):
        while True:
            try:
                await http.get(url)
            except httpx2.TransportError:
                return


async def test_after_sigterm_requests_are_served_while_the_balancer_is_told_and_until_it_has_left(
    settings: Settings, mongo: Client, http: httpx2.AsyncClient
) -> None:
    assert await mongo["identity"]["users"].count_documents({}) == 0
    ports = Ports()
    async with serving(environment(settings, ports, EARLYBIRD_DRAIN_SECONDS="600"), "identity") as process:
        await until_ready(http, ports.identity)
        identity = f"http://127.0.0.1:{ports.identity}"
        process.terminate()
        while (ready := await http.get(f"{identity}/readyz")).status_code == 200:
            pass
        assert (ready.status_code, ready.json()["message"]) == (503, "stopping")
        async with httpx2.AsyncClient(timeout=10) as newcomer:
            assert (await newcomer.post(f"{identity}/register", json=registration(1))).status_code == 200
        await http.aclose()
        assert await process.wait() == 0


async def until_hashing(pid: int) -> None:
    """Wait until the process burns CPU: its requests have arrived and are being hashed."""

    def ticks() -> int:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return int(stat.read().split()[13])

    before = ticks()
    while ticks() < before + 5:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("arguments", "changes", "line"),
    [
        ((), {}, "name the roles to run"),
        (("relay",), {"EARLYBIRD_RELAY_PORT": "http"}, "EARLYBIRD_RELAY_PORT: Input should be a valid integer"),
        (("identity",), {"EARLYBIRD_SIGNING_KEY_FOLDER": "/proc/none/keys"}, "signing keys in /proc/none/keys"),
    ],
)
async def test_what_cannot_run_says_why_in_one_line(
    arguments: tuple[str, ...], changes: dict[str, str], line: str, settings: Settings
) -> None:
    async with serving(environment(settings, Ports(), **changes), *arguments) as process:
        _, error = await process.communicate()
    assert process.returncode == 1
    assert line in error.decode()
    assert len(error.decode().strip().splitlines()) == 1


async def test_a_taken_port_is_named(settings: Settings, mongo: Client, http: httpx2.AsyncClient) -> None:
    assert await mongo["identity"]["users"].count_documents({}) == 0
    ports = Ports()
    async with serving(environment(settings, ports), "identity"):
        await until_ready(http, ports.identity)
        async with serving(environment(settings, ports), "identity") as second:
            _, error = await second.communicate()
    assert (
        error.decode().strip() == f"earlybird: cannot listen on 127.0.0.1:{ports.identity}: Address already in use"
    )


async def test_a_broker_that_is_away_holds_up_neither_registration_nor_login(
    settings: Settings, mongo: Client, http: httpx2.AsyncClient
) -> None:
    assert await mongo["identity"]["users"].count_documents({}) == 0
    ports = Ports()
    nowhere = environment(settings, ports, EARLYBIRD_NATS_URL=f"nats://127.0.0.1:{free_port()}")
    async with serving(nowhere, "identity", "relay"):
        await until_ready(http, ports.identity)
        answer = await http.post(f"http://127.0.0.1:{ports.identity}/register", json=registration(1))
        login = {"username": "person-1", "password": "correct horse battery"}
        token = await http.post(f"http://127.0.0.1:{ports.identity}/login", json=login)
    assert (answer.status_code, token.status_code) == (200, 200)


async def test_a_database_that_is_away_is_an_outage_and_no_refusal(
    settings: Settings, http: httpx2.AsyncClient
) -> None:
    ports = Ports()
    away = environment(settings, ports, EARLYBIRD_MONGODB_TIMEOUT_SECONDS="0.5") | {
        "EARLYBIRD_MONGODB_URI": f"mongodb://127.0.0.1:{free_port()}/?replicaSet=earlybird"
    }
    async with serving(away, "identity"):
        async with asyncio.timeout(30):
            while not await listens(http, ports.identity):
                await asyncio.sleep(0.05)
        answer = await http.post(f"http://127.0.0.1:{ports.identity}/register", json=registration(1))
        ready = await http.get(f"http://127.0.0.1:{ports.identity}/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["code"] == "unavailable"
    assert (ready.status_code, ready.json()["message"]) == (503, "not ready: mongodb, schema")


async def test_an_error_that_nobody_foresaw_is_logged_with_its_traceback_and_nothing_personal(
    settings: Settings, mongo: Client, http: httpx2.AsyncClient
) -> None:
    ports = Ports()
    forbidden = {"failCommands": ["insert", "update"], "errorCode": 13, "appName": "earlybird-identity"}
    async with serving(environment(settings, ports), "identity") as process:
        ending = asyncio.create_task(process.communicate())  # reads all the while: a full pipe would hold it up
        await until_ready(http, ports.identity)
        url = f"http://127.0.0.1:{ports.identity}"
        assert (await http.post(f"{url}/register", json=registration(1))).status_code == 200
        await mongo.admin.command("configureFailPoint", "failCommand", mode={"times": 2}, data=forbidden)
        login = {"username": "person-1@example.com", "password": "correct horse battery"}
        once = {"Connection": "close"}  # uvicorn closes it after such an error, and httpx2 might take it again
        answers = [
            await http.post(f"{url}/login", json=login, headers=once),
            await http.post(f"{url}/register", json=registration(2), headers=once),
        ]
        process.terminate()
        output, _ = await ending
    assert [answer.status_code for answer in answers] == [500, 500]
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["path"] for line in lines if line["event"] == "request_failed"] == ["/login", "/register"]
    frames = [{frame["name"] for frame in line["exception"][0]["frames"]} for line in lines if "exception" in line]
    assert ["mark_first_login" in frames[0], "insert" in frames[1]] == [True, True]
    for personal in ("correct horse", "person-", "+84912", "$argon2"):
        assert personal not in output.decode()


async def listens(http: httpx2.AsyncClient, port: int) -> bool:
    """Tell whether a server runs there, ready or not."""
    try:
        return (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
    except httpx2.TransportError:
        return False
