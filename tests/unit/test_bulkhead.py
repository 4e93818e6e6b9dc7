"""The bulkhead: so many at once, a bounded wait, and a place is free again whatever happened in it."""

import asyncio

import pytest

from earlybird.errors import Unavailable
from earlybird.infra.bulkhead import Bulkhead


async def test_no_more_than_so_many_are_in_at_once_and_all_get_in() -> None:
    bulkhead, inside, most = Bulkhead(3, 10), 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with bulkhead.place():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(50)))
    assert (most, inside) == (3, 0)


async def test_who_waits_too_long_is_refused_and_told_when_to_come_again() -> None:
    bulkhead = Bulkhead(1, 0.01)
    async with bulkhead.place():
        with pytest.raises(Unavailable) as refused:
            async with bulkhead.place():
                pytest.fail("there was no place")
    assert (refused.value.code, refused.value.headers) == ("overloaded", {"Retry-After": "1"})
    async with bulkhead.place():
        pass


async def test_a_place_is_free_again_after_a_failure() -> None:
    bulkhead = Bulkhead(1, 0.01)

    async def fail() -> None:
        async with bulkhead.place():
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with bulkhead.place():
        pass
