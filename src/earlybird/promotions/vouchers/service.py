"""What people can do with vouchers: see theirs."""

from datetime import UTC, datetime
from uuid import UUID

from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.vouchers.cache import Noted, VoucherCache
from earlybird.promotions.vouchers.model import HeldVoucher, Voucher
from earlybird.promotions.vouchers.store import VoucherStore


class Vouchers:
    """Vouchers, as their owners see them. Every method raises Unavailable when MongoDB is away."""

    def __init__(self, vouchers: VoucherStore, cache: VoucherCache) -> None:
        self._vouchers = vouchers
        self._cache = cache

    async def current_voucher(self, user_id: UUID) -> bytes | None:
        """Return the user's usable voucher as JSON; None if there is none."""
        cached = await self._cache.get(user_id)
        if isinstance(cached, bytes):
            return cached
        voucher = None if cached is Noted.NO_VOUCHER else await self._find(user_id, cached)
        return None if voucher is None else voucher.to_json()

    async def _find(self, user_id: UUID, cached: Noted) -> Voucher | None:
        now = datetime.now(UTC)
        voucher = await self._vouchers.find_current_voucher(user_id, now, newest=cached is Noted.BYPASS)
        if cached is Noted.NOTHING:
            await self._cache.fill(user_id, voucher, now)
        return voucher

    async def all_vouchers(self, user_id: UUID) -> list[tuple[HeldVoucher, Campaign]]:
        """Return all of the user's vouchers, newest first, each with its campaign."""
        return await self._vouchers.find_vouchers(user_id)
