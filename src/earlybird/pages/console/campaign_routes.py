"""Campaigns in the console: list, create, change, and watch."""

from typing import Any, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Response
from starlette.responses import JSONResponse, StreamingResponse

from earlybird.client import Refused, Unavailable, api
from earlybird.client.shapes import Campaign
from earlybird.infra.http.app import built
from earlybird.pages.console.live import LiveCampaigns
from earlybird.pages.console.staff import Desk, Staff

router = APIRouter(prefix="/console", include_in_schema=False)
_NUMBERS = ("discount", "number_of_promotion", "voucher_days", "min_amount", "max_discount_amount")
_TERMS = ("name", "description", "currency", "starts_at", "ends_at", *_NUMBERS)
Action = Literal["open", "close", "edit"]


class BadField(Exception):
    """A field of a form holds what it cannot hold; the message names it."""


def terms_of(form: dict[str, str], names: tuple[str, ...] = _TERMS) -> dict[str, Any]:
    """Return the fields that were filled in, as the API has them. Raises BadField."""
    found: dict[str, Any] = {}
    for name in names:
        value = form.get(name, "").strip()
        if not value:
            continue
        if name in _NUMBERS:
            if not (value.isascii() and value.isdigit() and len(value) <= 15):
                raise BadField(f"{name}: give a whole number")
            found[name] = int(value)
        elif name in {"starts_at", "ends_at"}:
            found[name] = f"{value}{':00' if len(value) == 16 else ''}Z"
        else:
            found[name] = value
    return found


@router.get("")
async def show_all(desk: Staff) -> Response:
    """List the campaigns."""
    return desk.page("campaigns.html", campaigns=await desk.visit.send(api.campaigns()))


@router.get("/campaigns/new")
async def show_form(desk: Staff) -> Response:
    """Show the form of a new campaign."""
    return desk.page("new.html", values={}, error=None, preview=None)


@router.post("/campaigns/new")
async def create(desk: Staff) -> Response:
    """Show what it would be; after that, make it."""
    form = await desk.visit.form()
    try:
        terms = terms_of(form)
        if form.get("step") == "create":
            made = await desk.visit.send(api.create_campaign(**terms))
            return desk.visit.go(f"/console/campaigns/{made.id}")
        preview = await desk.visit.send(api.preview_campaign(**terms))
    except (Refused, BadField) as refused:
        return desk.page("new.html", 422, values=form, error=str(refused), preview=None)
    return desk.page("new.html", values=form, error=None, preview=preview)


@router.get("/campaigns/{campaign_id:uuid}")
async def show(desk: Staff, campaign_id: UUID) -> Response:
    """Show one campaign: figures, plot, and what can be done."""
    return await _campaign_page(desk, campaign_id)


async def _campaign_page(desk: Desk, campaign_id: UUID, error: str | None = None) -> Response:
    campaign = await desk.visit.send(api.campaign(campaign_id))
    figures = await desk.visit.send(api.figures(campaign_id))
    status = 422 if error else 200
    return desk.page("campaign.html", status, campaign=campaign, figures=figures, error=error)


@router.post("/campaigns/{campaign_id:uuid}/preview")
async def preview(desk: Staff, campaign_id: UUID) -> Response:
    """Show what a change would do, and ask for confirmation."""
    form = await desk.visit.form()
    try:
        action, changes = _change(form)
        campaign = await desk.visit.send(api.campaign(campaign_id))
        would_be = await desk.visit.send(api.preview_change(campaign_id, action, **changes))
    except (Refused, BadField) as refused:
        return await _campaign_page(desk, campaign_id, str(refused))
    return desk.page(
        "confirm.html",
        action=action,
        form=form,
        campaign=campaign,
        preview=would_be,
        changed=_changed(campaign, would_be.campaign),
    )


@router.post("/campaigns/{campaign_id:uuid}/change")
async def change(desk: Staff, campaign_id: UUID) -> Response:
    """Do what was confirmed."""
    form = await desk.visit.form()
    try:
        action, changes = _change(form)
        match action:
            case "open":
                await desk.visit.send(api.open_campaign(campaign_id))
            case "close":
                await desk.visit.send(api.close_campaign(campaign_id))
            case "edit":
                await desk.visit.send(api.edit_campaign(campaign_id, **changes))
    except (Refused, BadField) as refused:
        return await _campaign_page(desk, campaign_id, str(refused))
    return desk.visit.go(f"/console/campaigns/{campaign_id}")


def _change(form: dict[str, str]) -> tuple[Action, dict[str, Any]]:
    action = form.get("action", "")
    if action not in {"open", "close", "edit"}:
        raise BadField("action: choose what to do")
    return cast("Action", action), terms_of(form) if action == "edit" else {}


def _changed(before: Campaign, after: Campaign) -> list[tuple[str, object, object]]:
    """Return the fields that would differ."""
    own = {"updated_at"}
    pairs = [
        (name, getattr(before, name), getattr(after, name)) for name in Campaign.model_fields if name not in own
    ]
    return [(name.replace("_", " "), old, new) for name, old, new in pairs if old != new]


@router.get("/campaigns/{campaign_id:uuid}/curve.json")
async def give_curve(desk: Staff, campaign_id: UUID) -> Response:
    """Give the lines of the plot: pairs of Unix seconds and a number."""
    campaign = await desk.visit.send(api.campaign(campaign_id))
    grants = await desk.visit.send(api.grant_curve(campaign_id))
    first = grants.first_number
    came: list[tuple[float, int]] = []
    if first is not None:
        logins = await desk.visit.send(api.first_logins_curve(first))
        came = [
            (point.at.timestamp(), point.number - first + 1)
            for point in logins.points
            if campaign.ends_at is None or point.at < campaign.ends_at
        ]
    granted = [(point.at.timestamp(), point.position) for point in grants.points]
    return JSONResponse({"came": came, "granted": granted, "is_live": campaign.state == "open"})


@router.get("/campaigns/{campaign_id:uuid}/live")
async def watch(desk: Staff, campaign_id: UUID) -> Response:
    """Tell what changes, once a second, as server-sent events (WHATWG HTML, 9.2)."""
    await desk.visit.send(api.campaign(campaign_id))  # refused here, it is a page that says so
    live: LiveCampaigns = await built(LiveCampaigns)(desk.visit.request)
    if live.is_full:
        raise Unavailable("Too many people watch.")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(live.watch(campaign_id, desk.visit), media_type="text/event-stream", headers=headers)
