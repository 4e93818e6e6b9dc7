"""The chain of seals, and what a place is, against what docs/seals.md and the promise say."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earlybird.events import FirstLogin
from earlybird.identity.ledger.seals import FIRST_SEAL, seal_each
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.places.model import Run, Standing, runs_after, standing_without_a_place

SECRET = bytes(range(32))
START = datetime(2026, 11, 27, 9, tzinfo=UTC)
ENTRIES = [FirstLogin(n, UUID(int=n << 64), START + timedelta(milliseconds=n)) for n in range(1, 9)]


def sealed(entries: list[FirstLogin], secret: bytes = SECRET) -> list[bytes]:
    return list(seal_each(secret, FIRST_SEAL, entries))


def test_a_seal_is_what_the_page_says() -> None:
    user = UUID("01926b2e-7c1a-7abc-8def-0123456789ab")
    entry = FirstLogin(1, user, datetime(2026, 11, 27, 9, 0, 0, 123000, tzinfo=UTC))
    opening = hmac.new(SECRET, user.bytes, hashlib.sha256).digest()
    canonical = (1).to_bytes(8, "big") + hashlib.sha256(opening + user.bytes).digest()
    canonical += (1795770000123).to_bytes(8, "big")
    assert sealed([entry]) == [hashlib.sha256(bytes(32) + canonical).digest()]


@pytest.mark.parametrize("n", range(8))
def test_whatever_changes_in_an_entry_changes_its_seal_and_all_that_follow(n: int) -> None:
    entry, before = ENTRIES[n], sealed(ENTRIES)
    for other in (
        FirstLogin(entry.n + 1, entry.user_id, entry.first_login_at),
        FirstLogin(entry.n, UUID(int=entry.user_id.int + 1), entry.first_login_at),
        FirstLogin(entry.n, entry.user_id, entry.first_login_at + timedelta(milliseconds=1)),
    ):
        after = sealed([*ENTRIES[:n], other, *ENTRIES[n + 1 :]])
        assert [one == two for one, two in zip(before, after, strict=True)] == [True] * n + [False] * (8 - n)


def test_a_seal_tells_nothing_without_the_secret() -> None:
    assert not set(sealed(ENTRIES)) & set(sealed(ENTRIES, bytes(32)))


TIMES = st.lists(st.integers(0, 12), min_size=1, max_size=30)  # seconds, in any order: clocks go back


@given(
    times=TIMES,
    first_n=st.integers(1, 12),
    starts=st.integers(0, 12),
    ends=st.none() | st.integers(0, 14),
    data=st.data(),
)
def test_the_runs_give_everybody_the_place_that_counting_gives(
    times: list[int], first_n: int, starts: int, ends: int | None, data: st.DataObject
) -> None:
    campaign = Campaign(
        UUID(int=1), "Launch", 30, 3, "30 %", 30, first_n, START + timedelta(seconds=starts),
        None if ends is None else START + timedelta(seconds=ends),
    )  # fmt: skip
    events = [FirstLogin(n, UUID(int=n), START + timedelta(seconds=at)) for n, at in enumerate(times, start=1)]
    cuts = sorted({0, len(events), *data.draw(st.lists(st.integers(0, len(events)), max_size=4))})
    runs: list[Run] = []
    for begin, end in pairwise(cuts):  # however they come in batches
        last = runs.pop() if runs else None
        runs += runs_after(last, campaign, events[begin:end])
    counted = 0
    for event in events:
        is_counted = campaign.counts(event)
        counted += is_counted
        places = {run.place(event.n) for run in runs} - {None}
        assert places == ({counted} if is_counted else set())
    assert all(one.last_n + 1 < two.first_n for one, two in pairwise(runs)), "no run could be longer"
    assert {run.campaign_id for run in runs} <= {campaign.id}


HOUR = timedelta(hours=1)
ENDED = Campaign(UUID(int=1), "Launch", 30, 3, "30 %", 30, 5, START, START + HOUR)
DRAFT = Campaign(UUID(int=1), "Launch", 30, 3, "30 %", 30, None, None, None)


@pytest.mark.parametrize(
    ("campaign", "n", "at", "is_staff", "standing"),
    [
        (ENDED, None, None, True, Standing.STAFF),
        (ENDED, None, None, False, Standing.WAITING),
        (ENDED, 10, START, False, Standing.WAITING),
        (ENDED, 4, START, False, Standing.BEFORE_THE_START),
        (ENDED, 4, START + HOUR, False, Standing.BEFORE_THE_START),
        (ENDED, 5, START - HOUR, False, Standing.BEFORE_THE_START),
        (ENDED, 9, START + HOUR, False, Standing.AFTER_THE_END),
        (ENDED, 5, START + HOUR, False, Standing.AFTER_THE_END),
        (ENDED, 9, START + HOUR, True, Standing.AFTER_THE_END),
        (None, 9, START, False, Standing.NO_CAMPAIGN),
        (DRAFT, 9, START, False, Standing.NO_CAMPAIGN),
    ],
)
def test_whoever_has_no_place_is_told_why(
    campaign: Campaign | None, n: int | None, at: datetime | None, is_staff: bool, standing: Standing
) -> None:
    came = None if n is None or at is None else (n, at)
    assert standing_without_a_place(campaign, came, 9, is_staff=is_staff) is standing
