"""What the API answers to support and campaign managers, typed. See `shapes`."""

from datetime import datetime
from typing import Any
from uuid import UUID

from earlybird.client.shapes import Answered, Campaign, Terms, Withdrawal


class Page(Answered):
    """A part of a longer list; `next` goes with the call for the part after this one."""

    next: Any


class Winner(Answered):
    """One winner of a campaign."""

    position: int
    user_id: UUID
    voucher_id: UUID
    first_login_number: int
    discount: int
    state: str
    granted_at: datetime
    expire_at: datetime


class Winners(Page):
    """Some winners, by position."""

    winners: list[Winner]


class Spending(Terms):
    """One attempt to spend a voucher."""

    id: UUID
    user_id: UUID
    state: str
    reserved_until: datetime | None
    redeemed_at: datetime | None
    refunded_at: datetime | None


class Spendings(Page):
    """Some attempts, newest first."""

    redemptions: list[Spending]


class Withdrawals(Page):
    """Some withdrawals, by position."""

    withdrawals: list[Withdrawal]


class Given(Answered):
    """Discount given in one currency, in minor units."""

    currency: str
    amount: int


class Figures(Answered):
    """What a campaign has come to; `most_still` is the most that it can still cost, None without a bound."""

    granted: int
    remaining: int
    withdrawn: int
    held: int
    redeemed: int
    refunded: int
    in_line: int
    given: list[Given]
    most_still: int | None


class GrantedPoint(Answered):
    """When the voucher at a position was granted."""

    position: int
    at: datetime


class GrantCurve(Answered):
    """How vouchers were granted over time; `first_number` is the first of all first logins that counts."""

    first_number: int | None
    granted: int
    points: list[GrantedPoint]


class Point(Answered):
    """When the first login of a number came."""

    number: int
    at: datetime


class Curve(Answered):
    """How first logins came over time; `head` is the newest number."""

    head: int
    points: list[Point]


class Preview(Answered):
    """What a change would do; `most_discount_amount` is None where there is no bound."""

    campaign: Campaign
    people_at_once: int
    most_discount_amount: int | None


class Person(Answered):
    """A person as support sees them: contacts are masked; `username` is None for an erased person."""

    id: UUID
    username: str | None
    email: str | None
    phone: str | None
    roles: list[str]
    is_active: bool
    is_locked: bool
    is_verified: bool
    registered_at: datetime
    first_login_at: datetime | None
    number: int | None
    why_no_number: str | None = None


class TimelineEntry(Answered):
    """Something that happened to an account; `actor` is None for the person."""

    at: datetime
    what: str
    text: str
    actor: str | None = None


class PersonWithTimeline(Answered):
    """A person, and what happened to the account, oldest first."""

    person: Person
    timeline: list[TimelineEntry]


class Name(Answered):
    """Whose id it is."""

    id: UUID
    username: str | None


class Judged(Answered):
    """How a first login was judged."""

    standing: str
    place: int | None
    has_won: bool
    is_withdrawn: bool
    campaign_id: UUID | None
    campaign: str | None
    total: int | None
    last_winner_at: datetime | None


class HolderEntry(Answered):
    """Something that happened to a person's voucher."""

    at: datetime
    what: str
    text: str
    campaign_id: UUID
    order_id: str | None
    amount: int | None
    discount_amount: int | None
    currency: str | None


class Holder(Answered):
    """What happened to one person's vouchers, oldest first."""

    user_id: UUID
    judged: Judged | None
    timeline: list[HolderEntry]
