"""People who come while versions change, and come back later. Every answer is counted; nothing is sent twice."""

import random
from collections import Counter
from dataclasses import dataclass, field

import httpx2

from journey.customers import Person, new_person

_TOP_UP = {"amount": 100_000, "currency": "VND"}
_NO_VOUCHER = "voucher_not_found"


@dataclass
class Known:
    """Somebody who has been here: what they were told must hold for good."""

    person: Person
    stage: str
    token: str
    place: int | None = None
    spent: dict[str, object] | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Say who is calling, and under which key they buy."""
        key = {"Idempotency-Key": self.person.username}
        return {"Authorization": f"Bearer {self.token}"} | key


@dataclass
class Visitors:
    """All who come, what was answered, and what ought not to have been."""

    http: httpx2.AsyncClient
    stage: str = ""
    away: list[Known] = field(default_factory=list)  # who may come back: one visit at a time
    requests: Counter[str] = field(default_factory=Counter)
    came: Counter[str] = field(default_factory=Counter)
    spent_again: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    async def visit(self) -> None:
        """Somebody opens the page, somebody new comes, and somebody from before comes back."""
        await self._send("GET", "/")
        await self.newcomer()
        if self.away:
            back = self.away.pop(random.randrange(len(self.away)))
            await self.return_of(back)
            self.away.append(back)

    async def newcomer(self) -> None:
        """Somebody registers, logs in, and looks for a voucher."""
        person = new_person()
        registered = await self._send("POST", "/register", person.registration())
        if registered and (answer := await self._send("POST", "/login", person.login())):
            known = Known(person, self.stage, str(answer["token"]))
            await self._send("GET", "/voucher", headers=known.headers, will_do=_NO_VOUCHER)
            self.away.append(known)
            self.came[self.stage] += 1

    async def return_of(self, known: Known) -> None:
        """Somebody looks with the token of before, logs in again and spends; what they were told before holds."""
        await self._send("GET", "/vouchers", headers=known.headers)
        if answer := await self._send("POST", "/login", known.person.login()):
            known.token = str(answer["token"])
        await self._hold_place(known)
        await self.look_and_spend(known)

    async def look_and_spend(self, known: Known) -> None:
        """Somebody who has a voucher spends it; who has spent it asks again under the same key."""
        shown = await self._send("GET", "/voucher", headers=known.headers, will_do=_NO_VOUCHER)
        if known.spent or (shown and "voucher" in shown):
            await self._spend(known)

    async def _hold_place(self, known: Known) -> None:
        answer = await self._send("GET", "/place", headers=known.headers)
        shown = answer.get("place") if answer else None
        place = shown["place"] if isinstance(shown, dict) else None
        if isinstance(place, int):
            if known.place not in {None, place}:
                self.failures.append(f"{self.stage}: place {known.place} of {known.stage} became {place}")
            known.place = place

    async def _spend(self, known: Known) -> None:
        body = {"order_id": known.person.username, **_TOP_UP}
        answer = await self._send("POST", "/voucher/redemptions", body, headers=known.headers)
        if answer is None:
            return
        if known.spent is None:
            known.spent = answer
        else:
            self.spent_again[known.stage, self.stage] += 1
            if known.spent != answer:
                self.failures.append(f"{self.stage}: the answer of {known.stage} was told otherwise: {answer}")

    async def _send(
        self,
        method: str,
        path: str,
        body: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        will_do: str = "",
    ) -> dict[str, object] | None:
        """Send once; return the answer, None if it failed, which is noted with the stage."""
        self.requests[self.stage] += 1
        try:
            answer = await self.http.request(method, path, json=body, headers=headers)
        except httpx2.TransportError as error:
            self.failures.append(f"{self.stage}: {method} {path}: {error!r}")
            return None
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        content: dict[str, object] = answer.json() if is_json else {}
        if answer.status_code != 200 and not (will_do and content.get("code") == will_do):
            self.failures.append(f"{self.stage}: {method} {path}: {answer.status_code} {answer.text[:200]}")
            return None
        return content
