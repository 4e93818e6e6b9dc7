"""The real Envoy in front of stand-ins: where each path goes, and what clients see of a dying service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from earlybird.stack.balancer import IN_FLIGHT_PER_SLOT, balancer
from earlybird.stack.child import Child, Program
from earlybird.stack.ports import PORTS_FILE, Ports

IDENTITY = [
    *("/register", "/login", "/account", "/audit-log/identity", "/.well-known/jwks.json"),
    *("/docs", "/docs/swagger.css", "/openapi/identity.json"),
]
PROMOTIONS = [
    *("/voucher", "/voucher/redemptions", "/voucher/reservations/7/confirm", "/vouchers"),
    *("/campaigns", "/campaigns/7/open", "/audit-log/promotions", "/openapi/promotions.json"),
]
NOWHERE = [
    "/",
    "/readyz",
    "/metrics",
    "/vouchersX",
    "/vouchers/7",
    "/audit-log",
    "/openapi/other.json",
    "/.well-known",
]


@dataclass
class Upstream:
    """A stand-in for a role: says its name once it `may_answer`, or hangs up on everything but health checks."""

    name: str
    port: int
    hangs_up: bool = False
    bodies: list[bytes] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        is_health_check = head.startswith(b"GET /readyz ")
        length = next(
            (int(line[15:]) for line in head.splitlines() if line.lower().startswith(b"content-length:")), 0
        )
        if not is_health_check:
            self.bodies.append(await reader.readexactly(length))
            if head.startswith(b"POST "):
                await self.may_answer.wait()
        if is_health_check or not self.hangs_up:
            name = self.name.encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name)
            )
        writer.close()


@asynccontextmanager
async def balanced(
    folder: Path, *upstreams: Upstream, in_flight: int = IN_FLIGHT_PER_SLOT
) -> AsyncIterator[httpx2.AsyncClient]:
    """Run Envoy before these upstreams, of which `away` ones do not listen; yield a client of it."""
    with Ports(folder / PORTS_FILE) as ports:
        port = (await ports.assign(["envoy"]))["envoy"]
    children = [Child(Program(up.name, [], up.port), folder) for up in upstreams]
    identity = [child for child in children if child.name.startswith("identity")]
    promotions = [child for child in children if child.name.startswith("promotions")]
    front = Child(balancer(folder, port, identity, promotions, in_flight=in_flight), folder)
    async with AsyncExitStack() as stack:
        for upstream in upstreams:
            if "away" not in upstream.name:
                server = await asyncio.start_server(upstream.serve, "127.0.0.1", upstream.port)
                stack.push_async_callback(server.wait_closed)
                stack.callback(server.close)
        stack.push_async_callback(front.stop)
        await front.start()
        client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10)
        yield await stack.enter_async_context(client)


@pytest.fixture
async def ports(tmp_path: Path) -> AsyncIterator[list[int]]:
    with Ports(tmp_path / "upstreams.json") as ports:
        yield list((await ports.assign(["a", "b", "c"])).values())


async def test_each_path_goes_to_the_service_that_owns_it(tmp_path: Path, ports: list[int]) -> None:
    upstreams = Upstream("identity", ports[0]), Upstream("promotions", ports[1])
    async with balanced(tmp_path, *upstreams) as client:
        assert {(await client.get(path)).text for path in IDENTITY} == {"identity"}
        assert {(await client.get(path)).text for path in PROMOTIONS} == {"promotions"}


async def test_any_other_address_is_a_404_in_our_form(tmp_path: Path, ports: list[int]) -> None:
    upstreams = Upstream("identity", ports[0]), Upstream("promotions", ports[1])
    async with balanced(tmp_path, *upstreams) as client:
        answers = [await client.get(path) for path in NOWHERE]
    assert {answer.status_code for answer in answers} == {404}
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/json"}
    assert answers[0].json() == {
        "status": "error",
        "message": "There is nothing at this address.",
        "code": "not_found",
    }
    assert not upstreams[0].bodies
    assert not upstreams[1].bodies


async def test_when_no_upstream_answers_the_refusal_says_when_to_try_again(
    tmp_path: Path, ports: list[int]
) -> None:
    async with balanced(tmp_path, Upstream("identity-away", ports[0]), Upstream("promotions", ports[1])) as client:
        answer = await client.post("/login", json={})
        assert (await client.get("/voucher")).text == "promotions"
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {
        "status": "error",
        "message": "The service is not available right now. Try again in a moment.",
        "code": "unavailable",
    }


async def test_an_upstream_that_is_away_is_passed_over(tmp_path: Path, ports: list[int]) -> None:
    upstreams = (
        Upstream("identity-away", ports[0]),
        Upstream("identity", ports[1]),
        Upstream("promotions", ports[2]),
    )
    async with balanced(tmp_path, *upstreams) as client:
        answers = [await client.post("/register", content=b"ada") for _ in range(10)]
    assert {answer.text for answer in answers} == {"identity"}
    assert upstreams[1].bodies == [b"ada"] * 10


async def test_a_login_that_an_upstream_dropped_is_sent_to_another_with_its_body(
    tmp_path: Path, ports: list[int]
) -> None:
    dying, well = Upstream("identity-1", ports[0], hangs_up=True), Upstream("identity-2", ports[1])
    async with balanced(tmp_path, dying, well, Upstream("promotions", ports[2])) as client:
        while not dying.bodies:
            answer = await client.post("/login", content=b"ada")
            assert (answer.status_code, answer.text) == (200, "identity-2")
    assert set(well.bodies) == {b"ada"}


async def test_a_redemption_that_an_upstream_dropped_is_sent_to_another_under_its_key(
    tmp_path: Path, ports: list[int]
) -> None:
    dying, well = Upstream("promotions-1", ports[0], hangs_up=True), Upstream("promotions-2", ports[1])
    async with balanced(tmp_path, dying, well, Upstream("identity", ports[2])) as client:
        while not dying.bodies:
            answer = await client.post("/voucher/redemptions", content=b"topup")
            assert (answer.status_code, answer.text) == (200, "promotions-2")
    assert set(well.bodies) == {b"topup"}


async def test_a_registration_that_an_upstream_dropped_is_not_sent_twice(tmp_path: Path, ports: list[int]) -> None:
    dying, well = Upstream("identity-1", ports[0], hangs_up=True), Upstream("identity-2", ports[1])
    async with balanced(tmp_path, dying, well, Upstream("promotions", ports[2])) as client:
        sent = 0
        while not dying.bodies:
            answer = await client.post("/register", content=b"ada")
            sent += 1
    assert answer.status_code == 503
    assert len(well.bodies) == sent - 1


async def test_beyond_so_many_logins_in_flight_the_next_is_refused_at_once_and_nothing_else_is(
    tmp_path: Path, ports: list[int]
) -> None:
    one, two = Upstream("identity-1", ports[0]), Upstream("identity-2", ports[1])
    one.may_answer.clear()
    two.may_answer.clear()
    async with balanced(tmp_path, one, two, Upstream("promotions", ports[2]), in_flight=2) as client:
        inside = [asyncio.create_task(client.post("/login", content=b"%d" % n)) for n in range(4)]
        while len(one.bodies) + len(two.bodies) < 4:
            await asyncio.sleep(0.01)
        refused = [await client.post(path, content=b"more") for path in ("/login", "/register")]
        assert (await client.get("/account")).status_code == 200
        one.may_answer.set()
        two.may_answer.set()
        assert [(await answer).status_code for answer in inside] == [200] * 4
        assert (await client.post("/login", content=b"next")).status_code == 200
    assert {(answer.status_code, answer.headers["Retry-After"]) for answer in refused} == {(503, "1")}
    assert {answer.json()["code"] for answer in refused} == {"unavailable"}
    assert not {b"more"} & {*one.bodies, *two.bodies}
