"""The HTTP of webhooks."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from earlybird.access.callers import MANAGERS_ONLY, UNAUTHORISED, VIEWERS_ONLY, Manager, Responses, Viewer
from earlybird.infra.http.app import built
from earlybird.infra.http.refusals import OVERLOAD, refused
from earlybird.infra.http.strict_json import StrictRoute
from earlybird.promotions.webhooks.service import Webhooks
from earlybird.promotions.webhooks.shapes import (
    Deliveries,
    Done,
    NewWebhook,
    Replayed,
    ShownDelivery,
    ShownWebhook,
    Webhook,
    WebhookChanges,
    WebhookWithSecret,
)
from earlybird.promotions.webhooks.shapes import Webhooks as AllWebhooks

router = APIRouter(route_class=StrictRoute, prefix="/webhooks", tags=["webhooks"], responses={503: OVERLOAD})
_Webhooks = Annotated[Webhooks, Depends(built(Webhooks))]
_NOT_FOUND: Responses = {404: refused("there is no such webhook")}
_MALFORMED: Responses = {400: refused("malformed JSON"), 422: refused("a bad field")}


@router.get("", summary="See all webhooks", responses={**UNAUTHORISED, **VIEWERS_ONLY})
async def see_webhooks(_: Viewer, webhooks: _Webhooks) -> AllWebhooks:
    return AllWebhooks(webhooks=[ShownWebhook.of(one) for one in await webhooks.find_all()])


@router.post(
    "",
    summary="Have an address told of events",
    description="Deliveries are CloudEvents, signed after Standard Webhooks with the secret in the answer.",
    responses={
        **UNAUTHORISED,
        **MANAGERS_ONLY,
        **_MALFORMED,
        409: refused("there are too many, or none is signed here"),
    },
)
async def add_webhook(caller: Manager, body: NewWebhook, webhooks: _Webhooks) -> WebhookWithSecret:
    known, secret = await webhooks.add(
        body.kind, body.address, tuple(body.topics), body.description, str(caller.user_id)
    )
    return WebhookWithSecret(webhook=ShownWebhook.of(known), secret=secret)


@router.get(
    "/{webhook_id:uuid}", summary="See a webhook", responses={**UNAUTHORISED, **VIEWERS_ONLY, **_NOT_FOUND}
)
async def see_webhook(_: Viewer, webhook_id: UUID, webhooks: _Webhooks) -> Webhook:
    return Webhook(webhook=ShownWebhook.of(await webhooks.find(webhook_id)))


@router.patch(
    "/{webhook_id:uuid}",
    summary="Change a webhook, or pause it",
    responses={**UNAUTHORISED, **MANAGERS_ONLY, **_NOT_FOUND, **_MALFORMED},
)
async def change_webhook(caller: Manager, webhook_id: UUID, body: WebhookChanges, webhooks: _Webhooks) -> Webhook:
    known = await webhooks.change(webhook_id, body.changes(), str(caller.user_id))
    return Webhook(webhook=ShownWebhook.of(known))


@router.delete(
    "/{webhook_id:uuid}",
    summary="Remove a webhook, with all that waits for it",
    responses={**UNAUTHORISED, **MANAGERS_ONLY, **_NOT_FOUND},
)
async def remove_webhook(caller: Manager, webhook_id: UUID, webhooks: _Webhooks) -> Done:
    await webhooks.remove(webhook_id, str(caller.user_id))
    return Done()


@router.post(
    "/{webhook_id:uuid}/rotate",
    summary="Give a webhook a new secret; for a day the old one signs too",
    responses={**UNAUTHORISED, **MANAGERS_ONLY, **_NOT_FOUND, 409: refused("no webhook is signed here")},
)
async def rotate_secret(caller: Manager, webhook_id: UUID, webhooks: _Webhooks) -> WebhookWithSecret:
    known, secret = await webhooks.rotate(webhook_id, str(caller.user_id))
    return WebhookWithSecret(webhook=ShownWebhook.of(known), secret=secret)


@router.get(
    "/{webhook_id:uuid}/deliveries",
    summary="See what waits for a webhook, or is dead",
    responses={**UNAUTHORISED, **VIEWERS_ONLY, **_NOT_FOUND, 422: refused("a bad query")},
)
async def see_deliveries(
    _: Viewer,
    webhook_id: UUID,
    webhooks: _Webhooks,
    state: Annotated[Literal["waiting", "dead"], Query()] = "waiting",
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> Deliveries:
    found = await webhooks.find_waiting(webhook_id, dead=state == "dead", limit=limit)
    return Deliveries(deliveries=[ShownDelivery.of(one) for one in found])


@router.post(
    "/{webhook_id:uuid}/replay",
    summary="Have all that is dead delivered after all",
    responses={**UNAUTHORISED, **MANAGERS_ONLY, **_NOT_FOUND},
)
async def replay(caller: Manager, webhook_id: UUID, webhooks: _Webhooks) -> Replayed:
    return Replayed(replayed=await webhooks.replay(webhook_id, str(caller.user_id)))


@router.post(
    "/{webhook_id:uuid}/test",
    summary="Have a test event delivered",
    responses={**UNAUTHORISED, **MANAGERS_ONLY, **_NOT_FOUND},
)
async def try_webhook(_: Manager, webhook_id: UUID, webhooks: _Webhooks) -> Done:
    await webhooks.test(webhook_id)
    return Done()
