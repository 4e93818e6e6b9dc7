"""What people can do with vouchers: see theirs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.vouchers.cache import Noted, VoucherCache
from earlybird.promotions.vouchers.lookups import Lookups
from earlybird.promotions.vouchers.model import HeldVoucher, Voucher
from earlybird.promotions.vouchers.store import VoucherStore


class Vouchers:
    """Vouchers, as their owners see them. Every method raises Unavailable when MongoDB is away."""

    def __init__(self, vouchers: VoucherStore, cache: VoucherCache) -> None:
        self._vouchers = vouchers
        self._cache = cache
        self._lookups = Lookups(self._find_nearby)

    async def current_voucher(self, user_id: UUID) -> bytes | None:
        """Return the user's usable voucher as JSON; None if there is none."""
        cached = await self._cache.get(user_id)
        if isinstance(cached, bytes):
            return cached
        match cached:
            case Noted.NO_VOUCHER:
                return None
            case Noted.NOTHING:
                voucher = await self._lookups.find(user_id)
            case Noted.BYPASS:
                newest = await self._vouchers.find_current_vouchers([user_id], datetime.now(UTC), newest=True)
                voucher = newest.get(user_id)
        return None if voucher is None else voucher.to_json()

    async def _find_nearby(self, user_ids: Sequence[UUID]) -> dict[UUID, Voucher]:
        now = datetime.now(UTC)
        found = await self._vouchers.find_current_vouchers(user_ids, now, newest=False)
        await self._cache.fill({user_id: found.get(user_id) for user_id in user_ids}, now)
        return found

    async def all_vouchers(self, user_id: UUID) -> list[tuple[HeldVoucher, Campaign]]:
        """Return all of the user's vouchers, newest first, each with its campaign."""
        return await self._vouchers.find_vouchers(user_id)
