"""What those who run campaigns can do about webhooks: who is told of what, and what could not be delivered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from earlybird.errors import Failure, Refusal
from earlybird.infra.mongo import Database, Document, database_time
from earlybird.promotions.webhooks.endpoints import EndpointStore
from earlybird.promotions.webhooks.model import Endpoint, Kind, Network, Topic, check_address, secret_of
from earlybird.promotions.webhooks.notices import trial
from earlybird.promotions.webhooks.queues import QueueStore
from earlybird.settings import Settings

_LEAST_KEY_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to change; None: nothing."""

    address: str | None = None
    topics: tuple[Topic, ...] | None = None
    description: str | None = None
    is_paused: bool | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """An endpoint, and what waits for it."""

    endpoint: Endpoint
    waiting: int  # queues
    dead: int


def webhook_key(settings: Settings) -> bytes | None:
    """Return the key from which the secrets of endpoints follow; None where there is none. Raises Failure."""
    if settings.webhook_key is None:
        return None
    key = settings.webhook_key.get_secret_value().encode()
    if len(key) < _LEAST_KEY_CHARACTERS:
        raise Failure(f"EARLYBIRD_WEBHOOK_KEY: give at least {_LEAST_KEY_CHARACTERS} random characters")
    return key


class Webhooks:
    """Endpoints. `actor` is whom the audit log names. Every method raises Unavailable when MongoDB is away."""

    def __init__(self, database: Database, key: bytes | None, allowed: Sequence[Network]) -> None:
        self._database = database
        self._endpoints = EndpointStore(database)
        self._queues = QueueStore(database)
        self._key = key
        self._allowed = allowed

    async def find_all(self) -> list[Known]:
        """Return all endpoints, oldest first."""
        counts: Mapping[UUID, tuple[int, int]] = await self._queues.count()
        return [Known(one, *counts.get(one.id, (0, 0))) for one in await self._endpoints.find_all()]

    async def find(self, endpoint_id: UUID) -> Known:
        """Return one. Raises Refusal `webhook_not_found`."""
        endpoint, counts = await self._endpoints.find(endpoint_id), await self._queues.count()
        return Known(endpoint, *counts.get(endpoint_id, (0, 0)))

    async def add(
        self, kind: Kind, address: str, topics: tuple[Topic, ...], description: str, actor: str
    ) -> tuple[Known, str | None]:
        """Add an endpoint, and return it with the secret by which its receiver checks signatures.

        Raises Refusal `invalid_field`, `too_many_webhooks`, `webhooks_off`.
        """
        now = await database_time(self._database)
        checked = check_address(kind, address, self._allowed)
        endpoint = Endpoint(
            id=uuid7(),
            kind=kind,
            address=checked,
            topics=topics,
            description=description,
            is_paused=False,
            paused_because=None,
            secret_number=1,
            rotated_at=None,
            created_at=now,
        )
        secret = self._secret(endpoint)
        await self._endpoints.add(endpoint, actor)
        return Known(endpoint, 0, 0), secret

    async def change(self, endpoint_id: UUID, changes: Changes, actor: str) -> Known:
        """Change an endpoint; deliveries to one that is paused wait. Raises Refusal."""
        fields: dict[str, object] = {}
        if changes.address is not None:
            old = await self._endpoints.find(endpoint_id)
            fields["address"] = check_address(old.kind, changes.address, self._allowed)
        if changes.topics is not None:
            fields["topics"] = changes.topics
        if changes.description is not None:
            fields["description"] = changes.description
        if changes.is_paused is not None:
            fields |= {"is_paused": changes.is_paused, "paused_because": None}
        if fields:
            await self._endpoints.change(endpoint_id, fields, "webhook.changed", actor)
        return await self.find(endpoint_id)

    async def rotate(self, endpoint_id: UUID, actor: str) -> tuple[Known, str | None]:
        """Give an endpoint a new secret, and return it. For a day the one before signs as well. Raises Refusal."""
        old = await self._endpoints.find(endpoint_id)
        self._secret(old)
        new = {"secret_number": old.secret_number + 1, "rotated_at": await database_time(self._database)}
        endpoint = await self._endpoints.change(endpoint_id, new, "webhook.rotated", actor)
        return await self.find(endpoint_id), self._secret(endpoint)

    async def remove(self, endpoint_id: UUID, actor: str) -> None:
        """Remove an endpoint, with all that waits for it. Raises Refusal `webhook_not_found`."""
        await self._endpoints.remove(endpoint_id, actor)

    async def find_waiting(self, endpoint_id: UUID, *, dead: bool, limit: int) -> list[Document]:
        """Return what waits to be delivered, or is dead. Raises Refusal `webhook_not_found`."""
        await self._endpoints.find(endpoint_id)
        return await self._queues.find(endpoint_id, dead=dead, limit=limit)

    async def replay(self, endpoint_id: UUID, actor: str) -> int:
        """Have all that is dead tried again. Returns how many queues. Raises Refusal `webhook_not_found`."""
        await self._endpoints.find(endpoint_id)
        return await self._queues.replay(endpoint_id, actor)

    async def test(self, endpoint_id: UUID) -> None:
        """Have a test event delivered; what becomes of it is seen in what waits. Raises Refusal."""
        endpoint, now = await self._endpoints.find(endpoint_id), await database_time(self._database)
        await self._queues.put(endpoint, trial(str(endpoint_id), now))

    def _secret(self, endpoint: Endpoint) -> str | None:
        if endpoint.kind is not Kind.WEBHOOK:
            return None
        if self._key is None:
            raise Refusal("webhooks_off", "This deployment signs no webhooks: set EARLYBIRD_WEBHOOK_KEY.")
        return secret_of(self._key, endpoint.id, endpoint.secret_number)


def since(document: Document) -> datetime:
    """Return since when the first event of a queue waits."""
    moment: datetime = document["events"][0]["at"]
    return moment
