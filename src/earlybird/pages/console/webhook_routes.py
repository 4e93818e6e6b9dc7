"""Webhooks: who is told of what, and what could not be delivered."""

from uuid import UUID

from fastapi import APIRouter, Response

from earlybird.client import Refused, api
from earlybird.pages.console.staff import Desk, Staff

router = APIRouter(prefix="/console/webhooks", include_in_schema=False)
_TOPICS = {
    "webhook": ("voucher.granted", "voucher.redeemed", "voucher.refunded", "voucher.withdrawn"),
    "notice": (
        *("campaign.opened", "campaign.nearly_sold_out", "campaign.sold_out", "campaign.closed"),
        *("alarm.raised", "alarm.ended"),
    ),
}


@router.get("")
async def show_webhooks(desk: Staff) -> Response:
    """List webhooks, with the form to add one."""
    return await _page(desk)


async def _page(
    desk: Desk, error: str | None = None, secret: str | None = None, form: dict[str, str] | None = None
) -> Response:
    found = await desk.visit.send(api.webhooks())
    return desk.page(
        "webhooks.html",
        422 if error else 200,
        webhooks=found,
        topics=_TOPICS,
        error=error,
        secret=secret,
        form=form or {},
    )


@router.post("")
async def add_webhook(desk: Staff) -> Response:
    """Add one, and show its secret, this once."""
    form = await desk.visit.form()
    kind = form.get("kind", "webhook")
    topics = _TOPICS["webhook" if kind == "webhook" else "notice"]
    try:
        added = await desk.visit.send(
            api.add_webhook(form.get("address", ""), topics, form.get("description", ""), kind)  # type: ignore[arg-type]
        )
    except Refused as refused:
        return await _page(desk, refused.message, form=form)
    return await _page(desk, secret=added.secret)


@router.get("/{webhook_id:uuid}")
async def show_webhook(desk: Staff, webhook_id: UUID) -> Response:
    """Show one: what waits for it, and what is dead."""
    return desk.page(
        "webhook.html",
        webhook=await desk.visit.send(api.webhook(webhook_id)),
        dead=await desk.visit.send(api.deliveries(webhook_id, "dead")),
        waiting=await desk.visit.send(api.deliveries(webhook_id, "waiting")),
        secret=None,
    )


@router.post("/{webhook_id:uuid}")
async def act(desk: Staff, webhook_id: UUID) -> Response:
    """Do what the button says."""
    form = await desk.visit.form()
    here = f"/console/webhooks/{webhook_id}"
    match form.get("action"):
        case "pause" | "resume" as action:
            await desk.visit.send(api.change_webhook(webhook_id, is_paused=action == "pause"))
        case "replay":
            await desk.visit.send(api.replay(webhook_id))
        case "test":
            await desk.visit.send(api.try_webhook(webhook_id))
        case "remove":
            await desk.visit.send(api.remove_webhook(webhook_id))
            here = "/console/webhooks"
        case "rotate":
            rotated = await desk.visit.send(api.rotate_secret(webhook_id))
            return desk.page("webhook.html", webhook=rotated.webhook, dead=[], waiting=[], secret=rotated.secret)
    return desk.visit.go(here)
