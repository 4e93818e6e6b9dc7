"""What people can do with vouchers: see theirs."""

from datetime import UTC, datetime
from uuid import UUID

from earlybird.errors import Refusal
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.vouchers.cache import BYPASS, NO_VOUCHER, VoucherCache
from earlybird.promotions.vouchers.model import HeldVoucher
from earlybird.promotions.vouchers.store import VoucherStore


class Vouchers:
    """Vouchers, as their owners see them. Every method raises Unavailable when MongoDB is away."""

    def __init__(self, vouchers: VoucherStore, cache: VoucherCache) -> None:
        """Look in the cache, then in the store."""
        self._vouchers = vouchers
        self._cache = cache

    async def current_voucher(self, user_id: UUID) -> bytes:
        """Give the user's usable voucher as JSON. Raises Refusal `voucher_not_found`."""
        shown = await self._cache.get(user_id)
        if shown is None or shown == BYPASS:
            now = datetime.now(UTC)
            voucher = await self._vouchers.find_current_voucher(user_id, now, newest=shown == BYPASS)
            if shown is None:
                await self._cache.fill(user_id, voucher, now)
            shown = NO_VOUCHER if voucher is None else voucher.to_json()
        if shown == NO_VOUCHER:
            raise Refusal("voucher_not_found", "You have no voucher that can be used.")
        return shown

    async def all_vouchers(self, user_id: UUID) -> list[tuple[HeldVoucher, Campaign]]:
        """Give all of the user's vouchers, newest first, each with its campaign."""
        return await self._vouchers.find_vouchers(user_id)
