"""The HTTP of campaigns: run them, and see the one that is open."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from uuid_utils.compat import uuid7

from earlybird.access.callers import MANAGERS_ONLY, UNAUTHORISED, VIEWERS_ONLY, Manager, Responses, Viewer
from earlybird.errors import Refusal
from earlybird.infra.http.app import built
from earlybird.infra.http.refusals import OVERLOAD, refused
from earlybird.infra.http.strict_json import StrictRoute
from earlybird.promotions.campaigns.records import CampaignRecord
from earlybird.promotions.campaigns.shapes import (
    CampaignChanges,
    CampaignFound,
    CampaignsFound,
    CurrentCampaign,
    NewCampaign,
    ShownCampaign,
    ShownCurrentCampaign,
)
from earlybird.promotions.campaigns.store import CampaignStore

Campaigns = Annotated[CampaignStore, Depends(built(CampaignStore))]
_MANAGED: Responses = {**UNAUTHORISED, **MANAGERS_ONLY, 422: refused("a bad field")}
_VIEWED: Responses = {**UNAUTHORISED, **VIEWERS_ONLY, 422: refused("a bad field")}
_ONE: Responses = {**_MANAGED, 404: refused("there is no such campaign")}
_IN_THE_WAY = refused("another campaign is in the way, this one has ended, or something depends on the field")
_CHANGED: Responses = {**_ONE, 400: refused("malformed JSON"), 409: _IN_THE_WAY}
router = APIRouter(route_class=StrictRoute, prefix="/campaigns", tags=["campaigns"], responses={503: OVERLOAD})


@router.get("/current", summary="The campaign that is open", responses={404: refused("none is open")})
async def get_current(response: Response, campaigns: Campaigns) -> CurrentCampaign:
    response.headers["Cache-Control"] = "public, max-age=1"
    record = await campaigns.find_current()
    if record is None:
        raise Refusal("campaign_not_found", "No campaign is open.")
    return CurrentCampaign(campaign=ShownCurrentCampaign.of(record))


@router.post(
    "",
    summary="Create a campaign",
    description="One with `starts_at` starts by itself then; one without is a draft until it is opened.",
    status_code=201,
    responses={status: answer for status, answer in _CHANGED.items() if status != 404},
)
async def create(caller: Manager, body: NewCampaign, response: Response, campaigns: Campaigns) -> CampaignFound:
    record = await campaigns.create(body.draft(uuid7()), str(caller.user_id))
    response.headers["Location"] = f"/campaigns/{record.campaign.id}"
    return _found(record)


@router.get("", summary="List campaigns, newest first", responses=_VIEWED)
async def get_all(
    _: Viewer, campaigns: Campaigns, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> CampaignsFound:
    now = datetime.now(UTC)
    return CampaignsFound(campaigns=[ShownCampaign.of(one, now) for one in await campaigns.find_all(limit)])


@router.get("/{campaign_id:uuid}", summary="Show a campaign", responses={**_ONE, **VIEWERS_ONLY})
async def get_one(_: Viewer, campaign_id: UUID, campaigns: Campaigns) -> CampaignFound:
    return _found(await campaigns.find(campaign_id))


@router.patch(
    "/{campaign_id:uuid}",
    summary="Change a campaign, as far as nothing depends on the field",
    description="`number_of_promotion` can be raised at any time: those next in line get theirs at once.",
    responses=_CHANGED,
)
async def edit(caller: Manager, campaign_id: UUID, body: CampaignChanges, campaigns: Campaigns) -> CampaignFound:
    return _found(await campaigns.edit(campaign_id, body.changes(), str(caller.user_id)))


@router.post(
    "/{campaign_id:uuid}/open",
    summary="Open a draft from now on; one that is scheduled or open stays as it is",
    responses=_CHANGED,
)
async def open_(caller: Manager, campaign_id: UUID, campaigns: Campaigns) -> CampaignFound:
    return _found(await campaigns.open(campaign_id, str(caller.user_id)))


@router.post(
    "/{campaign_id:uuid}/close",
    summary="End a campaign now, or call it off; those who logged in before still get theirs",
    responses=_CHANGED,
)
async def close(caller: Manager, campaign_id: UUID, campaigns: Campaigns) -> CampaignFound:
    return _found(await campaigns.close(campaign_id, str(caller.user_id)))


def _found(record: CampaignRecord) -> CampaignFound:
    return CampaignFound(campaign=ShownCampaign.of(record, datetime.now(UTC)))
