"""Idempotency keys: a request that is sent again gets the answer that it got, and does nothing again.

After the IETF draft "The Idempotency-Key HTTP Header Field". The key is claimed, the effect made and the outcome
noted in one transaction: a crash leaves all of it or nothing, and never a claim that has to time out. As with
Stripe's keys, a refusal is an outcome too.
"""

from datetime import datetime
from uuid import UUID

from pymongo import IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import OperationFailure

from earlybird.errors import Refusal
from earlybird.infra.mongo import Database, Document

KEY_LIFE_SECONDS = 24 * 3600
_WRITE_CONFLICT = 112


class IdempotencyKeys:
    """The keys of all users, each with what came of its request."""

    def __init__(self, database: Database) -> None:
        self._keys = database["idempotency_keys"]

    async def claim(
        self, session: AsyncClientSession, user_id: UUID, key: str, fingerprint: bytes, now: datetime
    ) -> Document | None:
        """Claim a user's key for a request, or give the outcome if the request was done before.

        `fingerprint` tells one request from another. Raises Refusal `idempotency_key_reused` for another
        request under the same key, `request_in_flight` while the first is still being worked on.
        """
        own = {"fingerprint": fingerprint, "created_at": now}
        try:
            known = await self._keys.find_one_and_update(
                {"_id": _id(user_id, key)}, {"$setOnInsert": own}, upsert=True, session=session
            )
        except OperationFailure as error:
            if error.code != _WRITE_CONFLICT:
                raise
            raise Refusal("request_in_flight", "This request is being worked on. Ask again in a moment.") from None
        if known is None:
            return None
        if known["fingerprint"] != fingerprint:
            raise Refusal("idempotency_key_reused", "This Idempotency-Key was used for another request.")
        outcome: Document = known["outcome"]
        return outcome

    async def settle(self, session: AsyncClientSession, user_id: UUID, key: str, outcome: Document) -> None:
        """Note the outcome under a key that this transaction has claimed."""
        await self._keys.update_one({"_id": _id(user_id, key)}, {"$set": {"outcome": outcome}}, session=session)


async def create_idempotency_keys(database: Database) -> None:
    """Have MongoDB remove keys after 24 hours. A migration; safe to repeat."""
    await database["idempotency_keys"].create_indexes(
        [IndexModel("created_at", name="created_at", expireAfterSeconds=KEY_LIFE_SECONDS)]
    )


def _id(user_id: UUID, key: str) -> str:
    return f"{user_id}/{key}"
