"""Who won: the vouchers of a campaign in order, with the names and first logins of those who hold them.

It reads both services' data, a page at a time: memory does not grow with the number of winners.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from earlybird.identity import store as identity
from earlybird.infra.mongo import Client
from earlybird.promotions import store as promotions
from earlybird.promotions.model import HeldVoucher, VoucherState
from earlybird.promotions.store import held_voucher_of

_PAGE = 2000


@dataclass(frozen=True, slots=True)
class Winner:
    """One row of the list of winners."""

    position: int
    username: str | None  # None: the account is gone
    user_id: UUID
    first_login_at: datetime | None
    discount: int  # percent
    expire_at: datetime
    state: VoucherState


async def read_winners(client: Client, campaign_id: UUID, now: datetime) -> AsyncIterator[Winner]:
    """Give a campaign's winners, by position; each page is of its own moment."""
    vouchers, last = client[promotions.DATABASE]["vouchers"], 0
    while True:
        query = {"campaign_id": campaign_id, "position": {"$gt": last}}
        page = [held_voucher_of(one) async for one in vouchers.find(query).sort("position", 1).limit(_PAGE)]
        if not page:
            return
        async for winner in _with_names(client, page, now):
            yield winner
        last = page[-1].voucher.position


async def _with_names(client: Client, page: list[HeldVoucher], now: datetime) -> AsyncIterator[Winner]:
    users = client[identity.DATABASE]["users"]
    ids = {"_id": {"$in": [held.voucher.user_id for held in page]}}
    names = {user["_id"]: user async for user in users.find(ids, {"username": 1, "first_login_at": 1})}
    for held in page:
        voucher, user = held.voucher, names.get(held.voucher.user_id, {})
        yield Winner(
            position=voucher.position,
            username=user.get("username"),
            user_id=voucher.user_id,
            first_login_at=user.get("first_login_at"),
            discount=voucher.discount,
            expire_at=voucher.expire_at,
            state=held.state(now),
        )
