"""What people can do with vouchers: see theirs, spend it."""

from datetime import UTC, datetime
from uuid import UUID

from earlybird.errors import Refusal
from earlybird.infra.mongo import LONGEST_LAG_SECONDS
from earlybird.promotions.model import Campaign, HeldVoucher
from earlybird.promotions.redemption import Order, Redemption
from earlybird.promotions.redemption_store import RedemptionStore
from earlybird.promotions.store import VoucherStore
from earlybird.promotions.voucher_cache import BYPASS, NO_VOUCHER, VoucherCache

# Longer than a transaction and its retries may take, on top of what a reader may lag behind.
_BYPASS_SECONDS = LONGEST_LAG_SECONDS + 30


class Promotions:
    """Vouchers, as their owners see and spend them. Every method raises Unavailable when MongoDB is away."""

    def __init__(self, vouchers: VoucherStore, redemptions: RedemptionStore, cache: VoucherCache) -> None:
        """Look in the cache, then in the stores."""
        self._vouchers = vouchers
        self._redemptions = redemptions
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

    async def redeem(self, user_id: UUID, key: str, order: Order) -> Redemption:
        """Spend the user's voucher on an order, once per key. Raises Refusal (see RedemptionStore.spend)."""
        await self._cache.bypass(user_id, _BYPASS_SECONDS)
        return await self._redemptions.spend(user_id, key, order, reserve=False)

    async def reserve(self, user_id: UUID, key: str, order: Order) -> Redemption:
        """Hold the user's voucher for an order, once per key. Raises Refusal (see RedemptionStore.spend)."""
        await self._cache.bypass(user_id, _BYPASS_SECONDS)
        return await self._redemptions.spend(user_id, key, order, reserve=True)

    async def confirm(self, user_id: UUID, reservation_id: UUID) -> Redemption:
        """Turn a reservation into a redemption. Safe to repeat. Raises Refusal (see RedemptionStore.confirm)."""
        await self._cache.bypass(user_id, _BYPASS_SECONDS)
        return await self._redemptions.confirm(user_id, reservation_id)

    async def release(self, user_id: UUID, reservation_id: UUID) -> Redemption:
        """Give a reserved voucher back. Safe to repeat. Raises Refusal (see RedemptionStore.release)."""
        released = await self._redemptions.release(user_id, reservation_id)
        await self._cache.bypass(user_id, _BYPASS_SECONDS)
        return released

    async def refund(self, redemption_id: UUID, actor: UUID, *, owner: UUID | None) -> Redemption:
        """Take a redemption back. Safe to repeat. Raises Refusal `redemption_not_found`."""
        refunded = await self._redemptions.refund(redemption_id, actor, owner=owner)
        await self._cache.bypass(refunded.user_id, _BYPASS_SECONDS)
        return refunded
