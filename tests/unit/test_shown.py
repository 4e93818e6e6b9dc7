"""What people see of campaigns, vouchers and redemptions: every field, with the value that it must have."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid5

import pytest
from pydantic import ValidationError
from refusals import refused_with

from earlybird.access.permissions import CAMPAIGN_MANAGER, CUSTOMER
from earlybird.errors import InvariantBroken
from earlybird.events import FirstLogin
from earlybird.identity.accounts.model import check_birthday, with_role, without_role
from earlybird.identity.ledger.model import FirstLoginCommitted, check_dense, number_first_logins
from earlybird.promotions.campaigns.model import Campaign, Raise
from earlybird.promotions.campaigns.records import CampaignRecord
from earlybird.promotions.campaigns.shapes import (
    CampaignChanges,
    NewCampaign,
    ShownCampaign,
    ShownCurrentCampaign,
)
from earlybird.promotions.granting.award import award
from earlybird.promotions.redemptions.model import (
    Order,
    Redemption,
    RedemptionEvent,
    RedemptionState,
    begun,
    settled,
)
from earlybird.promotions.redemptions.shapes import Redeemed, Refunded, Reserved
from earlybird.promotions.vouchers.model import HeldVoucher, Voucher
from earlybird.promotions.vouchers.shapes import MyVoucher
from earlybird.times import iso_utc

NOW = datetime(2026, 11, 1, 9, tzinfo=UTC)
DAY = timedelta(days=1)
CAMPAIGN = Campaign(
    UUID(int=1), "Tết", 30, 100, "30 % off", 30, 7, NOW, NOW + DAY, "VND", 10_000, 50_000, (Raise(100, NOW + DAY),)
)
RECORD = CampaignRecord(CAMPAIGN, 63, True, NOW - DAY, NOW)
VOUCHER = Voucher(
    UUID(int=2), UUID(int=3), CAMPAIGN.id, 37, 41, "30 % off “Tết”", 30, NOW + DAY, "VND", 10_000, 50_000
)
ORDER = Order("topup-1", 100_000, "VND")


def test_a_campaign_is_shown_to_its_managers_whole() -> None:
    shown = ShownCampaign.of(RECORD, NOW).model_dump(mode="json")
    assert shown == {
        "id": str(CAMPAIGN.id),
        "name": "Tết",
        "state": "open",
        "discount": 30,
        "number_of_promotion": 100,
        "remaining_promotion": 63,
        "replacements": 0,
        "description": "30 % off",
        "voucher_days": 30,
        "currency": "VND",
        "min_amount": 10_000,
        "max_discount_amount": 50_000,
        "starts_at": "2026-11-01T09:00:00.000Z",
        "ends_at": "2026-11-02T09:00:00.000Z",
        "created_at": "2026-10-31T09:00:00.000Z",
        "updated_at": "2026-11-01T09:00:00.000Z",
    }
    closed = replace(RECORD, is_available=False)
    assert ShownCampaign.of(closed, NOW + DAY).state == "closed"
    assert RECORD.granted == 37


def test_everybody_sees_of_the_open_campaign_what_matters_to_them() -> None:
    shown = ShownCurrentCampaign.of(RECORD).model_dump()
    assert shown == {"name": "Tết", "discount": 30, "remaining": 63, "total": 100, "is_sold_out": False}
    sold_out = ShownCurrentCampaign.of(replace(RECORD, remaining=0))
    assert sold_out.is_sold_out


def test_a_new_campaign_is_a_draft_with_a_description_of_its_own_or_an_ordinary_one() -> None:
    asked = NewCampaign(name="Tết", discount=30, number_of_promotion=100)
    assert asked.draft(UUID(int=1)) == Campaign(
        UUID(int=1), "Tết", 30, 100, "30 % off your next purchase", 30, None, None, None
    )
    described = asked.model_copy(update={"description": "a gift", "currency": "VND", "min_amount": 5})
    draft = described.draft(UUID(int=1))
    assert (draft.description, draft.currency, draft.min_amount) == ("a gift", "VND", 5)


def test_only_what_is_sent_is_changed_and_only_what_is_optional_can_be_taken_away() -> None:
    assert CampaignChanges(name="A").changes() == {"name": "A"}
    optional = ("starts_at", "ends_at", "currency", "min_amount", "max_discount_amount")
    for name in CampaignChanges.model_fields:
        body = CampaignChanges.model_validate({name: None})
        if name in optional:
            assert body.changes() == {name: None}
        else:
            assert refused_with(body.changes) == ("invalid_field", f"{name}: give a value, or leave it out.")


@pytest.mark.parametrize(("name", "most"), [("name", 100), ("description", 500)])
def test_a_text_is_as_long_as_its_normal_form(name: str, most: int) -> None:
    long = "e\u0301" * most
    assert CampaignChanges.model_validate({name: f"  {long} "}).changes() == {name: "é" * most}
    with pytest.raises(ValidationError, match=f"use 1 to {most} characters"):
        CampaignChanges.model_validate({name: long + "x"})


def test_a_voucher_is_shown_to_its_owner_with_its_place() -> None:
    shown = MyVoucher.of(HeldVoucher(VOUCHER, is_available=True), CAMPAIGN, NOW).model_dump(mode="json")
    assert shown == {
        "id": str(VOUCHER.id),
        "campaign": "Tết",
        "description": "30 % off “Tết”",
        "discount": 30,
        "state": "available",
        "position": "37 of 100",
        "currency": "VND",
        "min_amount": 10_000,
        "max_discount_amount": 50_000,
        "expire_at": "2026-11-02T09:00:00.000Z",
    }
    assert MyVoucher.of(HeldVoucher(VOUCHER, is_available=True), CAMPAIGN, NOW + DAY).state == "expired"


def test_the_contract_shows_three_fields_of_a_voucher_as_they_are() -> None:
    assert VOUCHER.to_json().decode() == (
        '{"description":"30 % off “Tết”","discount":30,"expire_at":"2026-11-02T09:00:00.000Z"}'
    )


def test_a_time_is_shown_in_utc_whatever_its_zone() -> None:
    assert iso_utc(datetime(2026, 11, 1, 16, tzinfo=timezone(timedelta(hours=7)))) == "2026-11-01T09:00:00.000Z"


def test_times_are_shown_and_told_in_utc_also_where_the_machine_is_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Ho_Chi_Minh")
    time.tzset()
    try:
        shown, told = iso_utc(NOW), FirstLogin(1, UUID(int=3), NOW).to_json()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert shown == "2026-11-01T09:00:00.000Z"
    assert b'"first_login_at":"2026-11-01T09:00:00.000+00:00"' in told
    assert b" " not in told, "equal events are equal bytes"


TERMS = {
    "id": str(UUID(int=9)),
    "order_id": "topup-1",
    "amount": 100_000,
    "discount_amount": 30_000,
    "payable_amount": 70_000,
    "currency": "VND",
}
AT = "2026-11-01T09:00:00.000Z"


def test_a_redemption_goes_through_its_life_with_every_field() -> None:
    held = begun(UUID(int=9), VOUCHER, ORDER, NOW, reserve=True)
    assert held == Redemption(
        id=UUID(int=9),
        voucher_id=VOUCHER.id,
        campaign_id=CAMPAIGN.id,
        user_id=VOUCHER.user_id,
        order_id="topup-1",
        amount=100_000,
        discount_amount=30_000,
        payable_amount=70_000,
        currency="VND",
        state=RedemptionState.RESERVED,
        reserved_until=NOW + timedelta(minutes=15),
    )
    spent = begun(UUID(int=9), VOUCHER, ORDER, NOW, reserve=False)
    assert spent == replace(held, state=RedemptionState.REDEEMED, reserved_until=None, redeemed_at=NOW)
    later = NOW + timedelta(minutes=1)
    confirmed = settled(held, RedemptionEvent.CONFIRM, VOUCHER, later)
    assert confirmed == replace(held, state=RedemptionState.REDEEMED, redeemed_at=later)
    released = settled(held, RedemptionEvent.RELEASE, VOUCHER, later)
    assert released == replace(held, state=RedemptionState.RELEASED, released_at=later)
    refunded = settled(spent, RedemptionEvent.REFUND, VOUCHER, later)
    assert refunded == replace(spent, state=RedemptionState.REFUNDED, refunded_at=later, voucher_returned=True)
    assert Redeemed.of(spent).model_dump(mode="json") == {
        "status": "success",
        "redemption": {**TERMS, "redeemed_at": AT},
    }
    assert Reserved.of(held).model_dump(mode="json") == {
        "status": "success",
        "reservation": {**TERMS, "reserved_until": "2026-11-01T09:15:00.000Z", "released_at": None},
    }
    assert Reserved.of(released).reservation.released_at == later
    assert Refunded.of(refunded).model_dump(mode="json") == {
        "status": "success",
        "redemption": {
            **TERMS,
            "redeemed_at": AT,
            "refunded_at": "2026-11-01T09:01:00.000Z",
            "voucher_returned": True,
        },
    }


def test_a_granted_voucher_carries_the_campaigns_terms() -> None:
    event = FirstLogin(7, UUID(int=3), NOW)
    [voucher] = award(replace(CAMPAIGN, raises=()), 64, [event])
    assert voucher == Voucher(
        uuid5(CAMPAIGN.id, str(event.user_id)),
        event.user_id,
        CAMPAIGN.id,
        37,
        7,
        "30 % off",
        30,
        NOW + 30 * DAY,
        "VND",
        10_000,
        50_000,
    )


@pytest.mark.parametrize("changes", [{"first_n": None}, {"starts_at": None}])
def test_a_draft_counts_nobody_whichever_half_of_its_start_is_missing(changes: dict[str, None]) -> None:
    draft = replace(CAMPAIGN, **changes)  # type: ignore[arg-type]
    assert not draft.counts(FirstLogin(7, UUID(int=3), NOW))
    assert draft.state(NOW) == "draft"


def committed(*users: int) -> list[FirstLoginCommitted]:
    return [FirstLoginCommitted(UUID(int=user), NOW + i * DAY) for i, user in enumerate(users)]


def test_first_logins_are_numbered_in_the_order_of_their_commitment_and_each_user_once() -> None:
    numbered = number_first_logins(7, committed(5, 3, 5, 4, 3), {UUID(int=4)})
    assert numbered == [FirstLogin(8, UUID(int=5), NOW), FirstLogin(9, UUID(int=3), NOW + DAY)]
    assert number_first_logins(0, [], set()) == []


@pytest.mark.parametrize(
    ("n", "numbers", "said"),
    [
        (0, [], None),
        (7, [8, 9], None),
        (7, [9], "ledger: after 7 comes 9"),
        (7, [8, 8], "ledger: after 8 comes 8"),
        (7, [7], "ledger: after 7 comes 7"),
    ],
)
def test_entries_that_do_not_go_on_from_the_number_before_break_an_invariant(
    n: int, numbers: list[int], said: str | None
) -> None:
    entries = [FirstLogin(number, UUID(int=number), NOW) for number in numbers]
    if said is None:
        assert check_dense(n, entries) == entries
    else:
        with pytest.raises(InvariantBroken) as broken:
            check_dense(n, entries)
        assert str(broken.value) == said


def test_a_role_is_given_once_and_taken_away_alone() -> None:
    assert with_role([CUSTOMER], CAMPAIGN_MANAGER) == [CUSTOMER, CAMPAIGN_MANAGER]
    assert with_role([CUSTOMER], CUSTOMER) == [CUSTOMER]
    assert without_role([CUSTOMER, CAMPAIGN_MANAGER], CUSTOMER) == [CAMPAIGN_MANAGER]
    assert without_role([CAMPAIGN_MANAGER], CUSTOMER) == [CAMPAIGN_MANAGER]
    with pytest.raises(ValueError, match="there is no role 'king'"):
        without_role([CUSTOMER], "king")


def test_a_person_of_150_years_may_still_register() -> None:
    today = datetime(2026, 11, 1, tzinfo=UTC).date()
    oldest = today.replace(year=1876)
    assert check_birthday(oldest, today) == oldest
