"""What a voucher is, and what its owner can do with it. Pure: no I/O, no clock."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from earlybird.errors import Refusal
from earlybird.times import iso_utc


class VoucherState(StrEnum):
    """What its owner can do with a voucher."""

    AVAILABLE = "available"
    RESERVED = "reserved"  # held while a payment runs
    REDEEMED = "redeemed"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"  # from a bot or a second account, for good


@dataclass(frozen=True, slots=True)
class Voucher:
    """The reward of one customer in one campaign. All of it follows from the campaign and the first login."""

    id: UUID
    user_id: UUID
    campaign_id: UUID
    position: int  # 1 … N
    first_login_n: int  # the ledger number that earned it
    description: str
    discount: int  # percent
    expire_at: datetime
    currency: str | None = None
    min_amount: int | None = None
    max_discount_amount: int | None = None

    def to_json(self) -> bytes:
        """Return the voucher as clients see it: exactly description, discount and expire_at (ISO 8601 UTC)."""
        shown = {
            "description": self.description,
            "discount": self.discount,
            "expire_at": iso_utc(self.expire_at),
        }
        return json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode()


def voucher_not_found() -> Refusal:
    """Return the refusal of somebody who has no voucher to use."""
    return Refusal("voucher_not_found", "You have no voucher that can be used.")


@dataclass(frozen=True, slots=True)
class HeldVoucher:
    """A voucher together with what has become of it."""

    voucher: Voucher
    is_available: bool  # neither spent nor withdrawn
    held_until: datetime | None = None  # by a reservation, which lapses by itself
    is_withdrawn: bool = False

    def state(self, now: datetime) -> VoucherState:
        """Tell what can be done with it."""
        return voucher_state(
            self.voucher.expire_at,
            self.held_until,
            now,
            is_available=self.is_available,
            is_withdrawn=self.is_withdrawn,
        )


def voucher_state(
    expire_at: datetime, held_until: datetime | None, now: datetime, *, is_available: bool, is_withdrawn: bool
) -> VoucherState:
    """Tell what can be done with a voucher. A hold outlives its expiry: a payment is running."""
    if is_withdrawn:
        return VoucherState.WITHDRAWN
    if not is_available:
        return VoucherState.REDEEMED
    if held_until is not None and now < held_until:
        return VoucherState.RESERVED
    return VoucherState.AVAILABLE if now < expire_at else VoucherState.EXPIRED
