"""The outbox: messages to people, written in the transaction that causes them, until the courier has sent them.

What a message says, and to whom, is sealed (AES-256-GCM) with a key that is not in the database. So a copy of the
database, as a backup is, holds no code. The place of a message is bound in: it cannot stand in for another.
"""

import json
import secrets
from dataclasses import asdict, dataclass, field
from datetime import datetime
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from uuid_utils.compat import uuid7

from earlybird.history.log import AuditLog, Change
from earlybird.identity.contacts.model import CLAIM, CODE_LIFE, Channel
from earlybird.identity.contacts.texts import Kind, Language
from earlybird.infra.mongo import Database, Document, count_waiting, database_time, in_transaction

COLLECTION = "message_outbox"
COURIER = "courier"  # whom the audit log names
_NONCE_BYTES = 12  # NIST SP 800-38D, 8.2: 96 bits


@dataclass(frozen=True, slots=True)
class Message:
    """What to write to somebody."""

    channel: Channel
    address: str = field(repr=False)
    kind: Kind
    language: Language
    code: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that this courier alone sends, for half a minute. `message` is None if it cannot be opened."""

    id: UUID
    user_id: UUID
    channel: Channel
    attempts: int  # this one too
    expires_at: datetime
    message: Message | None


class Outbox:
    """Messages that are not known to have been sent."""

    def __init__(self, database: Database, key: bytes) -> None:
        self._database = database
        self._messages = database[COLLECTION]
        self._log = AuditLog(database)
        self._cipher = AESGCM(key)

    async def put(
        self, session: AsyncClientSession, contact: str, user_id: UUID, message: Message, now: datetime
    ) -> None:
        """Add a message within the transaction that causes it; one to the same contact that waits is dropped.

        `contact` is the key of the contact: what waited there has a code that is not good any more.
        """
        message_id = uuid7()
        document: Document = {
            "_id": message_id,
            "contact": contact,
            "user_id": user_id,
            "channel": message.channel,
            "sealed": self._seal(message_id, message),
            "attempts": 0,
            "next_at": now,
            "created_at": now,
            "expires_at": now + CODE_LIFE,
        }
        await self._messages.delete_many({"contact": contact}, session=session)
        await self._messages.insert_one(document, session=session)

    async def claim(self) -> Claimed | None:
        """Take the message that has waited longest; others leave it alone for half a minute. None: none waits."""
        now = await database_time(self._database)
        found = await self._messages.find_one_and_update(
            {"next_at": {"$lte": now}},
            {"$set": {"next_at": now + CLAIM}, "$inc": {"attempts": 1}},
            sort=[("next_at", ASCENDING)],
            return_document=ReturnDocument.AFTER,
        )
        if found is None:
            return None
        message = self._open(found["_id"], found["sealed"])
        fields = {name: found[name] for name in ("user_id", "channel", "attempts", "expires_at")}
        return Claimed(id=found["_id"], message=message, **fields)

    async def depth(self) -> tuple[int, datetime | None]:
        """Return how many wait, up to DEPTH_COUNTED, and since when the one does that is due first."""
        first = await self._messages.find_one({}, {"created_at": 1}, sort=[("next_at", ASCENDING)])
        count = await count_waiting(self._messages, "next_at") if first else 0
        return count, first["created_at"] if first else None

    async def remove(self, claimed: Claimed) -> None:
        """Remove a message that was sent. Safe to repeat."""
        await self._messages.delete_one({"_id": claimed.id})

    async def postpone(self, claimed: Claimed, until: datetime) -> None:
        """Let a message wait until it is tried again, unless another courier has it by now."""
        at = {"_id": claimed.id, "attempts": claimed.attempts}
        await self._messages.update_one(at, {"$set": {"next_at": until}})

    async def give_up(self, claimed: Claimed, reason: str) -> None:
        """Remove a message that will not be sent, and note it in the audit log. Safe to repeat."""

        async def transaction(session: AsyncClientSession) -> None:
            gone = await self._messages.delete_one({"_id": claimed.id}, session=session)
            if gone.deleted_count:
                facts = {"channel": claimed.channel, "attempts": claimed.attempts, "reason": reason}
                change = Change("message.given_up", claimed.user_id, None, facts)
                await self._log.record(session, COURIER, await database_time(self._database), [change])

        await in_transaction("courier", self._database, transaction)

    def _seal(self, message_id: UUID, message: Message) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, json.dumps(asdict(message)).encode(), message_id.bytes)

    def _open(self, message_id: UUID, sealed: bytes) -> Message | None:
        nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return Message(**json.loads(self._cipher.decrypt(nonce, text, message_id.bytes)))
        except InvalidTag:
            return None


async def create_outbox(database: Database) -> None:
    """Index the outbox by when a message is due, and by contact. A migration; safe to repeat."""
    await database[COLLECTION].create_indexes(
        [IndexModel("next_at", name="next_at"), IndexModel("contact", name="contact")]
    )
