"""Somebody who logs in, and perhaps looks for a voucher again and again."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from pymongo.errors import PyMongoError

from earlybird.promotions.vouchers.service import Vouchers
from simulation.invariants import Invariants
from simulation.loop import simulated_loop
from simulation.stores import SimulatedUsers

_LOOKS = 3


class Person:
    """What one user does, and sees."""

    def __init__(self, rng: random.Random, user: UUID, invariants: Invariants, pace: float) -> None:
        """Tell the invariants; wait about as long as the pace, in seconds, between one deed and the next."""
        self._rng = rng
        self._loop = simulated_loop()
        self._user = user
        self._invariants = invariants
        self._pace = pace

    async def log_in(self, users: SimulatedUsers) -> None:
        """Log in for the first time, and perhaps once more, however often it takes."""
        await self._loop.arrival(3 * self._pace * self._rng.random())
        self._invariants.login_started(self._user, self._loop.time())
        for _ in range(self._rng.choice([1, 1, 2])):
            while True:
                with suppress(PyMongoError):
                    await users.mark_first_login(self._user)
                    break
            self._invariants.login_acknowledged(self._user, self._loop.time())

    async def watch(self, servers: Sequence[Vouchers]) -> None:
        """Look for the voucher again and again, in as many windows as there are servers."""
        await asyncio.gather(*(self._look_again_and_again(server) for server in servers))

    async def _look_again_and_again(self, promotions: Vouchers) -> None:
        for _ in range(_LOOKS):
            await self._loop.arrival(self._pace * self._rng.random())
            before = {
                "was_shown": self._invariants.was_shown(self._user),
                "was_withdrawn": self._invariants.was_withdrawn(self._user),
            }
            with suppress(PyMongoError):
                is_shown = await sees_voucher(promotions, self._user)
                self._invariants.check_shown(self._user, **before, is_shown=is_shown)


async def sees_voucher(promotions: Vouchers, user: UUID) -> bool:
    """Say whether the user is shown a voucher."""
    return await promotions.current_voucher(user) is not None
