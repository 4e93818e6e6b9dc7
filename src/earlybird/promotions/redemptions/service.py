"""What people can do with their voucher: spend it, hold it, give it back.

Every change is announced to the cache before it is made: readers ask the newest data from then on, whatever
happens to this process in between.
"""

from uuid import UUID

from earlybird.access.permissions import CAMPAIGN_MANAGER, Caller
from earlybird.errors import forbidden
from earlybird.infra.mongo import LONGEST_LAG_SECONDS
from earlybird.metrics import REDEMPTIONS
from earlybird.promotions.redemptions.model import Order, Redemption, RedemptionEvent
from earlybird.promotions.redemptions.store import RedemptionStore
from earlybird.promotions.vouchers.cache import VoucherCache

# Longer than a transaction and its retries may take, on top of what a reader may lag behind.
BYPASS_SECONDS = LONGEST_LAG_SECONDS + 30
# From the start, so that the first of each kind is seen as a change.
_DONE = {what: REDEMPTIONS.labels(what) for what in ("redeem", "reserve", *RedemptionEvent)}


class Redemptions:
    """Vouchers, as their owners spend them. Every method raises Unavailable when MongoDB is away."""

    def __init__(self, redemptions: RedemptionStore, cache: VoucherCache, *, customers_may_refund: bool) -> None:
        self._redemptions = redemptions
        self._cache = cache
        self._customers_may_refund = customers_may_refund

    async def quote(self, user_id: UUID, order: Order) -> Redemption:
        """Return what the user's voucher would take off an order; nothing changes. Raises Refusal."""
        return await self._redemptions.quote(user_id, order)

    async def redeem(self, user_id: UUID, key: str, order: Order) -> Redemption:
        """Spend the user's voucher on an order, once per key. Raises Refusal (see RedemptionStore.spend)."""
        await self._cache.bypass(user_id, BYPASS_SECONDS)
        done = await self._redemptions.spend(user_id, key, order, reserve=False)
        _DONE["redeem"].inc()
        return done

    async def reserve(self, user_id: UUID, key: str, order: Order) -> Redemption:
        """Hold the user's voucher for an order, once per key. Raises Refusal (see RedemptionStore.spend)."""
        await self._cache.bypass(user_id, BYPASS_SECONDS)
        done = await self._redemptions.spend(user_id, key, order, reserve=True)
        _DONE["reserve"].inc()
        return done

    async def confirm(self, user_id: UUID, reservation_id: UUID) -> Redemption:
        """Turn the user's reservation into a redemption. Safe to repeat. Raises Refusal (see model.LIFE)."""
        return await self._settle(reservation_id, RedemptionEvent.CONFIRM, user_id, owner=user_id)

    async def release(self, user_id: UUID, reservation_id: UUID) -> Redemption:
        """Return the user's reserved voucher back. Safe to repeat. Raises Refusal (see model.LIFE)."""
        return await self._settle(reservation_id, RedemptionEvent.RELEASE, user_id, owner=user_id)

    async def refund(self, redemption_id: UUID, caller: Caller) -> Redemption:
        """Take a redemption back: a manager anybody's, its owner their own if this deployment lets them.

        Safe to repeat. Raises Refusal `redemption_not_found`, `forbidden`.
        """
        is_manager = CAMPAIGN_MANAGER in caller.roles
        if not (is_manager or self._customers_may_refund):
            raise forbidden(CAMPAIGN_MANAGER)
        owner = await self._redemptions.find_owner(redemption_id) if is_manager else caller.user_id
        return await self._settle(redemption_id, RedemptionEvent.REFUND, caller.user_id, owner=owner)

    async def _settle(
        self, redemption_id: UUID, event: RedemptionEvent, actor: UUID, *, owner: UUID
    ) -> Redemption:
        await self._cache.bypass(owner, BYPASS_SECONDS)
        done = await self._redemptions.settle(redemption_id, event, actor, owner=owner)
        _DONE[event].inc()
        return done
