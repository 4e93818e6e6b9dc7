"""What it takes to withdraw a voucher, and what is kept of it. Pure: no I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from earlybird.life import No, next_state
from earlybird.promotions.vouchers.model import HeldVoucher, VoucherState

REASON_CHARACTERS = 200


class VoucherEvent(StrEnum):
    """What can be done to a voucher itself. All else happens to its redemptions."""

    WITHDRAW = "withdraw"


_AVAILABLE, _RESERVED, _REDEEMED, _EXPIRED, _WITHDRAWN = VoucherState
_SPENT = No("voucher_already_redeemed", "This voucher is spent: refund the redemption first.")
LIFE: Mapping[tuple[VoucherState, VoucherEvent], VoucherState | No] = {
    (_AVAILABLE, VoucherEvent.WITHDRAW): _WITHDRAWN,
    (_RESERVED, VoucherEvent.WITHDRAW): _WITHDRAWN,
    (_REDEEMED, VoucherEvent.WITHDRAW): _SPENT,
    (_EXPIRED, VoucherEvent.WITHDRAW): _WITHDRAWN,
    (_WITHDRAWN, VoucherEvent.WITHDRAW): _WITHDRAWN,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which voucher of a campaign is to be withdrawn: somebody's, or the one with an id."""

    campaign_id: UUID
    user_id: UUID | None = None
    voucher_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A voucher that was withdrawn: when, why and by whom. Its position is never given to anybody else."""

    voucher_id: UUID
    user_id: UUID
    campaign_id: UUID
    position: int
    withdrawn_at: datetime
    withdrawn_by: str  # as the audit log names who acts
    reason: str
    is_replaced: bool  # there is one position more for it, and the next in line has it, or will have it


def is_to_withdraw(held: HeldVoucher, now: datetime) -> bool:
    """Tell whether the voucher is to be withdrawn now: not if it was before.

    Raises Refusal `voucher_already_redeemed`.
    """
    before = held.state(now)
    return next_state(LIFE, before, VoucherEvent.WITHDRAW) is not before
