"""What the API answers about webhooks, typed. See `shapes`."""

from datetime import datetime
from uuid import UUID

from earlybird.client.shapes import Answered


class Webhook(Answered):
    """An address that is told of events, and what waits for it."""

    id: UUID
    kind: str
    host: str
    topics: list[str]
    description: str
    is_paused: bool
    paused_because: str | None
    secret_number: int
    rotated_at: datetime | None
    created_at: datetime
    waiting: int
    dead: int


class WebhookWithSecret(Answered):
    """A webhook, with the secret by which its receiver checks signatures; None for Slack and mail."""

    webhook: Webhook
    secret: str | None


class Delivery(Answered):
    """The next event for one subject, with what became of it so far; `next_attempt_at` None: it is dead."""

    subject: str
    event_id: str
    topic: str
    attempts: int
    error: str | None
    waits_since: datetime
    next_attempt_at: datetime | None
    behind_it: int
