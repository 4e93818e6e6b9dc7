"""What those do who have other systems told of events."""

from collections.abc import Sequence
from typing import Any, Literal
from uuid import UUID

from earlybird.client.calls import Answer, Call, plain, query, reader
from earlybird.client.webhook_shapes import Delivery, Webhook, WebhookWithSecret

_ONE = reader(Webhook, "webhook")


def _nothing(_: Answer) -> None:
    return None


def webhooks() -> Call[list[Webhook]]:
    """List webhooks, oldest first."""
    return Call("GET", "/webhooks", reader(list[Webhook], "webhooks"))


def webhook(webhook_id: UUID) -> Call[Webhook]:
    """See one webhook."""
    return Call("GET", f"/webhooks/{webhook_id}", _ONE)


def add_webhook(
    address: str,
    topics: Sequence[str],
    description: str,
    kind: Literal["webhook", "slack", "mail"] = "webhook",
) -> Call[WebhookWithSecret]:
    """Have an address told of events. The answer holds the secret, this once."""
    body = {"kind": kind, "address": address, "topics": list(topics), "description": description}
    return Call("POST", "/webhooks", reader(WebhookWithSecret), body, is_repeatable=False)


def change_webhook(webhook_id: UUID, **changes: Any) -> Call[Webhook]:  # noqa: ANN401  # of PATCH /webhooks/{id}
    """Change a webhook, or pause it."""
    return Call("PATCH", f"/webhooks/{webhook_id}", _ONE, plain(changes))


def remove_webhook(webhook_id: UUID) -> Call[None]:
    """Remove a webhook, with all that waits for it."""
    return Call("DELETE", f"/webhooks/{webhook_id}", _nothing)


def rotate_secret(webhook_id: UUID) -> Call[WebhookWithSecret]:
    """Give a webhook a new secret; for a day the one before signs too."""
    return Call("POST", f"/webhooks/{webhook_id}/rotate", reader(WebhookWithSecret), is_repeatable=False)


def deliveries(
    webhook_id: UUID, state: Literal["waiting", "dead"] = "waiting", limit: int = 100
) -> Call[list[Delivery]]:
    """See what waits for a webhook, or is dead."""
    sent = query(state=state, limit=limit)
    return Call("GET", f"/webhooks/{webhook_id}/deliveries", reader(list[Delivery], "deliveries"), query=sent)


def replay(webhook_id: UUID) -> Call[int]:
    """Have all that is dead delivered after all. Returns of how many subjects."""
    return Call("POST", f"/webhooks/{webhook_id}/replay", reader(int, "replayed"))


def try_webhook(webhook_id: UUID) -> Call[None]:
    """Have a test event delivered."""
    return Call("POST", f"/webhooks/{webhook_id}/test", _nothing, is_repeatable=False)
