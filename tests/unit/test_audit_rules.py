"""What the audit decides: each way in which stored data contradict each other is named, and nothing else is."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from earlybird.events import FirstLogin
from earlybird.operations.audit.findings import Difference
from earlybird.operations.audit.rules import (
    Tally,
    check_replacements,
    check_voucher,
    check_withdrawal_noted,
    is_entered,
    next_number,
    withdrawn_position,
)
from earlybird.promotions.campaigns.model import Campaign, Raise
from earlybird.promotions.redemptions.model import (
    Order,
    Redemption,
    RedemptionEvent,
    RedemptionState,
    begun,
    settled,
)
from earlybird.promotions.vouchers.model import Voucher

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ADA, BOB = UUID(int=1), UUID(int=2)
CAMPAIGN = Campaign(UUID(int=3), "Launch", 30, 100, "30 % off", 30, 1, NOW, None)
VOUCHER = Voucher(UUID(int=4), ADA, CAMPAIGN.id, 37, 37, "30 % off", 30, NOW + timedelta(days=30), "VND", 1000)
SPENT = begun(UUID(int=5), VOUCHER, Order("topup-1", 100_000, "VND"), NOW, reserve=False)
HELD = begun(UUID(int=6), VOUCHER, Order("topup-1", 100_000, "VND"), NOW, reserve=True)
USER = {"_id": ADA, "is_first_login": 0, "first_login_at": NOW}
ENTRY = {"_id": 1, "user_id": ADA, "first_login_at": NOW}


def difference(check: Callable[[], object]) -> str | None:
    """Return what the audit says, or None if it says nothing."""
    try:
        check()
    except Difference as found:
        return str(found)
    return None


@pytest.mark.parametrize(
    ("last", "n", "said"),
    [
        (0, 1, None),
        (7, 8, None),
        (7, 9, "ledger: after 7 comes 9, not 8"),
        (7, 7, "ledger: after 7 comes 7, not 8"),
    ],
)
def test_the_ledger_has_no_hole_and_no_number_twice(last: int, n: int, said: str | None) -> None:
    assert difference(lambda: next_number(last, FirstLogin(n, ADA, NOW))) == said
    assert said is not None or next_number(last, FirstLogin(n, ADA, NOW)) == n


def test_a_user_without_an_entry_is_on_the_way() -> None:
    assert is_entered(USER, ENTRY)
    assert not is_entered(USER, None)
    assert not is_entered(USER, ENTRY | {"user_id": BOB})


CONTRADICT = "has is_first_login and first_login_at that contradict each other"


@pytest.mark.parametrize(
    ("user", "entry", "said"),
    [
        ({"is_first_login": 1}, {}, f"users: {ADA} {CONTRADICT}"),
        ({"first_login_at": None}, {}, f"users: {ADA} {CONTRADICT}"),
        ({"_id": BOB}, {}, f"ledger: entry 1 is of {ADA}, who never logged in"),
        ({}, {"first_login_at": NOW + timedelta(1)}, f"ledger: entry 1 is dated otherwise than its user {ADA}"),
    ],
)
def test_a_user_and_an_entry_that_contradict_each_other_are_named(
    user: Mapping[str, Any], entry: Mapping[str, Any], said: str
) -> None:
    assert difference(lambda: is_entered({**USER, **user}, {**ENTRY, **entry})) == said


PLACE = "campaign “Launch”, position 37"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (VOUCHER, None),
        (None, f"{PLACE}: {ADA} earned a voucher and holds none"),
        (replace(VOUCHER, user_id=BOB), f"{PLACE}: {ADA} earned the voucher, {BOB} holds it"),
        (replace(VOUCHER, discount=31), f"{PLACE}: the voucher is not on the campaign's terms"),
        (replace(VOUCHER, currency=None), f"{PLACE}: the voucher is not on the campaign's terms"),
        (replace(VOUCHER, first_login_n=38), f"{PLACE}: the voucher is not on the campaign's terms"),
    ],
)
def test_a_voucher_is_exactly_the_one_that_was_earned(found: Voucher | None, said: str | None) -> None:
    assert difference(lambda: check_voucher(CAMPAIGN, VOUCHER, found)) == said


def tally(*redemptions: Redemption, voucher: Voucher = VOUCHER, **document: Any) -> Tally:
    """Add redemptions of one voucher, which is stored like this."""
    result = Tally()
    for redemption in redemptions:
        result.add(redemption, {"is_available": 0, **document}, voucher)
    return result


def test_redemptions_are_counted_with_what_they_took_off_by_currency() -> None:
    other = replace(VOUCHER, id=UUID(int=7), currency=None)
    counted = tally(SPENT)
    counted.add(replace(SPENT, id=UUID(int=8), voucher_id=other.id), {"is_available": 0}, other)
    counted.add(replace(SPENT, voucher_id=UUID(int=9), currency="EUR"), {"is_available": 0}, other)
    assert (counted.spent, counted.held, counted.discounts) == (3, 0, {"VND": 60_000, "EUR": 30_000})
    refunded = settled(SPENT, RedemptionEvent.REFUND, VOUCHER, NOW)
    held: dict[str, Any] = {"is_available": 1, "held_by": HELD.id, "held_until": HELD.reserved_until}
    counted = tally(refunded, HELD, **held)
    assert (counted.spent, counted.held, counted.discounts) == (0, 1, {})
    assert tally(HELD, is_available=1, held_by=BOB).held == 0
    counted.add(HELD, {**held}, VOUCHER)
    assert counted.held == 2


@pytest.mark.parametrize(
    ("redemption", "document", "said"),
    [
        ({"user_id": BOB}, {}, "redemption {id}: it is not of its voucher's owner and campaign"),
        ({"campaign_id": BOB}, {}, "redemption {id}: it is not of its voucher's owner and campaign"),
        ({"discount_amount": 30_001}, {}, "redemption {id}: the discount is not the voucher's"),
        ({"amount": 90_000}, {}, "redemption {id}: the discount is not the voucher's"),
        ({"payable_amount": 70_001}, {}, "redemption {id}: amount, discount and payable amount do not add up"),
        ({"currency": "EUR"}, {}, "redemption {id}: the voucher is not for such a purchase"),
        (
            {"amount": 999, "discount_amount": 300, "payable_amount": 699},
            {},
            "redemption {id}: the voucher is not for such a purchase",
        ),
        ({}, {"is_available": 1}, "voucher {voucher_id}: it is available, and redeemed"),
        ({}, {"held_by": SPENT.id}, "voucher {voucher_id}: it is held by {id}, which is redeemed"),
    ],
)
def test_a_redemption_that_does_not_fit_its_voucher_is_named(
    redemption: dict[str, Any], document: dict[str, Any], said: str
) -> None:
    wrong = replace(SPENT, **redemption)
    expected = said.format(id=wrong.id, voucher_id=wrong.voucher_id)
    assert difference(lambda: tally(wrong, **document)) == expected


def test_the_least_amount_itself_is_enough() -> None:
    least = replace(SPENT, amount=1000, discount_amount=300, payable_amount=700)
    assert tally(least).spent == 1


def test_a_voucher_spent_twice_is_named() -> None:
    again = replace(SPENT, id=UUID(int=8))
    assert difference(lambda: tally(SPENT, again)) == f"voucher {VOUCHER.id}: it was spent twice"
    between = replace(SPENT, voucher_id=UUID(int=9))
    other = replace(VOUCHER, id=UUID(int=9))
    counted = tally(SPENT)
    counted.add(between, {"is_available": 0}, other)
    assert counted.spent == 2


def test_a_hold_for_another_time_than_its_reservation_is_named() -> None:
    document: dict[str, Any] = {"is_available": 1, "held_by": HELD.id, "held_until": NOW}
    said = f"voucher {VOUCHER.id}: it is held by {HELD.id}, which is reserved"
    assert difference(lambda: tally(HELD, **document)) == said


WITHDRAWN: dict[str, Any] = {"_id": VOUCHER.id, "position": 37, "is_available": 0, "withdrawn_at": NOW}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, None),
        ({"held_by": None, "held_until": None}, None),
        ({"is_available": 1}, "it is withdrawn, and available"),
        ({"held_by": HELD.id}, "it is withdrawn, and held"),
        ({"held_until": NOW}, "it is withdrawn, and held"),
    ],
)
def test_a_withdrawn_voucher_is_of_no_use_to_anybody(document: dict[str, Any], said: str | None) -> None:
    found = difference(lambda: withdrawn_position({**WITHDRAWN, **document}))
    assert found == (said and f"voucher {VOUCHER.id}: {said}")
    assert said is not None or withdrawn_position(WITHDRAWN) == 37


def test_what_is_withdrawn_was_not_redeemed_and_what_ended_with_its_voucher_has_lost_it() -> None:
    said = f"voucher {VOUCHER.id}: it is withdrawn, and redeemed"
    assert difference(lambda: tally(SPENT, withdrawn_at=NOW)) == said
    refunded = settled(SPENT, RedemptionEvent.REFUND, VOUCHER, NOW)
    ended = replace(HELD, state=RedemptionState.WITHDRAWN)
    counted = tally(refunded, ended, withdrawn_at=NOW)
    assert (counted.spent, counted.held) == (0, 0)
    said = f"redemption {ended.id}: it ended with its voucher, which was not withdrawn"
    assert difference(lambda: tally(ended, is_available=1)) == said


@pytest.mark.parametrize(
    ("replaced", "said"),
    [
        ([], None),
        ([None, 5], None),
        ([7, None, 5], None),
        ([5, 6], "position 6 is replaced, and was not withdrawn"),
        ([None, 6], "position 6 is replaced, and was not withdrawn"),
        ([5, 7, 5], "position 5 is replaced twice"),
    ],
)
def test_what_is_withdrawn_is_replaced_once_at_most_and_nothing_else_is(
    replaced: list[int | None], said: str | None
) -> None:
    raises = tuple(Raise(100 + i, NOW, position) for i, position in enumerate(replaced))
    found = difference(lambda: check_replacements(replace(CAMPAIGN, raises=raises), [5, 7]))
    assert found == (said and f"campaign “Launch”: {said}")


@pytest.mark.parametrize("name", ["withdrawn_at", "withdrawn_by", "withdrawn_reason"])
def test_a_withdrawal_is_as_the_log_says(name: str) -> None:
    voucher = {**WITHDRAWN, "withdrawn_by": "cli:grace", "withdrawn_reason": "a bot"}
    noted = {field: voucher[field] for field in ("withdrawn_at", "withdrawn_by", "withdrawn_reason")}
    assert difference(lambda: check_withdrawal_noted(voucher, noted)) is None
    said = f"voucher {VOUCHER.id}: {name} is not what the audit log says"
    for other in (noted | {name: "another"}, {key: value for key, value in noted.items() if key != name}):
        assert difference(partial(check_withdrawal_noted, voucher, other)) == said
