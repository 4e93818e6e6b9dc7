"""Who gets a voucher: the pure function on which everything else is checked."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlybird.events import FirstLogin
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.granting.award import Gap, award, next_in_order
from earlybird.promotions.vouchers.model import Voucher

START = datetime(2026, 11, 1, tzinfo=UTC)
NAMESPACE = UUID(int=7)


def campaign(number: int, *, first_n: int = 1, ends_after: timedelta | None = None) -> Campaign:
    return Campaign(
        id=UUID(int=1),
        name="Launch",
        discount=30,
        number_of_promotion=number,
        description="30 % off",
        voucher_days=30,
        first_n=first_n,
        starts_at=START,
        ends_at=START + ends_after if ends_after else None,
    )


def first_login(n: int, seconds: float = 0) -> FirstLogin:
    return FirstLogin(n, uuid5(NAMESPACE, str(n)), START + timedelta(seconds=seconds))


@st.composite
def ledgers(draw: st.DrawFn) -> list[FirstLogin]:
    """A ledger whose times run roughly with its numbers, as clocks of two primaries may have it."""
    seconds = draw(st.lists(st.integers(-50, 150), max_size=60))
    return [first_login(n, at) for n, at in enumerate(seconds, start=1)]


terms = st.builds(
    campaign,
    st.integers(1, 20),
    first_n=st.integers(1, 30),
    ends_after=st.none() | st.integers(1, 100).map(lambda seconds: timedelta(seconds=seconds)),
)


@given(terms, ledgers())
def test_exactly_the_first_n_that_count_win_in_ledger_order(terms: Campaign, ledger: list[FirstLogin]) -> None:
    vouchers = award(terms, terms.number_of_promotion, ledger)
    counting = [event for event in ledger if terms.counts(event)]
    assert [v.user_id for v in vouchers] == [e.user_id for e in counting[: terms.number_of_promotion]]
    assert [v.position for v in vouchers] == list(range(1, len(vouchers) + 1))


@given(terms, ledgers(), st.data())
def test_how_the_ledger_is_cut_into_batches_changes_nothing(
    terms: Campaign, ledger: list[FirstLogin], data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ledger)), max_size=6)))
    vouchers: list[Voucher] = []
    for start, end in zip([0, *cuts], [*cuts, len(ledger)], strict=True):
        vouchers += award(terms, terms.number_of_promotion - len(vouchers), ledger[start:end])
    assert vouchers == award(terms, terms.number_of_promotion, ledger)


@given(terms, ledgers(), st.integers(1, 20))
def test_a_higher_number_only_adds_winners_at_the_end(
    terms: Campaign, ledger: list[FirstLogin], more: int
) -> None:
    fewer = award(terms, terms.number_of_promotion, ledger)
    raised = Campaign(
        terms.id,
        terms.name,
        terms.discount,
        terms.number_of_promotion + more,
        terms.description,
        terms.voucher_days,
        terms.first_n,
        terms.starts_at,
        terms.ends_at,
    )
    assert award(raised, raised.number_of_promotion, ledger)[: len(fewer)] == fewer


def test_the_window_includes_its_start_and_excludes_its_end() -> None:
    terms = campaign(10, ends_after=timedelta(seconds=10))
    ledger = [first_login(1, -0.001), first_login(2, 0), first_login(3, 9.999), first_login(4, 10)]
    assert [v.user_id for v in award(terms, 10, ledger)] == [ledger[1].user_id, ledger[2].user_id]


def test_first_logins_judged_before_the_campaign_opened_earn_nothing() -> None:
    terms = campaign(10, first_n=3)
    assert [v.user_id for v in award(terms, 10, [first_login(n, n) for n in (1, 2, 3)])] == [
        first_login(3).user_id
    ]


def test_a_voucher_follows_from_campaign_and_first_login_alone() -> None:
    [voucher] = award(campaign(1), 1, [first_login(1, 5)])
    assert (voucher.discount, voucher.description) == (30, "30 % off")
    assert voucher.expire_at == START + timedelta(seconds=5, days=30)
    assert voucher.to_json() == b'{"description":"30 % off","discount":30,"expire_at":"2026-12-01T00:00:05.000Z"}'


@given(st.integers(0, 30), st.lists(st.integers(1, 40), max_size=40))
def test_only_what_follows_the_cursor_without_a_hole_is_processed(cursor: int, numbers: list[int]) -> None:
    events = [first_login(n) for n in numbers]
    fresh = [n for n in numbers if n > cursor]
    if fresh == list(range(cursor + 1, cursor + 1 + len(fresh))):
        assert [event.n for event in next_in_order(cursor, events)] == fresh
    else:
        with pytest.raises(Gap):
            next_in_order(cursor, events)
