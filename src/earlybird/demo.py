"""The demo: invents people, registers them, logs all of them in at once, and shows who won.

It speaks to the running stack with the client, as everybody may; only names and the audit come from the databases.
"""

import asyncio
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from uuid_utils.compat import uuid7

from earlybird import promotions
from earlybird.client import AsyncClient, Call, Refused, Retries, Unavailable, api
from earlybird.errors import Failure
from earlybird.infra.mongo import Client
from earlybird.operations.winners import Winner, read_winners
from earlybird.promotions.campaigns.store import CampaignStore

T = TypeVar("T")
_AT_ONCE = 24  # requests in flight: enough to keep the hashing busy, too few to overflow its queue
_PATIENCE = Retries(tries=100, seconds=60)
_ACTOR = "demo"
# Pauses between looks at the voucher; they end early once all vouchers are held.
_POLLS_SECONDS = (0.015, 0.015, 0.015, 0.015, 0.06, 0.12, 0.24, 0.48, *[1.0] * 9)


class DemoFailed(Failure):
    """The stack answered something that it must not; the message says what."""


@dataclass(slots=True)
class Person:
    """An invented customer."""

    username: str
    phone: str
    password: str
    token: str = ""
    voucher_delay_seconds: float | None = None


class Demo:
    """One run of the demo against one stack."""

    def __init__(self, url: str, client: Client, console: Console) -> None:
        """Speak to the stack at `url`, read names and order from its databases."""
        self._url = url
        self._client = client
        self._console = console
        self._campaigns = CampaignStore(client[promotions.DATABASE])

    async def run(self, users: int) -> None:
        """Register and log in `users` people, then print winners, times and delays. Raises DemoFailed."""
        campaign_id, remaining = await self._campaign_with_some_left()
        people = _invent(users)
        async with AsyncClient(self._url, retries=_PATIENCE, timeout_seconds=30, connections=_AT_ONCE) as client:
            crowd = _Crowd(client, remaining)
            registering = await self._each("Registering", people, crowd.register)
            logging_in = await self._each("Logging in, all at once", people, crowd.log_in_and_look)
        winners = [one async for one in read_winners(self._client, campaign_id, datetime.now(UTC))]
        self._print_winners(winners, people)
        self._print_times(people, registering, logging_in)

    async def _campaign_with_some_left(self) -> tuple[UUID, int]:
        """Return the open campaign and what is left of it. Open another like it when it is used up."""
        current = await self._campaigns.find_current()
        if current is None:
            raise DemoFailed("no campaign is open, so nobody can win: `earlybird campaign create`, then `open`")
        campaign = current.campaign
        if current.remaining > 0:
            self._console.print(
                f"Campaign “{campaign.name}”: {current.remaining} of {campaign.number_of_promotion} left"
            )
            return campaign.id, current.remaining
        self._console.print(f"Campaign “{campaign.name}” is used up; opening another on the same terms")
        await self._campaigns.close(campaign.id, _ACTOR)
        again = replace(campaign, id=uuid7(), first_n=None, starts_at=None, ends_at=None, raises=())
        await self._campaigns.create(again, _ACTOR)
        return again.id, (await self._campaigns.open(again.id, _ACTOR)).remaining

    async def _each(self, title: str, people: Sequence[Person], act: Callable[[Person], Awaitable[None]]) -> float:
        """Do something for everybody at once, with a progress bar. Returns the seconds it took."""
        columns = (TextColumn(f"{title:<26}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        started = time.perf_counter()
        with Progress(*columns, console=self._console) as progress:
            bar = progress.add_task(title, total=len(people))

            async def one(person: Person) -> None:
                await act(person)
                progress.advance(bar)

            async with asyncio.TaskGroup() as group:
                for person in people:
                    group.create_task(one(person))
        return time.perf_counter() - started

    def _print_winners(self, winners: Sequence[Winner], people: Sequence[Person]) -> None:
        ours = {person.username for person in people}
        table = Table(title="Winners, in order of first login", title_justify="left")
        table.add_column("position", justify="right")
        table.add_column("user name")
        table.add_column("first login (UTC)")
        for winner in winners:
            mark = "" if winner.username in ours else "  (not of this demo)"
            when = f"{winner.first_login_at:%Y-%m-%d %H:%M:%S.%f}"[:-3]
            table.add_row(str(winner.position), f"{winner.username}{mark}", when)
        self._console.print(table)
        won = sum(winner.username in ours for winner in winners)
        self._console.print(f"{won} of these {len(people)} people hold a voucher")

    def _print_times(self, people: Sequence[Person], registering: float, logging_in: float) -> None:
        delays = [1000 * p.voucher_delay_seconds for p in people if p.voucher_delay_seconds is not None]
        self._console.print(
            f"Registered {len(people)} people in {registering:.1f} s ({len(people) / registering:.0f}/s)"
        )
        self._console.print(
            f"Logged in {len(people)} people in {logging_in:.1f} s ({len(people) / logging_in:.0f}/s)"
        )
        if len(delays) > 1:
            cuts = statistics.quantiles(delays, n=100, method="inclusive")
            self._console.print(
                f"From login to voucher, as clients saw it: p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms"
            )


class _Crowd:
    """What patient people do, each with a client."""

    def __init__(self, client: AsyncClient, remaining: int) -> None:
        self._client = client
        self._remaining = remaining
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def register(self, person: Person) -> None:
        while not await self._registers(person):
            person.phone = _invent_phone()

    async def _registers(self, person: Person) -> bool:
        """Make an account; False if someone of an earlier demo has this phone number."""
        call = api.register(
            username=person.username,
            email=f"{person.username}@example.com",
            phone=person.phone,
            password=person.password,
            full_name="Demo Person",
            birthday="1990-12-10",
        )
        try:
            await self._send(call)
        except Refused as refused:
            if refused.code != "duplicate_phone":
                raise DemoFailed(f"registering: {refused}") from refused
            return False
        return True

    async def log_in_and_look(self, person: Person) -> None:
        """Log in, then ask for the voucher until it is there or it is clear that there will be none."""
        try:
            login = await self._send(api.log_in(person.username, person.password))
        except Refused as refused:
            raise DemoFailed(f"logging in: {refused}") from refused
        logged_in = time.perf_counter()
        mine = self._client.as_(login.token)
        for pause in _POLLS_SECONDS:
            if self._remaining <= 0:
                return
            if await _holds_voucher(mine):
                person.voucher_delay_seconds = time.perf_counter() - logged_in
                self._remaining -= 1
                return
            await asyncio.sleep(pause)

    async def _send(self, call: Call[T]) -> T:
        """Send what costs a hash: so many at once, and again when there is too much to do. Raises Refused."""
        try:
            async with self._at_once:
                return await self._client.send(call)
        except Unavailable as away:
            raise DemoFailed(str(away)) from away


async def _holds_voucher(person: AsyncClient) -> bool:
    try:
        await person.send(api.voucher())
    except Refused as refused:
        if refused.code != "voucher_not_found":
            raise DemoFailed(f"looking for a voucher: {refused}") from refused
        return False
    except Unavailable:  # people look again
        return False
    return True


def _invent(users: int) -> list[Person]:
    run = secrets.token_hex(3)
    password = secrets.token_urlsafe(12)
    return [Person(f"demo-{run}-{i:06}", _invent_phone(), password) for i in range(1, users + 1)]


def _invent_phone() -> str:
    return f"+8491{secrets.randbelow(10**7):07}"
