"""Who has which place. Pure: no I/O, no clock.

First logins that a campaign counts mostly follow one another in the ledger. So their places are kept as runs, and
not one by one: a campaign has one run, and one more for each time that a first login in between does not count.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from earlybird.events import FirstLogin
from earlybird.promotions.campaigns.model import Campaign


@dataclass(frozen=True, slots=True)
class Run:
    """Entries `first_n` to `last_n` of the ledger, which a campaign counted one after another."""

    campaign_id: UUID
    first_n: int
    first_place: int
    last_n: int

    @property
    def last_place(self) -> int:
        """The place of the last of them."""
        return self.first_place + self.last_n - self.first_n

    def place(self, n: int) -> int | None:
        """Return the place of entry n; None if it is not in the run."""
        return self.first_place + n - self.first_n if self.first_n <= n <= self.last_n else None


def runs_after(last: Run | None, campaign: Campaign, events: Iterable[FirstLogin]) -> list[Run]:
    """Return the campaign's runs from its last one on, after these first logins, which follow what was seen.

    The first of them is `last`, longer by what goes on from it; it is missing where there was none.
    """
    runs = [] if last is None else [last]
    for event in events:
        if not campaign.counts(event):
            continue
        if runs and runs[-1].last_n + 1 == event.n:
            runs[-1] = replace(runs[-1], last_n=event.n)
        else:
            place = runs[-1].last_place + 1 if runs else 1
            runs.append(Run(campaign.id, event.n, place, event.n))
    return runs


class Standing(StrEnum):
    """Why somebody has a place, or none."""

    COUNTED = "counted"
    NEVER_CAME = "never_came"  # has never logged in
    WAITING = "waiting"  # the first login has no number yet, or is not judged yet
    BEFORE_THE_START = "before_the_start"
    AFTER_THE_END = "after_the_end"
    STAFF = "staff"  # no first login of theirs counts
    NO_CAMPAIGN = "no_campaign"  # none has begun yet


def standing_without_a_place(
    campaign: Campaign | None, came: tuple[int, datetime] | None, placed: int, *, is_staff: bool
) -> Standing:
    """Tell why somebody is in no run: number and time of whose first login are `came`, if it has a number.

    `placed` is the last entry of the ledger whose place is known.
    """
    if came is None:
        return Standing.STAFF if is_staff else Standing.WAITING
    n, at = came
    if n > placed:
        return Standing.WAITING
    if campaign is None or campaign.first_n is None:
        return Standing.NO_CAMPAIGN
    is_over = campaign.ends_at is not None and at >= campaign.ends_at and n >= campaign.first_n
    return Standing.AFTER_THE_END if is_over else Standing.BEFORE_THE_START
