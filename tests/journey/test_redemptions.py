"""The discount is used: through Envoy, by many at once, in one step and in two, and once at most."""

import asyncio
import signal
from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from earlybird.infra.mongo import Client, connect_mongo
from earlybird.settings import Settings
from journey.customers import (
    assert_refused,
    log_in,
    new_person,
    newcomer_token,
    register,
    see_voucher,
    until_voucher,
)
from journey.records import close_campaigns, open_campaign
from journey.stack_client import RunningStack, earlybird

ORDER = {"order_id": "topup-1", "amount": 100_005, "currency": "VND"}
REDEMPTION_KEYS = {
    "id", "order_id", "amount", "discount_amount", "payable_amount", "currency", "redeemed_at",
}  # fmt: skip


def headers(token: str, key: str | None = None) -> dict[str, str]:
    authorization = {"Authorization": f"Bearer {token}"}
    return authorization if key is None else authorization | {"Idempotency-Key": key}


async def spend(
    http: httpx2.AsyncClient, token: str, key: str | None = None, what: str = "redemptions", **changes: object
) -> httpx2.Response:
    return await http.post(
        f"/voucher/{what}", json=ORDER | changes, headers=headers(token, key or f"key-{uuid4()}")
    )


async def settle(http: httpx2.AsyncClient, token: str, *path: str) -> httpx2.Response:
    return await http.post("/".join(("/voucher", *path)), headers=headers(token))


async def my_vouchers(http: httpx2.AsyncClient, token: str) -> list[Mapping[str, Any]]:
    answer = await http.get("/vouchers", headers=headers(token))
    assert (answer.status_code, answer.json()["status"]) == (200, "success")
    vouchers: list[Mapping[str, Any]] = answer.json()["vouchers"]
    return vouchers


@pytest.fixture
async def winner(http: httpx2.AsyncClient, mongo: Client) -> str:
    """The token of somebody with a voucher."""
    await open_campaign(mongo, 3)
    token = await newcomer_token(http)
    await until_voucher(http, token)
    return token


async def test_a_voucher_takes_its_percentage_off_half_a_dong_rounded_up(
    http: httpx2.AsyncClient, winner: str
) -> None:
    answer = await spend(http, winner)
    assert answer.status_code == 200, answer.text
    redemption = answer.json()["redemption"]
    assert answer.json() == {"status": "success", "redemption": redemption}
    assert set(redemption) == REDEMPTION_KEYS
    assert {name: redemption[name] for name in ORDER} == ORDER
    assert (redemption["discount_amount"], redemption["payable_amount"]) == (30_002, 70_003)


async def test_a_quote_says_what_a_redemption_then_comes_to_and_changes_nothing(
    http: httpx2.AsyncClient, winner: str, stranger: str
) -> None:
    quoted = await http.post("/voucher/quote", json=ORDER, headers={"Authorization": f"Bearer {winner}"})
    assert quoted.status_code == 200, quoted.text
    [before] = await my_vouchers(http, winner)
    assert before["state"] == "available"
    redemption = (await spend(http, winner)).json()["redemption"]
    assert quoted.json()["quote"].items() <= redemption.items()
    again = await http.post("/voucher/quote", json=ORDER, headers={"Authorization": f"Bearer {winner}"})
    assert_refused(again, "voucher_already_redeemed", 409)
    nobody = await http.post("/voucher/quote", json=ORDER, headers={"Authorization": f"Bearer {stranger}"})
    assert_refused(nobody, "voucher_not_found", 404)


async def test_of_200_parallel_redemptions_of_one_voucher_exactly_one_succeeds(
    http: httpx2.AsyncClient, winner: str
) -> None:
    answers = await asyncio.gather(*(spend(http, winner) for _ in range(200)))
    outcomes = Counter(answer.json().get("code", "won") for answer in answers)
    assert outcomes == {"won": 1, "voucher_already_redeemed": 199}
    assert [voucher["state"] for voucher in await my_vouchers(http, winner)] == ["redeemed"]
    assert_refused(await see_voucher(http, winner), "voucher_not_found")


