"""What those who run campaigns can do about bots and second accounts: take a voucher back."""

from earlybird.metrics import WITHDRAWALS
from earlybird.promotions.redemptions.service import BYPASS_SECONDS
from earlybird.promotions.vouchers.cache import VoucherCache
from earlybird.promotions.withdrawals.model import Wanted, Withdrawal
from earlybird.promotions.withdrawals.store import WithdrawalStore


class Withdrawals:
    """Vouchers, as they are taken back. Every method raises Unavailable when MongoDB is away."""

    def __init__(self, withdrawals: WithdrawalStore, cache: VoucherCache) -> None:
        self._withdrawals = withdrawals
        self._cache = cache

    async def withdraw(self, wanted: Wanted, reason: str, actor: str, *, replace: bool) -> Withdrawal:
        """Withdraw a voucher, and replace it if asked to. Safe to repeat.

        It is announced to the cache before it is made, as every change is. Raises Refusal (see
        WithdrawalStore.withdraw).
        """
        voucher = await self._withdrawals.find(wanted)
        await self._cache.bypass(voucher.user_id, BYPASS_SECONDS)
        done = await self._withdrawals.withdraw(wanted, reason, actor, replace=replace)
        WITHDRAWALS.inc()
        return done
