"""The time of an answer: a refusal comes at a multiple of 100 ms, so that it does not tell what was looked for."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from earlybird.errors import Refusal

_EVERY_SECONDS = 0.1


@asynccontextmanager
async def evenly(is_even: Callable[[Refusal], bool] | None = None) -> AsyncIterator[None]:
    """Let what the block does be answered at a multiple of 100 ms after it began.

    With `is_even`, only the refusals for which it is true; without, whatever comes of it.
    """
    clock = asyncio.get_running_loop().time
    came_at = clock()
    refusal: Refusal | None = None
    try:
        yield
    except Refusal as error:
        refusal = error
    if is_even is None or (refusal is not None and is_even(refusal)):
        waited = clock() - came_at
        await asyncio.sleep(math.ceil(waited / _EVERY_SECONDS) * _EVERY_SECONDS - waited)
    if refusal is not None:
        raise refusal
