"""What may be done with a campaign, and when; and that a raised number only ever adds winners."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import refusal_of

from earlybird.errors import Refusal
from earlybird.events import FirstLogin
from earlybird.promotions.campaigns.model import Campaign, CampaignState, Raise
from earlybird.promotions.campaigns.rules import Moment, closed, created, edited, opened
from earlybird.promotions.campaigns.shapes import CampaignChanges
from earlybird.promotions.granting.award import award

EDITABLE = list(CampaignChanges.model_fields)
NOW = datetime(2026, 11, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DRAFT = Campaign(UUID(int=1), "Launch", 30, 100, "30 % off", 30, None, None, None)
MOMENT = Moment(NOW, next_n=41, others=())
SCHEDULED = created(replace(DRAFT, starts_at=NOW + HOUR, ends_at=NOW + 3 * HOUR), MOMENT)
OPEN = opened(DRAFT, MOMENT)
CLOSED = closed(OPEN, replace(MOMENT, now=NOW + HOUR))
IN_AN_HOUR = replace(MOMENT, now=NOW + HOUR)


def test_a_campaign_without_a_start_is_a_draft_until_it_is_opened() -> None:
    assert created(DRAFT, MOMENT) == DRAFT
    assert DRAFT.state(NOW) is CampaignState.DRAFT
    assert (OPEN.starts_at, OPEN.first_n, OPEN.state(NOW)) == (NOW, 41, CampaignState.OPEN)


@pytest.mark.parametrize(
    ("hours", "state"),
    [(0, "scheduled"), (0.999, "scheduled"), (1, "open"), (2.999, "open"), (3, "closed"), (99, "closed")],
)
def test_a_scheduled_campaign_starts_and_ends_by_the_clock(hours: float, state: str) -> None:
    assert SCHEDULED.state(NOW + hours * HOUR) == state


def test_opening_and_closing_again_changes_nothing() -> None:
    assert opened(OPEN, IN_AN_HOUR) == OPEN
    assert opened(SCHEDULED, MOMENT) == SCHEDULED
    assert closed(CLOSED, replace(MOMENT, now=NOW + 5 * HOUR)) == CLOSED


def test_a_scheduled_campaign_that_is_closed_never_starts() -> None:
    called_off = closed(SCHEDULED, MOMENT)
    assert {called_off.state(NOW + hours * HOUR) for hours in range(5)} == {CampaignState.CLOSED}
    assert not called_off.counts(first_login(41, 1.5))


def test_what_cannot_be_opened_or_closed_is_refused() -> None:
    assert refusal_of(lambda: opened(CLOSED, IN_AN_HOUR)) == "campaign_closed"
    assert refusal_of(lambda: closed(DRAFT, MOMENT)) == "campaign_not_open"


@pytest.mark.parametrize(
    "terms",
    [
        {"min_amount": 1},
        {"max_discount_amount": 1},
        {"starts_at": NOW + HOUR, "ends_at": NOW + HOUR},
        {"starts_at": NOW},
        {"starts_at": NOW - HOUR},
    ],
)
def test_terms_that_make_no_sense_are_refused(terms: dict[str, Any]) -> None:
    assert refusal_of(lambda: created(replace(DRAFT, **terms), MOMENT)) == "invalid_field"


def test_a_draft_whose_end_has_passed_cannot_be_opened_but_given_another() -> None:
    outlived = created(replace(DRAFT, ends_at=NOW + HOUR), MOMENT)
    assert refusal_of(lambda: opened(outlived, IN_AN_HOUR)) == "invalid_field"
    assert edited(outlived, {"name": "Another"}, 0, IN_AN_HOUR).name == "Another"
    later = edited(outlived, {"ends_at": NOW + 2 * HOUR}, 0, IN_AN_HOUR)
    assert opened(later, IN_AN_HOUR).state(NOW + HOUR) is CampaignState.OPEN


def test_an_end_in_the_past_is_refused_where_it_is_given() -> None:
    assert refusal_of(lambda: created(replace(DRAFT, ends_at=NOW), MOMENT)) == "invalid_field"
    assert refusal_of(lambda: edited(DRAFT, {"ends_at": NOW}, 0, MOMENT)) == "invalid_field"


def test_a_campaign_that_was_called_off_can_still_be_renamed() -> None:
    called_off = closed(SCHEDULED, MOMENT)
    assert called_off.ends_at == called_off.starts_at
    assert edited(called_off, {"name": "Called off"}, 0, MOMENT).name == "Called off"
    late = replace(MOMENT, now=NOW + 9 * HOUR)
    assert edited(CLOSED, {"name": "Over"}, 0, late).name == "Over"
    assert closed(OPEN, IN_AN_HOUR).ends_at == NOW + HOUR


def test_a_campaign_may_begin_in_the_moment_in_which_another_ends() -> None:
    other = replace(OPEN, id=UUID(int=2), ends_at=NOW + HOUR)
    after = replace(DRAFT, starts_at=NOW + HOUR)
    assert created(after, replace(MOMENT, others=(other,))).starts_at == NOW + HOUR
    before = replace(other, starts_at=NOW + 2 * HOUR, ends_at=None)
    assert created(replace(after, ends_at=NOW + 2 * HOUR), replace(MOMENT, others=(before,))).ends_at


STEPS = st.one_of(
    st.sampled_from(["open", "close", "wait", "name", "same"]).map(lambda step: (step, None)),
    st.tuples(st.just("number_of_promotion"), st.integers(1, 200)),
    st.tuples(st.just("starts_at"), st.none() | st.integers(-2, 6)),
    st.tuples(st.just("ends_at"), st.none() | st.integers(-2, 6)),
    st.tuples(st.just("currency"), st.sampled_from([None, "VND"])),
    st.tuples(st.just("min_amount"), st.sampled_from([None, 1000])),
)


@given(steps=st.lists(STEPS, max_size=12), start=st.none() | st.integers(1, 4), granted=st.integers(0, 3))
def test_no_state_that_we_make_ourselves_fails_our_own_checks(
    steps: list[tuple[str, Any]], start: int | None, granted: int
) -> None:
    """Whatever was done before, a name can be changed, and the same values be sent again."""
    starts_at = None if start is None else NOW + start * HOUR
    campaign, now = created(replace(DRAFT, starts_at=starts_at), MOMENT), NOW
    for step, value in steps:
        moment = replace(MOMENT, now=now)
        try:
            match step:
                case "wait":
                    now += HOUR
                case "open":
                    campaign = opened(campaign, moment)
                case "close":
                    campaign = closed(campaign, moment)
                case "name" | "same":
                    pass
                case "starts_at" | "ends_at":
                    at = None if value is None else now + value * HOUR
                    campaign = edited(campaign, {step: at}, granted, moment)
                case _:
                    campaign = edited(campaign, {step: value}, granted, moment)
        except Refusal:
            pass
        moment = replace(MOMENT, now=now)
        same = {name: getattr(campaign, name) for name in EDITABLE}
        assert edited(campaign, same, granted, moment) == campaign
        assert edited(campaign, {"name": "Another"}, granted, moment) == replace(campaign, name="Another")


@given(*[st.integers(1, 9)] * 2, *[st.none() | st.integers(1, 9)] * 2)
def test_two_campaigns_are_accepted_only_if_there_is_no_moment_at_which_both_are_open(
    start: int, other_start: int, length: int | None, other_length: int | None
) -> None:
    def window(begin: int, hours: int | None) -> Campaign:
        end = None if hours is None else NOW + (begin + hours) * HOUR
        return replace(DRAFT, starts_at=NOW + begin * HOUR, ends_at=end)

    other = replace(created(window(other_start, other_length), MOMENT), id=UUID(int=2))
    code = refusal_of(lambda: created(window(start, length), replace(MOMENT, others=(other,))))
    mine = {hour for hour in range(30) if hour >= start and (length is None or hour < start + length)}
    both = {hour for hour in mine if other.state(NOW + hour * HOUR) is CampaignState.OPEN}
    assert code == ("campaign_overlaps" if both else None)


def test_beside_an_open_campaign_none_is_opened() -> None:
    beside = Moment(NOW + HOUR, 41, (replace(OPEN, id=UUID(int=2)),))
    assert refusal_of(lambda: opened(DRAFT, beside)) == "campaign_already_open"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("description", "another"), ("discount", 31), ("voucher_days", 31), ("currency", "VND"),
    ],
)  # fmt: skip
def test_what_a_voucher_carries_is_free_until_one_is_granted(field: str, value: object) -> None:
    assert getattr(edited(OPEN, {field: value}, 0, IN_AN_HOUR), field) == value
    assert refusal_of(lambda: edited(OPEN, {field: value}, 1, IN_AN_HOUR)) == "field_in_use"
    assert edited(OPEN, {field: getattr(OPEN, field)}, 1, IN_AN_HOUR) == OPEN, "the same again is no change"


@pytest.mark.parametrize(
    ("campaign", "changes", "code"),
    [
        (OPEN, {"starts_at": NOW + 2 * HOUR}, "field_in_use"),
        (CLOSED, {"ends_at": NOW + 9 * HOUR}, "campaign_closed"),
        (CLOSED, {"starts_at": NOW + 9 * HOUR}, "campaign_closed"),
        (OPEN, {"ends_at": NOW + HOUR}, "invalid_field"),  # in the past by then
        (OPEN, {"number_of_promotion": 9}, "number_below_granted"),
    ],
)
def test_an_edit_that_would_change_the_past_is_refused(
    campaign: Campaign, changes: dict[str, Any], code: str
) -> None:
    assert refusal_of(lambda: edited(campaign, changes, 10, IN_AN_HOUR)) == code


def test_a_draft_that_is_given_a_start_is_scheduled_and_may_be_unscheduled() -> None:
    scheduled = edited(DRAFT, {"starts_at": NOW + HOUR}, 0, MOMENT)
    assert (scheduled.state(NOW), scheduled.first_n) == (CampaignState.SCHEDULED, 41)
    assert edited(scheduled, {"starts_at": None}, 0, MOMENT) == DRAFT


def test_each_raise_is_noted_with_its_moment_and_a_lowering_is_not() -> None:
    raised = edited(OPEN, {"number_of_promotion": 150}, 100, IN_AN_HOUR)
    assert raised.raises == (Raise(above=100, at=NOW + HOUR),)
    assert edited(raised, {"number_of_promotion": 120}, 100, IN_AN_HOUR).raises == raised.raises
    assert edited(DRAFT, {"number_of_promotion": 150}, 0, IN_AN_HOUR).raises == ()


def first_login(n: int, hours: float) -> FirstLogin:
    return FirstLogin(n, uuid5(UUID(int=7), str(n)), NOW + hours * HOUR)


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 12)), min_size=1, max_size=5), st.integers(0, 40))
def test_however_often_the_number_is_changed_winners_are_a_function_of_ledger_and_campaign(
    steps: list[tuple[int, int]], first: int
) -> None:
    """Grant what is due after each change, and compare with judging everything once, at the end."""
    ledger = [first_login(41 + n, n / 10) for n in range(40)]
    campaign, granted, judged = replace(OPEN, number_of_promotion=max(1, first)), award(OPEN, 0, []), 0
    for change, logins in steps:
        judged = min(len(ledger), judged + logins)
        granted = judge(campaign, ledger[:judged], len(granted), granted)
        number = max(len(granted), campaign.number_of_promotion + change - 3, 1)
        moment = Moment(NOW + judged / 10 * HOUR, 41 + judged, ())
        campaign = edited(campaign, {"number_of_promotion": number}, len(granted), moment)
        granted = judge(campaign, ledger[:judged], len(granted), granted)
    assert granted == award(campaign, campaign.number_of_promotion, ledger[:judged])


def judge(campaign: Campaign, ledger: list[FirstLogin], count: int, granted: list[Any]) -> list[Any]:
    """Go on after the last winner, as the granter and the caretaker do."""
    after = granted[-1].first_login_n if granted else 0
    waiting = [event for event in ledger if event.n > after]
    return granted + award(campaign, campaign.number_of_promotion - count, waiting)
