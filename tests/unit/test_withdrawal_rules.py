"""What may be withdrawn, what a replacement adds to a campaign, and that no position is ever used twice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from refusals import refusal_of, refused_with

from earlybird.events import FirstLogin, VoucherWithdrawn
from earlybird.promotions.campaigns import rules
from earlybird.promotions.campaigns.model import Campaign, Raise
from earlybird.promotions.campaigns.records import CampaignRecord, campaign_of, terms_of
from earlybird.promotions.campaigns.rules import Moment, edited, opened, with_replacement
from earlybird.promotions.campaigns.shapes import ShownCampaign
from earlybird.promotions.granting.award import award
from earlybird.promotions.redemptions.model import (
    Order,
    Redemption,
    RedemptionEvent,
    RedemptionState,
    begun,
    choose_voucher,
    settled,
)
from earlybird.promotions.vouchers.model import HeldVoucher, Voucher, VoucherState
from earlybird.promotions.vouchers.shapes import MyVoucher
from earlybird.promotions.withdrawals.model import Wanted, Withdrawal, is_to_withdraw
from earlybird.promotions.withdrawals.shapes import NewWithdrawal, ShownWithdrawal

NOW = datetime(2026, 11, 1, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
MOMENT = Moment(NOW, next_n=1, others=())
LATER = replace(MOMENT, now=NOW + HOUR)
CAMPAIGN = opened(Campaign(UUID(int=1), "Launch", 30, 3, "30 % off", 30, None, None, None), MOMENT)
ADA, VOUCHER_ID = UUID("019ab2f0-6c1e-7d3a-9b52-3f1f0c6a7e11"), UUID(int=5)
VOUCHER = Voucher(VOUCHER_ID, ADA, CAMPAIGN.id, 2, 2, "30 % off", 30, NOW + HOUR)
ORDER = Order("topup-1", 100_000, "VND")
RESERVED = begun(UUID(int=9), VOUCHER, ORDER, NOW, reserve=True)
WITHDRAW = RedemptionEvent.WITHDRAW


@pytest.mark.parametrize(
    ("held", "now", "expected"),
    [
        (HeldVoucher(VOUCHER, is_available=True), NOW, True),
        (HeldVoucher(VOUCHER, is_available=True, held_until=NOW + HOUR), NOW, True),
        (HeldVoucher(VOUCHER, is_available=True), NOW + HOUR, True),  # it has expired
        (HeldVoucher(VOUCHER, is_available=False, is_withdrawn=True), NOW, False),
    ],
)
def test_what_is_not_spent_is_withdrawn_once(held: HeldVoucher, now: datetime, expected: bool) -> None:
    assert is_to_withdraw(held, now) is expected


def test_what_is_spent_is_not_withdrawn() -> None:
    refused = refused_with(lambda: is_to_withdraw(HeldVoucher(VOUCHER, is_available=False), NOW))
    assert refused == ("voucher_already_redeemed", "This voucher is spent: refund the redemption first.")


@pytest.mark.parametrize("is_available", [True, False])
@pytest.mark.parametrize("held_until", [None, NOW + HOUR])
def test_withdrawn_is_withdrawn_whatever_else_is_said(is_available: bool, held_until: datetime | None) -> None:
    held = HeldVoucher(VOUCHER, is_available, held_until, is_withdrawn=True)
    assert held.state(NOW) is held.state(NOW + HOUR) is VoucherState.WITHDRAWN
    refused = refused_with(lambda: choose_voucher([held], NOW))
    assert refused == ("voucher_withdrawn", "Your voucher was withdrawn. Please contact us.")
    assert MyVoucher.of(held, CAMPAIGN, NOW).state == "withdrawn"


def test_of_a_withdrawn_voucher_and_others_the_refusal_says_best_why() -> None:
    withdrawn = HeldVoucher(VOUCHER, is_available=False, is_withdrawn=True)
    others = {
        "voucher_reserved": HeldVoucher(VOUCHER, is_available=True, held_until=NOW + HOUR),
        "voucher_already_redeemed": HeldVoucher(VOUCHER, is_available=False),
        "voucher_withdrawn": HeldVoucher(replace(VOUCHER, expire_at=NOW), is_available=True),
    }
    for code, other in others.items():
        assert refusal_of(partial(choose_voucher, [withdrawn, other], NOW)) == code
    usable = HeldVoucher(replace(VOUCHER, id=UUID(int=6)), is_available=True)
    assert choose_voucher([withdrawn, usable], NOW) == usable.voucher


def test_a_hold_ends_with_its_voucher_and_is_neither_confirmed_nor_released_nor_refunded() -> None:
    ended = settled(RESERVED, WITHDRAW, VOUCHER, NOW)
    assert ended == replace(RESERVED, state=RedemptionState.WITHDRAWN)
    assert ended.state_at(NOW + HOUR) is RedemptionState.WITHDRAWN
    assert settled(ended, WITHDRAW, VOUCHER, NOW) is ended
    said = ("voucher_withdrawn", "The voucher was withdrawn, and this reservation ended with it.")
    for event in (RedemptionEvent.CONFIRM, RedemptionEvent.RELEASE):
        assert refused_with(partial(settled, ended, event, VOUCHER, NOW)) == said
    assert refusal_of(lambda: settled(ended, RedemptionEvent.REFUND, VOUCHER, NOW)) == "redemption_not_found"


def test_what_holds_nothing_stays_as_it_is() -> None:
    released = settled(RESERVED, RedemptionEvent.RELEASE, VOUCHER, NOW)
    spent = begun(UUID(int=9), VOUCHER, ORDER, NOW, reserve=False)
    refunded = settled(spent, RedemptionEvent.REFUND, VOUCHER, NOW)
    for one in (released, refunded):
        assert settled(one, WITHDRAW, VOUCHER, NOW) is one
    lapsed: Redemption = settled(RESERVED, WITHDRAW, VOUCHER, NOW + timedelta(minutes=15))
    assert lapsed is RESERVED
    refused = refused_with(lambda: settled(spent, WITHDRAW, VOUCHER, NOW))
    assert refused == ("voucher_already_redeemed", "This voucher is spent: refund the redemption first.")


def test_a_replacement_adds_a_position_and_leaves_the_number_as_it_is() -> None:
    extended = with_replacement(CAMPAIGN, 2, LATER)
    assert extended.raises == (Raise(above=3, at=NOW + HOUR, replaces=2),)
    assert (extended.number_of_promotion, extended.replacements, extended.capacity) == (3, 1, 4)
    assert (extended.replaces(2), extended.replaces(1), CAMPAIGN.replaces(2)) == (True, False, False)
    assert (extended.added_at(3), extended.added_at(4)) == (None, NOW + HOUR)
    assert with_replacement(extended, 2, replace(LATER, now=NOW + 2 * HOUR)) is extended
    raised = edited(extended, {"number_of_promotion": 5}, 3, replace(LATER, now=NOW + 2 * HOUR))
    assert raised.raises[-1] == Raise(above=4, at=NOW + 2 * HOUR)
    assert (raised.replacements, raised.capacity) == (1, 6)


def test_a_campaign_is_stored_with_its_replacements_and_read_as_before() -> None:
    extended = edited(with_replacement(CAMPAIGN, 2, LATER), {"number_of_promotion": 5}, 3, LATER)
    stored = terms_of(extended)
    assert stored["raises"] == [
        {"above": 3, "at": LATER.now, "replaces": 2},
        {"above": 4, "at": LATER.now},  # as versions before this one wrote it, and read it
    ]
    assert campaign_of({**stored, "_id": stored["id"]}) == extended


def test_a_campaign_can_replace_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rules.MOST_REPLACEMENTS == 10_000
    monkeypatch.setattr(rules, "MOST_REPLACEMENTS", 2)
    two = with_replacement(with_replacement(CAMPAIGN, 1, LATER), 2, LATER)
    assert refused_with(lambda: with_replacement(two, 3, LATER)) == (
        "too_many_replacements",
        "This campaign has replaced 2 vouchers, and can replace no more: raise its number.",
    )
    assert with_replacement(two, 1, LATER) is two


def test_the_number_may_be_lowered_to_what_is_granted_without_what_is_replaced() -> None:
    extended = with_replacement(CAMPAIGN, 2, LATER)
    assert edited(extended, {"number_of_promotion": 2}, 3, LATER).capacity == 3
    assert refused_with(lambda: edited(extended, {"number_of_promotion": 2}, 4, LATER)) == (
        "number_below_granted",
        "number_of_promotion: 3 vouchers are granted already.",
    )


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.integers(1, 4)),
        st.tuples(st.just("raise"), st.integers(1, 3)),
        st.tuples(st.just("withdraw"), st.integers(1, 20)),
    ),
    max_size=20,
)


@given(STEPS)
def test_whatever_is_withdrawn_and_raised_the_winners_follow_from_ledger_campaign_and_withdrawals(
    steps: list[tuple[str, int]],
) -> None:
    """Judged step by step, each voucher is what `award` gives for the whole ledger in the end."""
    campaign, ledger, now = CAMPAIGN, list[FirstLogin](), NOW
    granted: list[Voucher] = []
    replaced = set[int]()
    for what, number in steps:
        now += HOUR
        if what == "come":
            first = len(ledger) + 1
            ledger += [FirstLogin(n, uuid5(UUID(int=7), str(n)), now) for n in range(first, first + number)]
        elif what == "raise":
            more = campaign.number_of_promotion + number
            campaign = edited(campaign, {"number_of_promotion": more}, len(granted), replace(MOMENT, now=now))
        elif number <= len(granted):
            campaign = with_replacement(campaign, number, replace(MOMENT, now=now))
            replaced.add(number)
        judged_again = [one for one in ledger if not granted or one.n > granted[-1].first_login_n]
        granted += award(campaign, campaign.capacity - len(granted), judged_again)
    assert granted == award(campaign, campaign.capacity, ledger)
    assert [one.position for one in granted] == list(range(1, len(granted) + 1))
    assert [one.first_login_n for one in granted] == list(range(1, len(granted) + 1))
    assert campaign.capacity == campaign.number_of_promotion + len(replaced)


def test_a_replacement_is_shown_beyond_the_number() -> None:
    record = CampaignRecord(with_replacement(CAMPAIGN, 2, LATER), 1, True, NOW, NOW)
    shown = ShownCampaign.of(record, NOW)
    assert (shown.number_of_promotion, shown.remaining_promotion, shown.replacements) == (3, 1, 1)
    assert record.granted == 3
    for position, said in ((3, "3 of 3"), (4, "4 of 4")):
        held = HeldVoucher(replace(VOUCHER, position=position), is_available=True)
        assert MyVoucher.of(held, record.campaign, NOW).position == said


def test_a_withdrawal_is_shown_whole() -> None:
    withdrawal = Withdrawal(VOUCHER_ID, ADA, CAMPAIGN.id, 2, NOW, "cli:grace", "a bot", is_replaced=True)
    assert ShownWithdrawal.of(withdrawal).model_dump(mode="json") == {
        "voucher_id": str(VOUCHER_ID),
        "user_id": str(ADA),
        "campaign_id": str(CAMPAIGN.id),
        "position": 2,
        "withdrawn_at": "2026-11-01T09:00:00.000Z",
        "withdrawn_by": "cli:grace",
        "reason": "a bot",
        "is_replaced": True,
    }


def asked(**fields: Any) -> NewWithdrawal:
    return NewWithdrawal.model_validate({"reason": "a bot", **fields})


def test_a_voucher_is_named_by_its_owner_or_by_its_id() -> None:
    assert asked(user_id=str(ADA)).wanted(CAMPAIGN.id) == Wanted(CAMPAIGN.id, user_id=ADA)
    assert asked(voucher_id=str(ADA).upper()).wanted(CAMPAIGN.id) == Wanted(CAMPAIGN.id, voucher_id=ADA)
    assert (asked().replace, asked(replace=True).replace) == (False, True)
    for fields in ({}, {"user_id": str(ADA), "voucher_id": str(ADA)}):
        refused = refused_with(partial(asked(**fields).wanted, CAMPAIGN.id))
        assert refused == ("invalid_field", "user_id: give this or voucher_id, one of the two.")


@pytest.mark.parametrize("typed", ["", "x", 5, f"{{{ADA}}}", ADA.hex, f"urn:uuid:{ADA}", f"{ADA} "])
def test_what_is_no_id_is_refused(typed: object) -> None:
    with pytest.raises(ValidationError) as refused:
        asked(user_id=typed)
    [problem] = refused.value.errors()
    assert problem["msg"] == "Value error, give an id, such as 019ab2f0-6c1e-7d3a-9b52-3f1f0c6a7e11"


def test_a_reason_is_one_line_of_two_hundred_characters() -> None:
    assert asked(reason="  " + "e\u0301" * 200 + " ").reason == "é" * 200
    for reason in ("x" * 201, " ", "a\u202eb"):
        with pytest.raises(ValidationError, match="reason"):
            asked(reason=reason)
    with pytest.raises(ValidationError, match="reason"):
        NewWithdrawal.model_validate({"user_id": str(ADA)})


def test_a_withdrawal_is_told_with_its_position_and_another_one_after_a_restore_under_another_id() -> None:
    def told(**changes: Any) -> VoucherWithdrawn:
        fields: dict[str, Any] = {"voucher_id": VOUCHER_ID, "user_id": ADA, "campaign_id": CAMPAIGN.id}
        return VoucherWithdrawn(**{**fields, "time": NOW, "position": 2, **changes})

    expected = uuid5(VOUCHER_ID, "2 2026-11-01T09:00:00.000+00:00")
    assert told().id == f"{expected}.withdrawn"
    ids = [told().id, told(time=NOW + HOUR).id, told(position=3).id, told(voucher_id=ADA).id]
    assert len(set(ids)) == len(ids)
