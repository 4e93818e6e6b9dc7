"""What a change of a campaign would come to: it is made in a transaction, which is rolled back."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pymongo.asynchronous.client_session import AsyncClientSession

from earlybird.promotions.campaigns.store import CampaignStore

T = TypeVar("T")


class CampaignPreviews(CampaignStore):
    """The same, but nothing is kept: each method returns what would be, or raises what would be refused."""

    async def _in_transaction(self, work: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        async def undone(session: AsyncClientSession) -> T:
            raise _Undone(await work(session))

        try:
            return await super()._in_transaction(undone)
        except _Undone as undone_work:
            result: T = undone_work.result
            return result


class _Undone(Exception):
    """Rolls a transaction back, with what it came to."""

    def __init__(self, result: Any) -> None:  # noqa: ANN401  # whatever the work returns
        self.result = result
