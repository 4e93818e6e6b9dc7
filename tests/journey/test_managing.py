"""Somebody at the bank runs a campaign, over HTTP with the role."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from earlybird.infra.mongo import Client
from journey.customers import Person, assert_refused, log_in, new_person, newcomer_token, register, until_voucher
from journey.records import close_campaigns
from journey.stack_client import RunningStack, earlybird

TERMS = {"name": "Season", "discount": 20, "number_of_promotion": 5}


@pytest.fixture(scope="module")
async def manager(stack: RunningStack) -> Mapping[str, str]:
    """Headers of a manager, made by the command line."""
    async with httpx2.AsyncClient(base_url=stack.url, trust_env=False) as http:
        person = new_person()
        await register(http, person)
        await earlybird(stack, "user", "grant-role", person.username, "campaign_manager")
        await earlybird(stack, "user", "revoke-role", person.username, "customer")
        return {"Authorization": f"Bearer {await log_in(http, person)}"}


@pytest.fixture(autouse=True)
async def _nothing_open(mongo: Client) -> None:
    await close_campaigns(mongo)


async def create(http: httpx2.AsyncClient, manager: Mapping[str, str], **terms: object) -> dict[str, Any]:
    answer = await http.post("/campaigns", json=TERMS | terms, headers=manager)
    assert answer.status_code == 201, answer.text
    campaign: dict[str, Any] = answer.json()["campaign"]
    assert answer.headers["location"] == f"/campaigns/{campaign['id']}"
    return campaign


async def act(http: httpx2.AsyncClient, manager: Mapping[str, str], campaign: Mapping[str, Any], what: str) -> Any:
    answer = await http.post(f"/campaigns/{campaign['id']}/{what}", headers=manager)
    assert answer.status_code == 200, answer.text
    return answer.json()["campaign"]


async def edit(
    http: httpx2.AsyncClient, manager: Mapping[str, str], campaign: Mapping[str, Any], **changes: object
) -> httpx2.Response:
    return await http.patch(f"/campaigns/{campaign['id']}", json=changes, headers=manager)


async def in_a_while(**delta: float) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).isoformat()


async def test_a_campaign_goes_from_draft_to_open_to_closed(
    http: httpx2.AsyncClient, manager: Mapping[str, str]
) -> None:
    campaign = await create(http, manager, description="20 % off")
    assert (campaign["state"], campaign["remaining_promotion"]) == ("draft", 5)
    assert_refused(await http.get("/campaigns/current"), "campaign_not_found", 404)
    for _ in range(2):
        assert (await act(http, manager, campaign, "open"))["state"] == "open"
    current = await http.get("/campaigns/current")
    shown = {"name": "Season", "discount": 20, "remaining": 5, "total": 5, "is_sold_out": False}
    assert current.json() == {"status": "success", "campaign": shown}
    token = await newcomer_token(http)
    await until_voucher(http, token)
    assert (await http.get("/campaigns/current")).json()["campaign"]["remaining"] == 4
    for _ in range(2):
        assert (await act(http, manager, campaign, "close"))["state"] == "closed"
    assert_refused(await http.get("/campaigns/current"), "campaign_not_found", 404)
    listed = (await http.get("/campaigns", headers=manager)).json()["campaigns"]
    assert listed[0] == (await http.get(f"/campaigns/{campaign['id']}", headers=manager)).json()["campaign"]
    answer = await http.post(f"/campaigns/{campaign['id']}/open", headers=manager)
    assert_refused(answer, "campaign_closed", 409)


async def test_a_second_campaign_cannot_be_opened_beside_the_first(
    http: httpx2.AsyncClient, manager: Mapping[str, str]
) -> None:
    await act(http, manager, await create(http, manager), "open")
    second = await create(http, manager, name="Second")
    answer = await http.post(f"/campaigns/{second['id']}/open", headers=manager)
    assert_refused(answer, "campaign_already_open", 409)
    answer = await http.post("/campaigns", json=TERMS | {"starts_at": await in_a_while(days=1)}, headers=manager)
    assert_refused(answer, "campaign_overlaps", 409)


async def test_a_scheduled_campaign_opens_by_itself(http: httpx2.AsyncClient, manager: Mapping[str, str]) -> None:
    early = await newcomer_token(http)
    campaign = await create(http, manager, starts_at=await in_a_while(seconds=1))
    assert campaign["state"] == "scheduled"
    async with asyncio.timeout(20):
        while (await http.get("/campaigns/current")).status_code == 404:
            await asyncio.sleep(0.02)
    token = await newcomer_token(http)
    await until_voucher(http, token)
    answer = await http.get("/vouchers", headers={"Authorization": f"Bearer {early}"})
    assert answer.json()["vouchers"] == []


async def test_raising_the_number_rewards_those_next_in_line_at_once(
    stack: RunningStack, http: httpx2.AsyncClient, manager: Mapping[str, str]
) -> None:
    campaign = await create(http, manager, number_of_promotion=1)
    await act(http, manager, campaign, "open")
    tokens = [await newcomer_token(http) for _ in range(3)]
    await until_voucher(http, tokens[0])
    raised = await edit(http, manager, campaign, number_of_promotion=3)
    assert raised.json()["campaign"]["number_of_promotion"] == 3
    for i, token in enumerate(tokens, start=1):
        await until_voucher(http, token)
        answer = await http.get("/vouchers", headers={"Authorization": f"Bearer {token}"})
        assert [voucher["position"] for voucher in answer.json()["vouchers"]] == [f"{i} of 3"]
    assert_refused(await edit(http, manager, campaign, number_of_promotion=2), "number_below_granted", 409)
    assert_refused(await edit(http, manager, campaign, discount=50), "field_in_use", 409)
    await earlybird(stack, "audit")


async def test_a_withdrawn_voucher_goes_and_the_next_in_line_has_one_at_once(
    stack: RunningStack, http: httpx2.AsyncClient, manager: Mapping[str, str]
) -> None:
    campaign = await create(http, manager, number_of_promotion=1)
    await act(http, manager, campaign, "open")
    bots, path = [new_person() for _ in range(2)], f"/campaigns/{campaign['id']}/withdrawals"
    tokens = []
    for bot in bots:
        await register(http, bot)
        tokens.append(await log_in(http, bot))
    tokens.append(await newcomer_token(http))
    await until_voucher(http, tokens[0])
    mine = await http.get("/vouchers", headers={"Authorization": f"Bearer {tokens[0]}"})
    wanted = {"voucher_id": mine.json()["vouchers"][0]["id"], "reason": "a bot", "replace": True}
    answers = [await http.post(path, json=wanted, headers=manager) for _ in range(2)]
    withdrawal = answers[0].json()["withdrawal"]
    assert (withdrawal["position"], withdrawal["is_replaced"], withdrawal["reason"]) == (1, True, "a bot")
    assert answers[1].json() == answers[0].json(), "the same again"
    gone = await http.get("/voucher", headers={"Authorization": f"Bearer {tokens[0]}"})
    assert_refused(gone, "voucher_not_found")
    await until_voucher(http, tokens[1])
    said = await earlybird(stack, "voucher", "withdraw", bots[1].username, "--reason", "a bot", "--replace")
    assert "The voucher at position 2 is withdrawn; there is one more" in said
    await until_voucher(http, tokens[2])
    shown = [await http.get("/vouchers", headers={"Authorization": f"Bearer {token}"}) for token in tokens]
    vouchers = [answer.json()["vouchers"][0] for answer in shown]
    assert [(one["state"], one["position"]) for one in vouchers] == [
        ("withdrawn", "1 of 1"), ("withdrawn", "2 of 2"), ("available", "3 of 3"),
    ]  # fmt: skip
    order = {"order_id": "o", "amount": 5000, "currency": "VND"}
    headers = {"Authorization": f"Bearer {tokens[0]}", "Idempotency-Key": str(uuid4())}
    answer = await http.post("/voucher/redemptions", json=order, headers=headers)
    assert_refused(answer, "voucher_withdrawn", 409)
    headers["Authorization"] = f"Bearer {tokens[2]}"
    assert (await http.post("/voucher/redemptions", json=order, headers=headers)).status_code == 200
    spent = wanted | {"voucher_id": vouchers[2]["id"]}
    assert_refused(await http.post(path, json=spent, headers=manager), "voucher_already_redeemed", 409)
    nobodys = wanted | {"voucher_id": campaign["id"]}
    assert_refused(await http.post(path, json=nobodys, headers=manager), "voucher_not_found", 404)
    both = wanted | {"user_id": campaign["id"]}
    assert_refused(await http.post(path, json=both, headers=manager), "invalid_field", 422)
    listed = await earlybird(stack, "campaign", "winners")
    assert "3 of 3 vouchers granted (1, and 2 to replace withdrawn ones)" in " ".join(listed.split())
    assert listed.count("withdrawn") == 3
    current = (await http.get("/campaigns/current")).json()["campaign"]
    assert (current["total"], current["remaining"]) == (1, 0)


async def test_a_voucher_keeps_to_its_currency_minimum_and_cap(
    http: httpx2.AsyncClient, manager: Mapping[str, str]
) -> None:
    campaign = await create(http, manager, currency="KWD", min_amount=1000, max_discount_amount=5000)
    await act(http, manager, campaign, "open")
    token = await newcomer_token(http)
    await until_voucher(http, token)

    async def redeem(amount: int, currency: str) -> httpx2.Response:
        order = {"order_id": "o", "amount": amount, "currency": currency}
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid4())}
        return await http.post("/voucher/redemptions", json=order, headers=headers)

    assert_refused(await redeem(5000, "VND"), "currency_not_accepted", 422)
    assert_refused(await redeem(999, "KWD"), "amount_too_small", 422)
    assert (await redeem(1_000_000, "KWD")).json()["redemption"]["discount_amount"] == 5000


@pytest.mark.parametrize(
    "terms",
    [
        {"discount": 0}, {"discount": 101}, {"discount": "20"}, {"number_of_promotion": 0}, {"name": " "},
        {"name": "a\nb\u0000"}, {"voucher_days": 0}, {"starts_at": "2020-01-01T00:00:00Z"},
        {"starts_at": "2030-01-01T00:00:00"}, {"starts_at": "soon"}, {"currency": "XXX"}, {"min_amount": 5},
        {"starts_at": "2030-01-02T00:00:00Z", "ends_at": "2030-01-01T00:00:00Z"},
    ],
    ids=str,
)  # fmt: skip
async def test_bad_terms_are_refused_naming_the_field(
    http: httpx2.AsyncClient, manager: Mapping[str, str], terms: dict[str, object]
) -> None:
    answer = await http.post("/campaigns", json=TERMS | terms, headers=manager)
    assert_refused(answer, "invalid_field", 422)
    assert answer.json()["message"].partition(":")[0] in {*terms, "ends_at"}


async def test_only_managers_run_campaigns_and_read_the_audit_log(
    http: httpx2.AsyncClient, manager: Mapping[str, str]
) -> None:
    customer = {"Authorization": f"Bearer {await newcomer_token(http)}"}
    campaign = await create(http, manager)
    for method, path in (
        ("GET", "/campaigns"), ("POST", "/campaigns"), ("GET", f"/campaigns/{campaign['id']}"),
        ("PATCH", f"/campaigns/{campaign['id']}"), ("POST", f"/campaigns/{campaign['id']}/open"),
        ("POST", f"/campaigns/{campaign['id']}/close"), ("POST", f"/campaigns/{campaign['id']}/withdrawals"),
        ("GET", "/audit-log/promotions"),
        ("GET", "/audit-log/identity"),
    ):  # fmt: skip
        assert_refused(await http.request(method, path, json=TERMS, headers=customer), "forbidden", 403)
        assert_refused(await http.request(method, path, json=TERMS), "missing_token", 401)


async def test_a_manager_who_is_dismissed_or_disabled_stops_at_once(
    stack: RunningStack, http: httpx2.AsyncClient
) -> None:
    person = new_person()
    await register(http, person)
    await earlybird(stack, "user", "grant-role", person.email, "campaign_manager")
    headers = {"Authorization": f"Bearer {await log_in(http, person)}"}
    assert (await http.get("/campaigns", headers=headers)).status_code == 200
    await earlybird(stack, "user", "revoke-role", person.phone, "campaign_manager")
    assert_refused(await http.get("/campaigns", headers=headers), "forbidden", 403)
    await earlybird(stack, "user", "disable", person.username)
    refused = (await http.get("/campaigns", headers=headers)).json()["code"]
    assert refused in {"account_disabled", "invalid_token"}, "the account, or its sessions"


async def test_the_audit_log_is_paged_newest_first(http: httpx2.AsyncClient, manager: Mapping[str, str]) -> None:
    made = [await create(http, manager, name=f"Paged {i}") for i in range(5)]
    entries: list[dict[str, Any]] = []
    before = None
    while len(entries) < 5:
        params = {"limit": "2"} | ({} if before is None else {"before": before})
        page = (await http.get("/audit-log/promotions", params=params, headers=manager)).json()
        assert len(page["entries"]) == 2
        entries += page["entries"]
        before = page["next"]
    assert [entry["subject"] for entry in entries[:5]] == [campaign["id"] for campaign in reversed(made)]
    assert {entry["action"] for entry in entries[:5]} == {"campaign.created"}
    answer = await http.get("/audit-log/promotions", params={"before": "yesterday"}, headers=manager)
    assert_refused(answer, "invalid_field", 422)


async def test_staff_take_no_place_among_the_first(
    stack: RunningStack, http: httpx2.AsyncClient, manager: Mapping[str, str]
) -> None:
    await act(http, manager, await create(http, manager, number_of_promotion=1), "open")
    staff: Person = new_person()
    await register(http, staff)
    await earlybird(stack, "user", "revoke-role", staff.username, "customer")
    await log_in(http, staff)
    token = await newcomer_token(http)
    await until_voucher(http, token)
    shown = json.loads(await earlybird(stack, "user", "show", staff.username, "--json"))
    assert (shown["first_login_at"], shown["roles"]) == (None, [])
