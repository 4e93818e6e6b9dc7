"""Invented customers: what they send, how patiently they wait, and what must come back."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import httpx2

T = TypeVar("T")

AT_ONCE = 32
_PATIENCE_SECONDS = 60
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account, or about to have one."""

    username: str
    email: str
    phone: str
    password: str = "correct horse battery"

    def registration(self, **changes: object) -> dict[str, object]:
        return {
            "username": self.username,
            "email": self.email,
            "phone": self.phone,
            "password": self.password,
            "full_name": "Grace Hopper",
            "birthday": "1990-12-10",
        } | changes

    def login(self, **changes: object) -> dict[str, object]:
        return {"username": self.username, "password": self.password} | changes


def new_person() -> Person:
    """Invent somebody whom no test of this run has seen."""
    n = next(_numbers)
    return Person(f"person-{n}", f"person-{n}@example.com", f"+8490{n:07}")


async def patiently(send: Callable[[], Awaitable[httpx2.Response]]) -> httpx2.Response:
    """Send, and while the answer is "not now" send again when it says so."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while (answer := await send()).status_code == 503:
            await asyncio.sleep(int(answer.headers["Retry-After"]))
    return answer


async def register(http: httpx2.AsyncClient, person: Person) -> None:
    answer = await patiently(lambda: http.post("/register", json=person.registration()))
    assert (answer.status_code, answer.json()) == (200, {"status": "success"})


async def register_many(http: httpx2.AsyncClient, count: int) -> list[Person]:
    people = [new_person() for _ in range(count)]
    await each(people, lambda person: register(http, person))
    return people


async def log_in(http: httpx2.AsyncClient, person: Person) -> str:
    """Log in, give the token."""
    answer = await patiently(lambda: http.post("/login", json=person.login()))
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["token"]
    return token


async def newcomer_token(http: httpx2.AsyncClient) -> str:
    """Register somebody new and log them in for the first time; give the token."""
    person = new_person()
    await register(http, person)
    return await log_in(http, person)


async def see_voucher(http: httpx2.AsyncClient, token: str) -> httpx2.Response:
    return await http.get("/voucher", headers={"Authorization": f"Bearer {token}"})


async def until_voucher(http: httpx2.AsyncClient, token: str) -> None:
    """Wait until the voucher that this token's owner has earned is shown."""
    async with asyncio.timeout(30):
        while (await see_voucher(http, token)).status_code != 200:
            await asyncio.sleep(0.02)


async def each(
    people: Iterable[Person], act: Callable[[Person], Awaitable[T]], *, limit: int = AT_ONCE
) -> list[T]:
    """Act for everybody, so many at once; give the results in the order of the people."""
    slots = asyncio.Semaphore(limit)

    async def one(person: Person) -> T:
        async with slots:
            return await act(person)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(person)) for person in people]
    return [task.result() for task in tasks]


def assert_refused(answer: httpx2.Response, code: str, status: int = 400) -> None:
    """See that an answer is a refusal in the one form that all have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"status", "message", "code"}
    assert (body["status"], body["code"]) == ("error", code), body
    assert isinstance(body["message"], str)
    assert body["message"].endswith(".")
