"""The promise, through the front door: exactly the first N, in true order, one each."""

import itertools
from datetime import datetime

import httpx2

from earlybird.infra.mongo import Client
from journey.customers import (
    assert_refused,
    each,
    log_in,
    new_person,
    patiently,
    register_many,
    see_voucher,
)
from journey.fairness import came_before, first_unfairness
from journey.records import DESCRIPTION, as_recorded, open_campaign, timed_visit, until_judged, user_ids

PEOPLE = 300
VOUCHERS = 100


async def test_of_300_who_log_in_at_once_exactly_the_first_100_hold_a_voucher_and_see_it(
    http: httpx2.AsyncClient, mongo: Client
) -> None:
    people = await register_many(http, PEOPLE)
    campaign_id = await open_campaign(mongo, VOUCHERS)
    visits = await each(people, lambda person: timed_visit(http, person))
    await until_judged(mongo)

    logins = await as_recorded(mongo, visits, campaign_id)
    assert any(came_before(*pair) for pair in itertools.permutations(logins, 2)), "nothing to judge by"
    assert first_unfairness(logins) is None
    in_order = sorted(logins, key=lambda login: login.number)
    assert [login.holds_voucher for login in in_order] == [True] * VOUCHERS + [False] * (PEOPLE - VOUCHERS)

    vouchers = [voucher async for voucher in mongo["promotions"]["vouchers"].find({"campaign_id": campaign_id})]
    assert sorted(voucher["position"] for voucher in vouchers) == list(range(1, VOUCHERS + 1))
    ids = await user_ids(mongo, people)
    expiries = {voucher["user_id"]: voucher["expire_at"] for voucher in vouchers}
    tokens = {visit.person: visit.token for visit in visits}
    answers = await each(people, lambda person: see_voucher(http, tokens[person]))
    for person, answer in zip(people, answers, strict=True):
        _assert_shows(answer, expiries.get(ids[person.username]))


def _assert_shows(answer: httpx2.Response, expire_at: datetime | None) -> None:
    if expire_at is None:
        assert_refused(answer, "voucher_not_found")
        return
    assert answer.status_code == 200, answer.text
    body = answer.json()
    shown = body["voucher"].pop("expire_at")
    assert body == {"status": "success", "voucher": {"description": DESCRIPTION, "discount": 30}}
    assert shown.endswith("Z")
    assert datetime.fromisoformat(shown) == expire_at


async def test_one_person_logging_in_five_times_at_once_is_one_first_login(
    http: httpx2.AsyncClient, mongo: Client
) -> None:
    people = await register_many(http, 20)
    campaign_id = await open_campaign(mongo, VOUCHERS)
    await each(people * 5, lambda person: log_in(http, person))
    await until_judged(mongo)
    ids = set((await user_ids(mongo, people)).values())
    ledger = mongo["identity"]["ledger"].find({"user_id": {"$in": list(ids)}})
    assert sorted([entry["user_id"] async for entry in ledger]) == sorted(ids)
    vouchers = mongo["promotions"]["vouchers"].find({"campaign_id": campaign_id})
    assert sorted([voucher["user_id"] async for voucher in vouchers]) == sorted(ids)


async def test_of_200_who_register_one_e_mail_at_once_exactly_one_gets_the_account(
    http: httpx2.AsyncClient, mongo: Client
) -> None:
    wanted = new_person().email
    spellings = itertools.cycle([wanted, wanted.upper()])
    bodies = {person: person.registration(email=next(spellings)) for person in [new_person() for _ in range(200)]}
    answers = await each(bodies, lambda person: patiently(lambda: http.post("/register", json=bodies[person])))
    accepted = [answer for answer in answers if answer.status_code == 200]
    assert [answer.json() for answer in accepted] == [{"status": "success"}]
    for answer in answers:
        if answer.status_code != 200:
            assert_refused(answer, "duplicate_email")
    assert await mongo["identity"]["users"].count_documents({"email": wanted}) == 1