async def test_the_same_key_and_body_get_the_same_answer_and_another_body_is_refused(
    http: httpx2.AsyncClient, winner: str
) -> None:
    answers = await asyncio.gather(*(spend(http, winner, "one-key") for _ in range(30)))
    told = [answer.text for answer in answers if answer.status_code == 200]
    assert told
    assert len(set(told)) == 1
    for answer in answers:
        if answer.status_code != 200:
            assert_refused(answer, "request_in_flight", 409)
    assert (await spend(http, winner, "one-key")).text == told[0]
    assert_refused(await spend(http, winner, "one-key", amount=5), "idempotency_key_reused", 422)
    assert_refused(await spend(http, winner, "one-key", "reservations"), "idempotency_key_reused", 422)


async def test_a_refusal_is_kept_under_its_key_too(http: httpx2.AsyncClient, winner: str) -> None:
    held = (await spend(http, winner, what="reservations")).json()["reservation"]["id"]
    assert_refused(await spend(http, winner, "too-early"), "voucher_reserved", 409)
    await settle(http, winner, "reservations", held, "release")
    assert_refused(await spend(http, winner, "too-early"), "voucher_reserved", 409)
    assert (await spend(http, winner, "another")).status_code == 200


async def test_two_people_may_use_the_same_key(http: httpx2.AsyncClient, winner: str) -> None:
    other = await newcomer_token(http)
    await until_voucher(http, other)
    assert (await spend(http, winner, "1")).status_code == 200
    assert (await spend(http, other, "1")).status_code == 200


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ({"amount": 0}, "invalid_field", 422),
        ({"amount": 1.5}, "invalid_field", 422),
        ({"amount": True}, "invalid_field", 422),
        ({"amount": "5"}, "invalid_field", 422),
        ({"amount": 2**53}, "invalid_field", 422),
        ({"currency": "vnd"}, "invalid_field", 422),
        ({"currency": "XAU"}, "invalid_field", 422),
        ({"currency": None}, "invalid_field", 422),
        ({"order_id": ""}, "invalid_field", 422),
        ({"order_id": "a b"}, "invalid_field", 422),
        ({"order_id": "x" * 65}, "invalid_field", 422),
        ({"discount": 90}, "unknown_field", 422),
        ({"order_id": "x" * 20_000}, "body_too_large", 413),
    ],
)
@pytest.mark.parametrize("what", ["redemptions", "reservations"])
async def test_a_bad_purchase_is_refused_and_costs_nothing(
    http: httpx2.AsyncClient, stranger: str, what: str, change: dict[str, object], code: str, status: int
) -> None:
    answer = await http.post(f"/voucher/{what}", json=ORDER | change, headers=headers(stranger, "bad"))
    assert_refused(answer, code, status)


@pytest.fixture(scope="module")
async def stranger(stack: RunningStack) -> str:
    """The token of somebody who never won, for nothing was open."""
    async with (
        httpx2.AsyncClient(base_url=stack.url, trust_env=False) as http,
        connect_mongo(Settings(mongodb_uri=stack.file["mongodb_uri"]), "test") as mongo,
    ):
        await close_campaigns(mongo)
        return await newcomer_token(http)


@pytest.mark.parametrize("key", ["", "x" * 256, "two words"])
async def test_a_bad_idempotency_key_is_refused(http: httpx2.AsyncClient, stranger: str, key: str) -> None:
    answer = await http.post("/voucher/redemptions", json=ORDER, headers=headers(stranger, key))
    assert_refused(answer, "invalid_header", 400)


async def test_without_an_idempotency_key_or_a_token_nothing_is_done(
    http: httpx2.AsyncClient, stranger: str
) -> None:
    for what in ("redemptions", "reservations"):
        answer = await http.post(f"/voucher/{what}", json=ORDER, headers=headers(stranger))
        assert_refused(answer, "missing_header", 400)
        assert_refused(await http.post(f"/voucher/{what}", json=ORDER), "missing_token", 401)
        assert_refused(await spend(http, "forged", what=what), "invalid_token", 401)


async def test_a_reservation_holds_the_voucher_until_it_is_released(http: httpx2.AsyncClient, winner: str) -> None:
    answer = await spend(http, winner, "hold", "reservations")
    assert answer.status_code == 200
    reservation = answer.json()["reservation"]
    assert set(reservation) == REDEMPTION_KEYS - {"redeemed_at"} | {"reserved_until", "released_at"}
    assert_refused(await see_voucher(http, winner), "voucher_not_found")
    assert [voucher["state"] for voucher in await my_vouchers(http, winner)] == ["reserved"]
    assert_refused(await spend(http, winner), "voucher_reserved", 409)
    for _ in range(2):
        released = await settle(http, winner, "reservations", reservation["id"], "release")
        assert released.json()["reservation"]["released_at"] is not None
    assert (await see_voucher(http, winner)).status_code == 200
    confirmed = await settle(http, winner, "reservations", reservation["id"], "confirm")
    assert_refused(confirmed, "reservation_released", 409)
    assert (await spend(http, winner, "hold", "reservations")).text == answer.text, "the key's first answer"


