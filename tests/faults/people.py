"""The clients: people who register, log in for the first time, look for a voucher, and spend it; all is noted."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from faults.history import Call, History, Outcome

AT_ONCE = 24
TIMEOUT_SECONDS = 8.0
_FIRST_PAUSE_SECONDS = 1.5
_LONGEST_PAUSE_SECONDS = 30.0
_PURCHASE = {"order_id": "topup-1", "amount": 100_000, "currency": "VND"}
_BOTS = 7  # one in so many
_PASSWORD = "correct horse battery"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, if anything did."""

    outcome: Outcome
    body: dict[str, Any]


def is_bot(name: str) -> bool:
    """Say whether this is one of those who do not redeem: in some runs their vouchers are withdrawn."""
    return int(name.rpartition("-")[2]) % _BOTS == 0


class Crowd:
    """Everybody of one run, acting at once against one address."""

    def __init__(self, url: str, history: History, rng: random.Random, *, bots: bool = False) -> None:
        self._http = aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        self._history = history
        self._rng = rng
        self._bots = bots
        self._slots = asyncio.Semaphore(AT_ONCE)
        self.logged_in = 0
        self.progress = asyncio.Condition()
        self.over = False  # nobody need look for a voucher any more
        self._stir = asyncio.Event()

    async def close(self) -> None:
        await self._http.close()

    def look_again(self) -> None:
        """Have everybody who has no voucher yet look now, and soon again."""
        self._stir.set()
        self._stir = asyncio.Event()

    async def live(self, number: int, name: str) -> None:
        """Be one person from registration to redemption."""
        async with self._slots:
            await self._register(number, name)
            token = await self._log_in(name)
        async with self.progress:
            self.logged_in += 1
            self.progress.notify_all()
        token = await self._see_voucher(name, token)
        if token and self._bots and is_bot(name):
            await self._redeem_too_late(name, token)
        elif token:
            await self._redeem(name, token)

    async def until_logged_in(self, count: int) -> None:
        """Wait until so many have their first login acknowledged."""
        async with self.progress:
            await self.progress.wait_for(lambda: self.logged_in >= count)

    async def _register(self, number: int, name: str) -> None:
        body = {
            "username": name,
            "email": f"{name}@example.com",
            "phone": f"+8490{number:07}",
            "password": _PASSWORD,
            "full_name": "Grace Hopper",
            "birthday": "1990-12-10",
        }
        taken = (
            "duplicate_username",
            "duplicate_email",
            "duplicate_phone",
        )  # an earlier try of our own went through
        await self._until(
            lambda: self._call("register", name, "POST", "/register", body),
            lambda answer: answer.outcome is Outcome.OK or answer.body.get("code") in taken,
        )

    async def _log_in(self, name: str) -> str:
        body = {"username": name, "password": _PASSWORD}
        answer = await self._until(
            lambda: self._call("login", name, "POST", "/login", body), lambda answer: answer.outcome is Outcome.OK
        )
        return str(answer.body["token"])

    async def _see_voucher(self, name: str, token: str) -> str:
        """Look until there is one or all is over; give a token that is still good, none if there is no voucher."""
        pause = _FIRST_PAUSE_SECONDS
        while not self.over:
            answer = await self._call("voucher", name, "GET", "/voucher", token=token)
            if answer.outcome is Outcome.OK:
                return token
            if answer.body.get("code") == "invalid_token":
                token = await self._log_in(name)
            try:
                async with asyncio.timeout(pause * self._rng.uniform(0.5, 1)):
                    await self._stir.wait()
                pause = _FIRST_PAUSE_SECONDS
            except TimeoutError:
                pause = min(3 * pause, _LONGEST_PAUSE_SECONDS)
        return ""

    async def _redeem(self, name: str, token: str) -> None:
        while True:
            answer = await self._call("redeem", name, "POST", "/voucher/redemptions", _PURCHASE, token)
            if answer.outcome is Outcome.OK:
                return
            if answer.body.get("code") == "invalid_token":
                token = await self._log_in(name)
            await asyncio.sleep(self._rng.uniform(0.1, 0.4))

    async def _redeem_too_late(self, name: str, token: str) -> None:
        """Wait until the voucher is withdrawn, and try to spend it then."""
        while not self.over:
            answer = await self._call("voucher", name, "GET", "/voucher", token=token)
            if answer.body.get("code") == "invalid_token":
                token = await self._log_in(name)
            elif answer.outcome is Outcome.REFUSED:
                answer = await self._call("redeem", name, "POST", "/voucher/redemptions", _PURCHASE, token)
                if answer.outcome is not Outcome.UNKNOWN:
                    return
            await asyncio.sleep(self._rng.uniform(0.3, 0.6))

    async def _until(self, act: Callable[[], Awaitable[Answer]], is_done: Callable[[Answer], bool]) -> Answer:
        while not is_done(answer := await act()):
            await asyncio.sleep(self._rng.uniform(0.1, 0.4))
        return answer

    async def _call(
        self, what: str, who: str, method: str, path: str, body: object = None, token: str = ""
    ) -> Answer:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": who} if token else {}
        started, answer = time.monotonic(), Answer(Outcome.UNKNOWN, {})
        try:
            async with self._http.request(method, path, json=body, headers=headers) as response:
                answer = _read(response.status, await response.json())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            pass
        finally:  # also of a call that is cancelled
            detail = str(answer.body.get("redemption", {}).get("id") or answer.body.get("code", ""))
            self._history.calls.append(Call(what, who, started, time.monotonic(), answer.outcome, detail))
        return answer


def _read(status: int, body: dict[str, Any]) -> Answer:
    if status == 200:
        return Answer(Outcome.OK, body)
    # A 503 may follow a write that was made and could not be acknowledged.
    unknown = status >= 500 or body.get("code") == "request_in_flight"
    return Answer(Outcome.UNKNOWN if unknown else Outcome.REFUSED, body)
