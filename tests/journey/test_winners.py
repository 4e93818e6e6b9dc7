"""The promise, through the front door: exactly the first N, in true order, one each."""

import asyncio
import itertools

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


async def test_of_300_who_log_in_at_once_exactly_the_first_100_hold_and_see_a_voucher(
    http: httpx2.AsyncClient, mongo: Client
) -> None:
    people = await register_many(http, PEOPLE)
    campaign_id = await open_campaign(mongo, VOUCHERS)
    visits = await each(people, lambda person: timed_visit(http, person))
    await until_judged(mongo)

    logins = await as_recorded(mongo, visits, campaign_id)
    assert await mongo["promotions"]["vouchers"].count_documents({"campaign_id": campaign_id}) == VOUCHERS
    assert sum(login.holds_voucher for login in logins) == VOUCHERS
    assert any(came_before(*pair) for pair in itertools.permutations(logins, 2)), "nothing to judge by"
    assert first_unfairness(logins) is None
    by_number = sorted(logins, key=lambda login: login.number)
    assert [login.holds_voucher for login in by_number] == [True] * VOUCHERS + [False] * (PEOPLE - VOUCHERS)

    winners = {login.who for login in logins if login.holds_voucher}
    answers = dict(
        zip(people, await each(people, lambda p: see_voucher(http, tokens[p.username])), strict=True)
        if (tokens := {visit.person.username: visit.token for visit in visits})
        else ()
    )
    for person, answer in answers.items():
        if person.username not in winners:
            assert_refused(answer, "voucher_not_found")
            continue
        assert answer.status_code == 200
        body = answer.json()
        assert set(body) == {"status", "voucher"}
        assert body["status"] == "success"
        assert set(body["voucher"]) == {"description", "discount", "expire_at"}
        assert (body["voucher"]["description"], body["voucher"]["discount"]) == (DESCRIPTION, 30)
