"""What support reads of a person: masked contacts, a story in order, and the reason for every no."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlybird.identity.people.model import Person, mask_email, mask_phone, person_of, timeline
from earlybird.promotions.campaigns.model import Campaign, Raise
from earlybird.promotions.redemptions.model import (
    Order,
    Redemption,
    RedemptionEvent,
    begun,
    settled,
)
from earlybird.promotions.reports.model import (
    Figures,
    entries_of_redemption,
    entries_of_voucher,
    most_discount,
)
from earlybird.promotions.vouchers.model import Voucher

NOW = datetime(2026, 11, 1, 9, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
CAMPAIGN = Campaign(UUID(int=1), "Launch", 30, 2, "30 % off", 30, 1, NOW, None, "VND", None, 50_000)
VOUCHER = Voucher(UUID(int=5), UUID(int=6), CAMPAIGN.id, 2, 2, "30 % off", 30, NOW + HOUR)
ORDER = Order("topup-1", 100_000, "VND")
USER: dict[str, Any] = {
    "_id": UUID(int=6),
    "username": "ada",
    "email": "ada.lovelace@example.com",
    "phone": "+84912345678",
    "password": "$argon2id$secret",
    "roles": ["customer"],
    "is_active": 1,
    "created_at": NOW,
}


@given(st.text("abc.+", min_size=2, max_size=30), st.text("0123456789", min_size=7, max_size=15))
def test_a_masked_contact_shows_too_little_to_write_to(local: str, digits: str) -> None:
    masked = mask_email(f"{local}@example.com")
    assert masked == f"{local[0]}•••@example.com"
    assert mask_phone(f"+{digits}") == f"•••{digits[-3:]}"


def test_an_account_is_read_without_its_secrets() -> None:
    person = person_of(USER, 7)
    assert (person.email, person.phone, person.number, person.is_erased) == (
        "a•••@example.com",
        "•••678",
        7,
        False,
    )
    assert "argon2" not in repr(person)
    gone = person_of({**USER, "username": "erased:6", "erased_at": NOW}, 7)
    assert (gone.username, gone.email, gone.phone, gone.is_erased) == (None, None, None, True)


NOBODY_YET = person_of(USER, None)


@pytest.mark.parametrize(
    ("person", "part"),
    [
        (replace(NOBODY_YET, first_login_at=NOW), "in a moment"),
        (replace(NOBODY_YET, is_verified=False), "not confirmed"),
        (replace(NOBODY_YET, roles=("support",)), "staff without the role customer"),
        (replace(NOBODY_YET, is_active=False), "disabled"),
        (NOBODY_YET, "never logged in"),
    ],
)
def test_there_is_a_reason_for_having_no_number(person: Person, part: str) -> None:
    assert part in (person.why_no_number or "")
    assert replace(person, number=1).why_no_number is None


def test_a_story_is_told_in_order_and_names_the_roles() -> None:
    person = replace(NOBODY_YET, first_login_at=NOW + HOUR, number=3)
    changes = [
        {"at": NOW + 3 * HOUR, "action": "account.locked", "actor": "throttle", "after": {"is_locked": True}},
        {"at": NOW + 2 * HOUR, "action": "role.granted", "actor": "cli:ops", "after": {"roles": ["support"]}},
        {"at": NOW, "action": "something.else", "actor": "x", "after": None},
    ]
    story = timeline(person, NOW + MINUTE, changes)
    assert [entry.what for entry in story] == [
        *("account.registered", "contact.verified", "login.first", "role.granted", "account.locked")
    ]
    assert "number 3 of all" in story[2].text
    assert story[3].text.endswith("now support")
    assert [entry.actor for entry in story] == [None, None, None, "cli:ops", "throttle"]


def document(**changes: Any) -> dict[str, Any]:
    fields = {"position": 2, "discount": 30, "created_at": NOW, "expire_at": NOW + HOUR, "is_available": 1}
    return fields | changes


@pytest.mark.parametrize(
    ("voucher", "now", "expected"),
    [
        (document(), NOW, ["voucher.granted"]),
        (document(), NOW + HOUR, ["voucher.granted", "voucher.expired"]),
        (document(is_available=0), NOW + HOUR, ["voucher.granted"]),
        (
            document(is_available=0, withdrawn_at=NOW, withdrawn_by="cli:ops", withdrawn_reason="a bot"),
            NOW + HOUR,
            ["voucher.granted", "voucher.withdrawn"],
        ),
    ],
)
def test_what_happened_to_a_voucher_is_told(voucher: dict[str, Any], now: datetime, expected: list[str]) -> None:
    entries = list(entries_of_voucher(voucher, CAMPAIGN, now))
    assert [entry.what for entry in entries] == expected
    assert "“Launch”" in entries[0].text
    if voucher.get("withdrawn_at"):
        assert entries[1].text.endswith("by cli:ops: a bot")


def test_whoever_won_after_the_number_was_raised_is_told_so() -> None:
    raised = replace(CAMPAIGN, number_of_promotion=3, raises=(Raise(above=2, at=NOW + HOUR),))
    assert (
        "from 2026-11-01T10:00:00.000Z on"
        in next(iter(entries_of_voucher(document(position=3), raised, NOW))).text
    )
    assert "there were more" not in next(iter(entries_of_voucher(document(), raised, NOW))).text


def steps(redemption: Redemption, now: datetime = NOW) -> list[tuple[str, datetime]]:
    return [(entry.what.removeprefix("redemption."), entry.at) for entry in entries_of_redemption(redemption, now)]


def test_what_happened_to_an_attempt_to_spend_is_told() -> None:
    held = begun(UUID(int=9), VOUCHER, ORDER, NOW, reserve=True)
    began, until = ("reserved", NOW), NOW + 15 * MINUTE
    assert steps(held) == [began]
    assert steps(held, until) == [began, ("lapsed", until)]
    later = NOW + MINUTE
    confirmed = settled(held, RedemptionEvent.CONFIRM, VOUCHER, later)
    assert steps(confirmed, until) == [began, ("redeemed", later)]
    assert steps(settled(held, RedemptionEvent.RELEASE, VOUCHER, later), until) == [began, ("released", later)]
    assert steps(settled(held, RedemptionEvent.WITHDRAW, VOUCHER, later), until) == [began]
    refunded = settled(confirmed, RedemptionEvent.REFUND, VOUCHER, NOW + 2 * MINUTE)
    assert steps(refunded) == [began, ("redeemed", later), ("refunded", NOW + 2 * MINUTE)]
    texts = [entry.text for entry in entries_of_redemption(refunded, NOW)]
    assert texts[-1] == "Refunded, the voucher usable again: order topup-1"
    too_late = settled(confirmed, RedemptionEvent.REFUND, VOUCHER, NOW + HOUR)
    assert "not usable again" in list(entries_of_redemption(too_late, NOW))[-1].text
    assert steps(begun(UUID(int=9), VOUCHER, ORDER, NOW, reserve=False)) == [("redeemed", NOW)]


def test_what_it_can_still_cost_counts_what_is_neither_spent_nor_taken_back() -> None:
    figures = Figures(4, 6, 1, 1, 2, 1, {"VND": 60_000}, 0)
    assert figures.usable == 7
    assert most_discount(CAMPAIGN, figures.usable) == 350_000
    assert most_discount(replace(CAMPAIGN, max_discount_amount=None), 7) is None
