"""What a voucher takes off, which voucher is spent, and what may follow what."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso4217 import Currency
from refusals import refusal_of

from earlybird.errors import Refusal
from earlybird.money import CURRENCIES, LARGEST_AMOUNT
from earlybird.promotions.redemptions.model import (
    RESERVATION_MINUTES,
    Order,
    Redemption,
    RedemptionEvent,
    RedemptionState,
    begun,
    choose_voucher,
    discount_amount,
    fingerprint,
    settled,
)
from earlybird.promotions.vouchers.model import HeldVoucher, Voucher

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
VOUCHER = Voucher(UUID(int=1), UUID(int=2), UUID(int=3), 37, 37, "30 % off", 30, NOW + timedelta(days=30))
ORDER = Order("topup-1", 100_000, "VND")
amounts = st.integers(1, LARGEST_AMOUNT)
percents = st.integers(1, 100)


@given(percents, amounts, st.none() | amounts)
def test_the_discount_is_the_percentage_rounded_half_up_and_capped(
    percent: int, amount: int, cap: int | None
) -> None:
    exact = Decimal(amount) * percent / 100
    rounded = int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))
    voucher = replace(VOUCHER, discount=percent, max_discount_amount=cap)
    assert discount_amount(voucher, amount) == (rounded if cap is None else min(rounded, cap))


@pytest.mark.parametrize(
    ("currency", "purchase", "percent", "taken_off"),
    [
        ("VND", "99999", 30, "30000"),  # 29999.7: there is no smaller unit than the dong
        ("VND", "5", 30, "2"),  # 1.5: half up
        ("VND", "1", 30, "0"),  # 0.3
        ("EUR", "0.05", 30, "0.02"),  # 0.015: half up
        ("EUR", "19.99", 30, "6.00"),  # 5.997
        ("KWD", "0.005", 30, "0.002"),  # 0.0015: the dinar has thousandths
        ("KWD", "1.234", 30, "0.370"),  # 0.3702
    ],
)
def test_it_is_rounded_to_the_minor_unit_of_the_currency(
    currency: str, purchase: str, percent: int, taken_off: str
) -> None:
    exponent = Currency(currency).exponent
    assert exponent is not None
    amount = int(Decimal(purchase).scaleb(exponent))
    taken = discount_amount(replace(VOUCHER, discount=percent), amount)
    assert Decimal(taken).scaleb(-exponent) == Decimal(taken_off)


def test_currencies_are_those_that_have_a_minor_unit() -> None:
    assert {"VND", "EUR", "USD", "KWD"} <= set(CURRENCIES)
    assert not {"XAU", "XXX", "XTS", "vnd", ""} & set(CURRENCIES)


@given(percents, amounts, st.none() | amounts, st.booleans())
def test_what_is_taken_off_and_what_is_left_to_pay_make_the_amount(
    percent: int, amount: int, cap: int | None, reserve: bool
) -> None:
    voucher = replace(VOUCHER, discount=percent, max_discount_amount=cap)
    try:
        made = begun(UUID(int=9), voucher, replace(ORDER, amount=amount), NOW, reserve=reserve)
    except Refusal as refusal:
        assert amount * percent < 50, "nothing is taken off, and a voucher would be spent on it"
        assert refusal.code == "amount_too_small"  # noqa: PT017  # one of two outcomes
        return
    assert made.discount_amount + made.payable_amount == made.amount == amount
    assert 0 < made.discount_amount <= (amount if cap is None else min(cap, amount))
    assert made.payable_amount >= 0


@pytest.mark.parametrize(
    ("amount", "percent", "code"), [(1, 49, "amount_too_small"), (1, 50, None), (50, 1, None)]
)
def test_a_voucher_is_not_used_up_for_nothing(amount: int, percent: int, code: str | None) -> None:
    voucher, order = replace(VOUCHER, discount=percent), replace(ORDER, amount=amount)
    assert refusal_of(lambda: begun(UUID(int=9), voucher, order, NOW, reserve=False)) == code


ORDERS = st.builds(
    Order,
    st.from_regex(r"[!-~]{1,8}", fullmatch=True),
    st.sampled_from([1, 10, 11, 100_000]),
    st.sampled_from(["VND", "EUR", "USD"]),
)


@given(ORDERS, st.booleans(), ORDERS, st.booleans())
def test_two_requests_have_one_fingerprint_only_if_they_ask_for_the_same(
    one: Order, reserve: bool, other: Order, other_reserve: bool
) -> None:
    same = fingerprint(one, reserve=reserve) == fingerprint(other, reserve=other_reserve)
    assert same == ((one, reserve) == (other, other_reserve))


def test_a_fingerprint_is_the_same_in_every_version() -> None:
    """Keys live for 24 hours, and an update must not make strangers of their requests."""
    assert fingerprint(ORDER, reserve=False) == hashlib.sha256(b"redeem\ntopup-1\n100000\nVND").digest()
    assert fingerprint(ORDER, reserve=True) == hashlib.sha256(b"reserve\ntopup-1\n100000\nVND").digest()


@pytest.mark.parametrize("changes", [{"currency": "EUR"}, {"amount": 100_001}, {"order_id": "topup-2"}], ids=str)
def test_the_same_request_in_another_currency_is_another_request(changes: dict[str, object]) -> None:
    other = replace(ORDER, **changes)  # type: ignore[arg-type]
    assert fingerprint(other, reserve=False) != fingerprint(ORDER, reserve=False)


def test_a_reservation_holds_for_fifteen_minutes() -> None:
    held = begun(UUID(int=9), VOUCHER, ORDER, NOW, reserve=True)
    assert (held.state, held.redeemed_at) == (RedemptionState.RESERVED, None)
    assert held.reserved_until == NOW + timedelta(minutes=15)
    assert held.state_at(NOW + timedelta(minutes=15, milliseconds=-1)) is RedemptionState.RESERVED
    assert held.state_at(NOW + timedelta(minutes=15)) is RedemptionState.LAPSED


@pytest.mark.parametrize(
    ("terms", "order", "code"),
    [
        ({"currency": "VND"}, {"currency": "EUR"}, "currency_not_accepted"),
        ({"currency": "VND", "min_amount": 100_001}, {}, "amount_too_small"),
    ],
)
def test_a_purchase_that_the_voucher_is_not_for_is_refused(
    terms: dict[str, object], order: dict[str, object], code: str
) -> None:
    voucher, purchase = replace(VOUCHER, **terms), replace(ORDER, **order)  # type: ignore[arg-type]
    assert refusal_of(lambda: begun(UUID(int=9), voucher, purchase, NOW, reserve=False)) == code


def test_the_least_amount_and_the_currency_themselves_are_enough() -> None:
    voucher = replace(VOUCHER, currency="VND", min_amount=ORDER.amount)
    assert begun(UUID(int=9), voucher, ORDER, NOW, reserve=False).redeemed_at == NOW


AVAILABLE = HeldVoucher(VOUCHER, is_available=True)
SOONER = HeldVoucher(replace(VOUCHER, id=UUID(int=4), expire_at=NOW + SECOND), is_available=True)
EXPIRED = HeldVoucher(replace(VOUCHER, id=UUID(int=5), expire_at=NOW), is_available=True)
SPENT = HeldVoucher(replace(VOUCHER, id=UUID(int=6)), is_available=False)
HELD = HeldVoucher(replace(VOUCHER, id=UUID(int=7)), is_available=True, held_until=NOW + SECOND)
LAPSED = HeldVoucher(replace(VOUCHER, id=UUID(int=8)), is_available=True, held_until=NOW)


@given(st.permutations([AVAILABLE, SOONER, EXPIRED, SPENT, HELD]))
def test_of_several_vouchers_the_usable_one_that_expires_first_is_spent(held: list[HeldVoucher]) -> None:
    assert choose_voucher(held, NOW) == SOONER.voucher


def test_a_voucher_whose_hold_has_lapsed_is_usable() -> None:
    assert choose_voucher([LAPSED], NOW) == LAPSED.voucher


@pytest.mark.parametrize(
    ("held", "code"),
    [
        ([], "voucher_not_found"),
        ([EXPIRED], "voucher_expired"),
        ([EXPIRED, SPENT], "voucher_already_redeemed"),
        ([SPENT, HELD, EXPIRED], "voucher_reserved"),
    ],
)
def test_the_refusal_says_best_why_there_is_none(held: list[HeldVoucher], code: str) -> None:
    assert refusal_of(lambda: choose_voucher(held, NOW)) == code


RESERVED = begun(UUID(int=9), VOUCHER, ORDER, NOW, reserve=True)
REDEEMED = settled(RESERVED, RedemptionEvent.CONFIRM, VOUCHER, NOW + SECOND)
RELEASED = settled(RESERVED, RedemptionEvent.RELEASE, VOUCHER, NOW + SECOND)
REFUNDED = settled(REDEEMED, RedemptionEvent.REFUND, VOUCHER, NOW + SECOND)
ASKED = (RedemptionEvent.CONFIRM, RedemptionEvent.RELEASE, RedemptionEvent.REFUND)
LATER = NOW + timedelta(minutes=RESERVATION_MINUTES)


@pytest.mark.parametrize(
    ("before", "confirm", "release", "refund"),
    [
        (RESERVED, "redeemed", "released", "redemption_not_found"),
        (REDEEMED, "redeemed", "reservation_confirmed", "refunded"),
        (RELEASED, "reservation_released", "released", "redemption_not_found"),
        (REFUNDED, "redemption_refunded", "reservation_confirmed", "refunded"),
    ],
    ids=lambda value: value.state if isinstance(value, Redemption) else "",
)
def test_what_may_follow_what(before: Redemption, confirm: str, release: str, refund: str) -> None:
    moment = NOW + 2 * SECOND

    def outcome(after: Redemption) -> str:
        if after.state is before.state:
            assert after == before, "a repeat changes nothing, not even a time"
        return after.state.value

    def outcomes() -> list[str]:
        moves = [partial(settled, before, event, VOUCHER, moment) for event in ASKED]
        return [refusal_of(move) or outcome(move()) for move in moves]

    assert outcomes() == [confirm, release, refund]


def test_a_reservation_whose_time_is_over_is_not_confirmed_but_may_be_released() -> None:
    assert refusal_of(lambda: settled(RESERVED, RedemptionEvent.CONFIRM, VOUCHER, LATER)) == "reservation_expired"
    assert settled(RESERVED, RedemptionEvent.RELEASE, VOUCHER, LATER).released_at == LATER


def test_a_refund_returns_the_voucher_until_it_expires() -> None:
    last = VOUCHER.expire_at - timedelta(milliseconds=1)
    assert settled(REDEEMED, RedemptionEvent.REFUND, VOUCHER, last).voucher_returned is True
    assert settled(REDEEMED, RedemptionEvent.REFUND, VOUCHER, VOUCHER.expire_at).voucher_returned is False
