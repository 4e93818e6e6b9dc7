"""What people can do with vouchers: see theirs."""

from datetime import UTC, datetime
from uuid import UUID

from earlybird.errors import Refusal
from earlybird.promotions.store import VoucherStore
from earlybird.promotions.voucher_cache import NO_VOUCHER, VoucherCache


class Promotions:
    """Vouchers, as their owners see them."""

    def __init__(self, store: VoucherStore, cache: VoucherCache) -> None:
        """Look in the cache, then in the store."""
        self._store = store
        self._cache = cache

    async def current_voucher(self, user_id: UUID) -> bytes:
        """Give the user's usable voucher as JSON. Raises Refusal `voucher_not_found`; Unavailable."""
        shown = await self._cache.get(user_id)
        if shown is None:
            now = datetime.now(UTC)
            voucher = await self._store.find_current_voucher(user_id, now)
            await self._cache.fill(user_id, voucher, now)
            shown = NO_VOUCHER if voucher is None else voucher.to_json()
        if shown == NO_VOUCHER:
            raise Refusal("voucher_not_found", "You have no voucher that can be used.")
        return shown
