"""The hashing queue is full: whom it refuses and at what price, whom it drops, and who never notices."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from argon2 import PasswordHasher
from people import registration, running
from pymongo import monitoring
from services import until_ready

from earlybird.identity.app import identity_role
from earlybird.identity.passwords.hashing import Passwords
from earlybird.infra.mongo import Client
from earlybird.promotions.app import promotions_role
from earlybird.settings import Settings
from earlybird.stack.balancer import balancer
from earlybird.stack.child import Child, Program
from free_ports import free_port

CAPACITY = 2  # one that is hashed and one that waits
HEAD_WITHOUT_BODY = (
    b"POST /%s HTTP/1.1\r\nHost: us\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n"
)


@dataclass
class Gate:
    """Holds every hash until it is opened, and notes what is hashed."""

    is_open: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)
    hashed: list[str] = field(default_factory=list)


@dataclass
class Service:
    """A running identity with one slot, and its queue."""

    port: int
    passwords: Passwords
    gate: Gate

    async def until_admitted(self, count: int) -> None:
        while self.passwords._admitted != count:
            await asyncio.sleep(0.01)


class Commands(monitoring.CommandListener):
    """Notes the names of the commands that any client made from now on sends to MongoDB."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing to note."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing to note."""


@pytest.fixture(scope="module")
def commands() -> Commands:
    listener = Commands()
    monitoring.register(listener)
    return listener


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Let no hash begin before the test says so; what is made then is the real one."""
    gate = Gate()
    gate.is_open.set()
    hashing = PasswordHasher.hash

    def held(hasher: PasswordHasher, password: str) -> str:
        gate.reached.set()
        gate.is_open.wait()
        gate.hashed.append(password)
        return hashing(hasher, password)

    monkeypatch.setattr(PasswordHasher, "hash", held)
    yield gate
    gate.is_open.set()


@pytest.fixture
async def service(
    settings: Settings, mongo: Client, commands: Commands, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Service]:
    """A real identity on the test's database, closed at the gate."""
    assert await mongo["identity"]["users"].count_documents({}) == 0
    assert isinstance(commands, Commands), "it listens before the service connects"
    made: list[Passwords] = []
    build = Passwords.__init__

    def noted(passwords: Passwords, **parameters: Any) -> None:
        build(passwords, **parameters)
        made.append(passwords)

    monkeypatch.setattr(Passwords, "__init__", noted)
    monkeypatch.setattr(Passwords, "capacity", CAPACITY)
    port = free_port()
    one_slot = settings.model_copy(update={"identity_port": port, "password_slots": 1, "drain_seconds": 0})
    async with identity_role(one_slot) as role, running(role), asyncio.timeout(30):
        gate.is_open.clear()
        gate.reached.clear()
        gate.hashed.clear()
        yield Service(port, made[0], gate)
        gate.is_open.set()


@pytest.fixture
async def http(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{service.port}", timeout=20) as client:
        yield client


def registering(http: httpx2.AsyncClient, i: int) -> asyncio.Task[httpx2.Response]:
    """Begin to register the i-th person, whose password tells who they are."""
    return asyncio.create_task(http.post("/register", json=registration(i, password=f"password of {i}")))


@pytest.mark.parametrize("path", [b"login", b"register"])
async def test_a_full_queue_refuses_before_the_body_is_sent_and_before_any_database_work(
    path: bytes, service: Service, http: httpx2.AsyncClient, commands: Commands
) -> None:
    inside = [registering(http, i) for i in range(CAPACITY)]
    await service.until_admitted(CAPACITY)
    commands.names.clear()
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(HEAD_WITHOUT_BODY % path)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    writer.close()
    assert head.startswith(b"http/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in head
    refused = await http.post("/login", json={"username": "person-0", "password": "password of 0"})
    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert commands.names == []
    service.gate.is_open.set()
    assert [(await answer).status_code for answer in inside] == [200] * CAPACITY
    assert "insert" in commands.names, "those who were let in are seen to work with the database"


@pytest.mark.parametrize("through_envoy", [False, True], ids=["directly", "through Envoy"])
async def test_who_hangs_up_while_queued_gives_the_place_back_at_once_and_is_never_hashed(
    through_envoy: bool, service: Service, http: httpx2.AsyncClient, mongo: Client, tmp_path: Path
) -> None:
    port = free_port() if through_envoy else service.port
    role = Child(Program("identity", [], service.port), tmp_path)
    front = Child(balancer(tmp_path, port, [role], [role]), tmp_path)
    hashed = registering(http, 1)
    await service.until_admitted(1)
    try:
        if through_envoy:
            await front.start()
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as other:
            leaving = registering(other, 2)
            await service.until_admitted(2)
            leaving.cancel()
            await service.until_admitted(1)
    finally:
        await front.stop()
    in_their_place = registering(http, 3)
    await service.until_admitted(2)
    service.gate.is_open.set()
    assert [(await answer).status_code for answer in (hashed, in_their_place)] == [200, 200]
    assert service.gate.hashed == ["password of 1", "password of 3"]
    assert await mongo["identity"]["users"].distinct("username") == ["person-1", "person-3"]


async def test_who_hangs_up_while_being_hashed_is_registered_whole(
    service: Service, http: httpx2.AsyncClient, mongo: Client
) -> None:
    async with httpx2.AsyncClient(base_url=http.base_url, timeout=20) as other:
        leaving = registering(other, 1)
        await asyncio.to_thread(service.gate.reached.wait)
        leaving.cancel()
    service.gate.is_open.set()
    await service.until_admitted(0)
    assert await mongo["identity"]["users"].distinct("username") == ["person-1"]


async def test_a_full_queue_is_noticed_by_neither_health_checks_nor_vouchers(
    service: Service, http: httpx2.AsyncClient, settings: Settings
) -> None:
    login = {"username": "person-0", "password": "password of 0"}
    service.gate.is_open.set()
    await registering(http, 0)
    token = (await http.post("/login", json=login)).json()["token"]
    service.gate.is_open.clear()
    identity = f"http://127.0.0.1:{service.port}"
    beside = settings.model_copy(
        update={
            "promotions_port": free_port(),
            "jwks_url": f"{identity}/.well-known/jwks.json",
            "account_url": f"{identity}/account",
            "drain_seconds": 0,
        }
    )
    async with promotions_role(beside) as role, running(role):
        await until_ready(http, service.port, beside.promotions_port)
        inside = [registering(http, i) for i in range(1, 1 + CAPACITY)]
        await service.until_admitted(CAPACITY)
        promotions, header = f"http://127.0.0.1:{beside.promotions_port}", {"Authorization": f"Bearer {token}"}
        answers = {
            "alive": await http.get("/healthz"),
            "ready": await http.get("/readyz"),
            "keys": await http.get("/.well-known/jwks.json"),
            "account": await http.get("/account", headers=header),
            "voucher": await http.get(f"{promotions}/voucher", headers=header),
            "vouchers": await http.get(f"{promotions}/vouchers", headers=header),
        }
        assert service.passwords.is_full(), "all the while"
    assert {name: answer.status_code for name, answer in answers.items()} == {
        **dict.fromkeys(answers, 200),
        "voucher": 400,  # they hold none
    }
    service.gate.is_open.set()
    assert [(await answer).status_code for answer in inside] == [200] * CAPACITY
