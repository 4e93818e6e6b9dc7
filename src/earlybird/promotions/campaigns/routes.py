"""The HTTP of campaigns: run them, and see the one that is open."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from uuid_utils.compat import uuid7

from earlybird.access.callers import BEARER, MANAGERS_ONLY, UNAUTHORISED, Callers, Responses
from earlybird.access.permissions import Caller
from earlybird.errors import Refusal
from earlybird.infra.http.app import OVERLOAD, refused
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.campaigns.shapes import (
    CampaignChanges,
    CampaignFound,
    CampaignsFound,
    CurrentCampaign,
    NewCampaign,
    ShownCampaign,
    ShownCurrentCampaign,
)
from earlybird.promotions.campaigns.store import CampaignRecord, CampaignStore

_OPTIONAL = {"starts_at", "ends_at", "currency", "min_amount", "max_discount_amount"}
_MANAGED: Responses = {**UNAUTHORISED, **MANAGERS_ONLY, 422: refused("a bad field"), 503: OVERLOAD}
_CHANGED: Responses = {
    **_MANAGED,
    400: refused("malformed JSON"),
    404: refused("there is no such campaign"),
    409: refused("another campaign is in the way, this one has ended, or something depends on the field"),
}


def new_campaign(body: NewCampaign) -> Campaign:
    """Give the draft that somebody asks for, under a new id."""
    terms = body.model_dump()
    terms["description"] = body.description or f"{body.discount} % off your next purchase"
    return Campaign(id=uuid7(), first_n=None, **terms)


def changes_of(body: CampaignChanges) -> dict[str, Any]:
    """Give the fields to change. Raises Refusal `invalid_field` for a null that takes away what must be."""
    changes = body.model_dump(exclude_unset=True)
    for name, value in changes.items():
        if value is None and name not in _OPTIONAL:
            raise Refusal("invalid_field", f"{name}: give a value, or leave it out.")
    return changes


def campaign_routes(campaigns: CampaignStore, callers: Callers) -> APIRouter:
    """Build the routes of campaigns."""
    router = APIRouter(tags=["campaigns"])
    Manager = Annotated[Caller, Depends(callers.manager)]  # noqa: N806  # a type

    @router.get(
        "/campaigns/current",
        summary="The campaign that is open",
        responses={404: refused("none is open"), 503: OVERLOAD},
    )
    async def get_current(response: Response) -> CurrentCampaign:
        response.headers["Cache-Control"] = "public, max-age=1"
        record = await campaigns.find_current()
        if record is None:
            raise Refusal("campaign_not_found", "No campaign is open.")
        shown = ShownCurrentCampaign(
            name=record.campaign.name,
            discount=record.campaign.discount,
            remaining=record.remaining,
            total=record.campaign.number_of_promotion,
        )
        return CurrentCampaign(campaign=shown)

    @router.post(
        "/campaigns",
        summary="Create a campaign",
        description="One with `starts_at` starts by itself then; one without is a draft until it is opened.",
        status_code=201,
        dependencies=[BEARER],
        responses={status: answer for status, answer in _CHANGED.items() if status != 404},
    )
    async def create(caller: Manager, body: NewCampaign, response: Response) -> CampaignFound:
        record = await campaigns.create(new_campaign(body), str(caller.user_id))
        response.headers["Location"] = f"/campaigns/{record.campaign.id}"
        return _found(record)

    @router.get("/campaigns", summary="List campaigns, newest first", dependencies=[BEARER], responses=_MANAGED)
    async def get_all(_: Manager, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> CampaignsFound:
        now = datetime.now(UTC)
        return CampaignsFound(campaigns=[ShownCampaign.of(one, now) for one in await campaigns.find_all(limit)])

    @router.get(
        "/campaigns/{campaign_id:uuid}",
        summary="Show a campaign",
        dependencies=[BEARER],
        responses={**_MANAGED, 404: refused("there is no such campaign")},
    )
    async def get_one(_: Manager, campaign_id: UUID) -> CampaignFound:
        return _found(await campaigns.find(campaign_id))

    @router.patch(
        "/campaigns/{campaign_id:uuid}",
        summary="Change a campaign, as far as nothing depends on the field",
        description="`number_of_promotion` can be raised at any time: those next in line get theirs at once.",
        dependencies=[BEARER],
        responses=_CHANGED,
    )
    async def edit(caller: Manager, campaign_id: UUID, body: CampaignChanges) -> CampaignFound:
        return _found(await campaigns.edit(campaign_id, changes_of(body), str(caller.user_id)))

    @router.post(
        "/campaigns/{campaign_id:uuid}/open",
        summary="Open a draft from now on; one that is scheduled or open stays as it is",
        dependencies=[BEARER],
        responses=_CHANGED,
    )
    async def open_(caller: Manager, campaign_id: UUID) -> CampaignFound:
        return _found(await campaigns.open(campaign_id, str(caller.user_id)))

    @router.post(
        "/campaigns/{campaign_id:uuid}/close",
        summary="End a campaign now, or call it off; those who logged in before still get theirs",
        dependencies=[BEARER],
        responses=_CHANGED,
    )
    async def close(caller: Manager, campaign_id: UUID) -> CampaignFound:
        return _found(await campaigns.close(campaign_id, str(caller.user_id)))

    return router


def _found(record: CampaignRecord) -> CampaignFound:
    return CampaignFound(campaign=ShownCampaign.of(record, datetime.now(UTC)))
