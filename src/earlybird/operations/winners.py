"""Who won: the vouchers of a campaign in order, with the names and first logins of those who hold them.

It reads both services' data, a page at a time: memory does not grow with the number of winners.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from earlybird import identity, promotions
from earlybird.infra.mongo import Client, Document
from earlybird.promotions.vouchers.model import VoucherState, voucher_state

_PAGE = 2000
_VOUCHER_FIELDS = dict.fromkeys(
    ("user_id", "position", "discount", "expire_at", "is_available", "held_until", "withdrawn_at"), 1
)
_VOUCHER_FIELDS["_id"] = 0


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
    """Return a campaign's winners, by position; each page is of its own moment."""
    vouchers, last = client[promotions.DATABASE]["vouchers"], 0
    while True:
        query = {"campaign_id": campaign_id, "position": {"$gt": last}}
        page = await vouchers.find(query, _VOUCHER_FIELDS).sort("position", 1).limit(_PAGE).to_list()
        if not page:
            return
        for winner in await _with_names(client, page, now):
            yield winner
        last = page[-1]["position"]


async def _with_names(client: Client, page: list[Document], now: datetime) -> list[Winner]:
    ids = {"_id": {"$in": [voucher["user_id"] for voucher in page]}}
    users = await client[identity.DATABASE]["users"].find(ids, {"username": 1, "first_login_at": 1}).to_list()
    names = {user["_id"]: user for user in users}
    return [_winner(voucher, names.get(voucher["user_id"], {}), now) for voucher in page]


def _winner(voucher: Document, user: Document, now: datetime) -> Winner:
    state = voucher_state(
        voucher["expire_at"],
        voucher.get("held_until"),
        now,
        is_available=voucher["is_available"] == 1,
        is_withdrawn=voucher.get("withdrawn_at") is not None,
    )
    return Winner(
        position=voucher["position"],
        username=user.get("username"),
        user_id=voucher["user_id"],
        first_login_at=user.get("first_login_at"),
        discount=voucher["discount"],
        expire_at=voucher["expire_at"],
        state=state,
    )
