"""What clients notice when processes die or hang under load: next to nothing; and nothing is lost."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx2

from earlybird.infra.mongo import Client
from journey.customers import (
    Person,
    each,
    log_in,
    new_person,
    newcomer_token,
    register,
    register_many,
    see_voucher,
    until_voucher,
)
from journey.fairness import first_unfairness
from journey.records import Visit, as_recorded, open_campaign, until_judged, user_ids
from journey.stack_client import RunningStack, earlybird, eventually

T = TypeVar("T")
IDENTITIES = ("identity-1", "identity-2")


@asynccontextmanager
async def repeated(act: Callable[[], Awaitable[None]], at_once: int) -> AsyncIterator[None]:
    """Do something over and over, so many at once, for the length of a block; what it raises fails the block."""
    is_over = False

    async def repeat() -> None:
        while not is_over:
            await act()

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(repeat())
        try:
            yield
        finally:
            is_over = True


async def though_cut_off(send: Callable[[], Awaitable[T]]) -> T:
    """Send, and again if the line is cut: a process that is killed while it answers cannot finish.

    For what is harmless to repeat: a login, a look at a voucher.
    """
    while True:
        try:
            return await send()
        except (httpx2.RemoteProtocolError, httpx2.ReadError):
            continue


async def assert_all_is_well(stack: RunningStack) -> None:
    """See that every process runs, as stack.json says, and that the audit passes."""
    assert None not in [stack.pid(name) for name in stack.file["processes"]]
    assert {stack.pid(name) for name in stack.file["processes"]} <= stack.living()
    assert "Audit passed" in await earlybird(stack, "audit")


async def test_vouchers_are_shown_to_new_tokens_while_both_identities_hang(
    stack: RunningStack, http: httpx2.AsyncClient, mongo: Client
) -> None:
    await open_campaign(mongo, 1)
    person = new_person()
    await register(http, person)
    await until_voucher(http, await log_in(http, person))
    unseen = [await log_in(http, person) for _ in range(20)]
    stack.send(signal.SIGSTOP, *IDENTITIES)
    try:
        answers = [await see_voucher(http, token) for token in unseen]
    finally:
        stack.send(signal.SIGCONT, *IDENTITIES)
    assert [answer.status_code for answer in answers] == [200] * len(unseen)
    assert await log_in(http, person), "identity goes on where it stood"


async def test_nobody_who_looks_at_a_voucher_notices_that_valkey_was_killed(
    stack: RunningStack, http: httpx2.AsyncClient, mongo: Client
) -> None:
    await open_campaign(mongo, 1)
    token = await newcomer_token(http)
    await until_voucher(http, token)
    statuses: list[int] = []

    async def look() -> None:
        statuses.append((await see_voucher(http, token)).status_code)

    async with repeated(look, at_once=8):
        await eventually(lambda: len(statuses) > 50)
        await stack.has_replaced(stack.send(signal.SIGKILL, "valkey"))
        seen = len(statuses)
        await eventually(lambda: len(statuses) > seen + 50)
    assert set(statuses) == {200}


async def test_one_of_each_role_killed_during_first_logins_changes_neither_order_nor_winners(
    stack: RunningStack, http: httpx2.AsyncClient, mongo: Client
) -> None:
    people = await register_many(http, 200)
    campaign_id = await open_campaign(mongo, 100)
    visits: list[Visit] = []
    killed: dict[str, int] = {}

    async def log_in_and_look(person: Person) -> None:
        started = time.monotonic()
        token = await though_cut_off(lambda: log_in(http, person))
        visits.append(Visit(person, token, started, time.monotonic()))
        assert (await though_cut_off(lambda: see_voucher(http, token))).status_code in {200, 400}
        for role, after in (("relay", 30), ("granter", 60), ("identity-1", 90), ("promotions-1", 120)):
            if len(visits) >= after and role not in killed:
                killed.update(stack.send(signal.SIGKILL, role))

    await each(people, log_in_and_look, limit=8)
    assert len(killed) == 4
    await stack.has_replaced(killed)
    await until_judged(mongo)
    logins = await as_recorded(mongo, visits, campaign_id)
    assert sum(login.holds_voucher for login in logins) == 100
    assert first_unfairness(logins) is None
    await assert_all_is_well(stack)


async def test_what_was_acknowledged_survives_a_mongod_killed_under_traffic(
    stack: RunningStack, http: httpx2.AsyncClient, mongo: Client
) -> None:
    registered: list[Person] = []
    logged_in: list[Person] = []
    answers: list[httpx2.Response] = []

    async def accepted(path: str, body: dict[str, object]) -> bool:
        answer = await http.post(path, json=body)
        answers.append(answer)
        if answer.status_code == 503:
            await asyncio.sleep(int(answer.headers["Retry-After"]))
        return answer.status_code == 200

    async def arrive() -> None:
        person = new_person()
        if await accepted("/register", person.registration()):
            registered.append(person)
            if await accepted("/login", person.login()):
                logged_in.append(person)

    async with repeated(arrive, at_once=8):
        await eventually(lambda: len(logged_in) > 30)
        await stack.has_replaced(stack.send(signal.SIGKILL, "mongod-1"))
        before = len(logged_in)
        await eventually(lambda: len(logged_in) > before + 30)

    assert {answer.status_code for answer in answers} <= {200, 503}
    await until_judged(mongo)
    assert len(await user_ids(mongo, registered)) == len(registered)
    ids = list((await user_ids(mongo, logged_in)).values())
    marked = {"_id": {"$in": ids}, "is_first_login": 0, "first_login_at": {"$exists": True}}
    assert await mongo["identity"]["users"].count_documents(marked) == len(logged_in)
    assert await mongo["identity"]["ledger"].count_documents({"user_id": {"$in": ids}}) == len(logged_in)
    await assert_all_is_well(stack)
