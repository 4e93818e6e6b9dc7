"""What people can do with their voucher: spend it, hold it, give it back."""

from uuid import UUID

from earlybird.access.permissions import CAMPAIGN_MANAGER, Caller
from earlybird.errors import forbidden
from earlybird.infra.mongo import LONGEST_LAG_SECONDS
from earlybird.promotions.redemptions.model import Order, Redemption
from earlybird.promotions.redemptions.store import RedemptionStore
from earlybird.promotions.vouchers.cache import VoucherCache

# Longer than a transaction and its retries may take, on top of what a reader may lag behind.
_BYPASS_SECONDS = LONGEST_LAG_SECONDS + 30


class Redemptions:
    """Vouchers, as their owners spend them. Every method raises Unavailable when MongoDB is away."""

    def __init__(self, redemptions: RedemptionStore, cache: VoucherCache, *, customers_may_refund: bool) -> None:
        self._redemptions = redemptions
        self._cache = cache
        self._customers_may_refund = customers_may_refund

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

    async def refund(self, redemption_id: UUID, caller: Caller) -> Redemption:
        """Take a redemption back: a manager anybody's, its owner their own if this deployment lets them.

        Safe to repeat. Raises Refusal `redemption_not_found`, `forbidden`.
        """
        is_manager = CAMPAIGN_MANAGER in caller.roles
        if not (is_manager or self._customers_may_refund):
            raise forbidden(CAMPAIGN_MANAGER)
        owner = None if is_manager else caller.user_id
        refunded = await self._redemptions.refund(redemption_id, caller.user_id, owner=owner)
        await self._cache.bypass(refunded.user_id, _BYPASS_SECONDS)
        return refunded
