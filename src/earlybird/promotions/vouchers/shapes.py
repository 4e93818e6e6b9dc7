"""What vouchers look like over HTTP."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.shapes import Body, Percent, Shown
from earlybird.promotions.vouchers.model import HeldVoucher, VoucherState


class ShownVoucher(Body):
    """A voucher as GET /voucher shows it."""

    description: str
    discount: Percent
    expire_at: Shown


class VoucherFound(Body):
    """The caller's usable voucher that expires first."""

    status: Literal["success"]
    voucher: ShownVoucher


def found(voucher: bytes) -> bytes:
    """Return a VoucherFound, of a voucher that is JSON already."""
    return b'{"status":"success","voucher":%b}' % voucher


class MyVoucher(Body):
    """One of the caller's vouchers."""

    id: str
    campaign: str = Field(description="its name")
    description: str
    discount: Percent
    state: VoucherState
    position: str = Field(description="in the order of first logins", examples=["37 of 100"])
    currency: str | None
    min_amount: int | None
    max_discount_amount: int | None
    expire_at: Shown

    @classmethod
    def of(cls, held: HeldVoucher, campaign: Campaign, now: datetime) -> "MyVoucher":
        """Show a voucher."""
        voucher = held.voucher
        return cls(
            id=str(voucher.id),
            campaign=campaign.name,
            description=voucher.description,
            discount=voucher.discount,
            state=held.state(now),
            # That of a voucher in place of a withdrawn one is beyond N.
            position=f"{voucher.position} of {max(campaign.number_of_promotion, voucher.position)}",
            currency=voucher.currency,
            min_amount=voucher.min_amount,
            max_discount_amount=voucher.max_discount_amount,
            expire_at=voucher.expire_at,
        )


class MyVouchers(Body):
    """All of the caller's vouchers, newest first."""

    status: Literal["success"] = "success"
    vouchers: list[MyVoucher]
