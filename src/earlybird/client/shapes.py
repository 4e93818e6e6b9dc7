"""What the API answers, typed. Times are aware, amounts in minor units.

Fields that a newer service adds are left out. States and reasons are plain strings, so that
one that a newer service adds is no error.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class Answered(BaseModel):
    """What all of them are made of."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Account(Answered):
    """The caller's account as it is now."""

    id: UUID
    roles: list[str]


class Session(Answered):
    """One place where the caller is logged in."""

    id: str
    is_this_one: bool
    device: str
    network: str
    started_at: datetime


class Receipt(Answered):
    """A first login, signed: `n` is its number among all. `earlybird verify` checks it."""

    n: int
    first_login_at: datetime
    seal: str
    jws: str


class Seal(Answered):
    """The newest number and seal of the ledger, signed; `key` verifies it (JWK)."""

    n: int
    seal: str
    jws: str
    key: dict[str, Any]


class Voucher(Answered):
    """The usable voucher that expires first."""

    description: str
    discount: int
    expire_at: datetime


class HeldVoucher(Voucher):
    """One of the caller's vouchers; `position` reads like “37 of 100”."""

    id: UUID
    campaign: str
    state: str
    position: str
    currency: str | None
    min_amount: int | None
    max_discount_amount: int | None


class Place(Answered):
    """Where the caller stands; `standing` says why there is a place, or none."""

    standing: str
    place: int | None
    has_won: bool
    is_withdrawn: bool
    campaign: str | None
    total: int | None
    granted: int | None
    first_login_at: datetime | None
    last_winner_at: datetime | None
    receipt: Receipt | None


class Terms(Answered):
    """What an order comes to with a voucher."""

    order_id: str
    amount: int
    discount_amount: int
    payable_amount: int
    currency: str


class Reservation(Terms):
    """A voucher held for an order, or released."""

    id: UUID
    reserved_until: datetime
    released_at: datetime | None = None


class Redemption(Terms):
    """A voucher spent on an order."""

    id: UUID
    redeemed_at: datetime


class Refund(Redemption):
    """A redemption that was taken back."""

    refunded_at: datetime
    voucher_returned: bool


class CurrentCampaign(Answered):
    """The open campaign, as everybody sees it."""

    name: str
    discount: int
    remaining: int
    total: int
    is_sold_out: bool


class Campaign(Answered):
    """A campaign, as its managers see it."""

    id: UUID
    name: str
    state: str
    discount: int
    number_of_promotion: int
    remaining_promotion: int
    replacements: int
    description: str
    voucher_days: int
    currency: str | None
    min_amount: int | None
    max_discount_amount: int | None
    starts_at: datetime | None
    ends_at: datetime | None
    created_at: datetime
    updated_at: datetime


class Withdrawal(Answered):
    """A voucher that was taken from its owner for good."""

    voucher_id: UUID
    user_id: UUID
    campaign_id: UUID
    position: int
    withdrawn_at: datetime
    withdrawn_by: str
    reason: str
    is_replaced: bool


class LogEntry(Answered):
    """One change that somebody made."""

    id: str
    at: datetime
    actor: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class LogPage(Answered):
    """Some changes, newest first; `next` is `before` of the page after this one."""

    entries: list[LogEntry]
    next: str | None