async def test_a_confirmed_reservation_is_a_redemption_and_a_refund_returns_the_voucher(
    http: httpx2.AsyncClient, winner: str
) -> None:
    reservation = (await spend(http, winner, what="reservations")).json()["reservation"]
    confirmed = [await settle(http, winner, "reservations", reservation["id"], "confirm") for _ in range(2)]
    assert confirmed[0].text == confirmed[1].text
    redemption = confirmed[0].json()["redemption"]
    assert set(redemption) == REDEMPTION_KEYS
    assert_refused(
        await settle(http, winner, "reservations", redemption["id"], "release"), "reservation_confirmed", 409
    )
    refunded = [await settle(http, winner, "redemptions", redemption["id"], "refund") for _ in range(2)]
    assert refunded[0].text == refunded[1].text
    assert refunded[0].json()["redemption"]["voucher_returned"] is True
    assert (await see_voucher(http, winner)).status_code == 200
    assert_refused(
        await settle(http, winner, "reservations", redemption["id"], "confirm"), "redemption_refunded", 409
    )
    assert (await spend(http, winner)).status_code == 200


async def test_nobody_can_touch_the_reservation_or_redemption_of_another(
    http: httpx2.AsyncClient, winner: str, stranger: str
) -> None:
    reservation = (await spend(http, winner, what="reservations")).json()["reservation"]["id"]
    for act in ("confirm", "release"):
        answer = await settle(http, stranger, "reservations", reservation, act)
        assert_refused(answer, "reservation_not_found", 404)
    redemption = (await settle(http, winner, "reservations", reservation, "confirm")).json()["redemption"]["id"]
    assert_refused(await settle(http, stranger, "redemptions", redemption, "refund"), "redemption_not_found", 404)
    assert_refused(await settle(http, winner, "redemptions", str(uuid4()), "refund"), "redemption_not_found", 404)
    assert_refused(await settle(http, winner, "redemptions", "mine", "refund"), "not_found", 404)


async def test_who_never_won_is_told_so(http: httpx2.AsyncClient, stranger: str) -> None:
    assert_refused(await spend(http, stranger), "voucher_not_found", 404)
    assert await my_vouchers(http, stranger) == []


async def test_my_vouchers_tell_state_and_position(http: httpx2.AsyncClient, winner: str) -> None:
    [voucher] = await my_vouchers(http, winner)
    assert (voucher["state"], voucher["position"], voucher["discount"]) == ("available", "1 of 3", 30)


async def test_disabling_an_account_refuses_redemption_at_once_and_enabling_allows_it_again(
    stack: RunningStack, http: httpx2.AsyncClient, mongo: Client
) -> None:
    await open_campaign(mongo, 1)
    person = new_person()
    await register(http, person)
    token = await log_in(http, person)
    await until_voucher(http, token)
    await earlybird(stack, "user", "disable", person.username)
    for what in ("redemptions", "reservations"):
        assert (await spend(http, token, what=what)).json()["code"] in {"account_disabled", "invalid_token"}
    assert_refused(await http.post("/login", json=person.login()), "invalid_credentials")
    await earlybird(stack, "user", "enable", person.username)
    assert (await spend(http, await log_in(http, person))).status_code == 200
    await earlybird(stack, "audit")


async def test_with_identity_away_nothing_is_spent_and_vouchers_are_still_shown(
    stack: RunningStack, http: httpx2.AsyncClient, winner: str
) -> None:
    names = ("identity-1", "identity-2")
    stack.send(signal.SIGSTOP, *names)
    try:
        answer = await spend(http, winner)
        assert_refused(answer, "unavailable", 503)
        assert int(answer.headers["retry-after"]) >= 1
        assert (await see_voucher(http, winner)).status_code == 200
    finally:
        stack.send(signal.SIGCONT, *names)
