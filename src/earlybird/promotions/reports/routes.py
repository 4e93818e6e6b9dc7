"""The HTTP of reports, for support and campaign managers."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BeforeValidator, WithJsonSchema
from uuid_utils.compat import uuid7

from earlybird.access.callers import UNAUTHORISED, VIEWERS_ONLY, Responses, Viewer
from earlybird.errors import Refusal
from earlybird.infra.http.app import built
from earlybird.infra.http.refusals import OVERLOAD, refused
from earlybird.infra.http.strict_json import StrictRoute
from earlybird.infra.security_log import note
from earlybird.promotions.campaigns.previews import CampaignPreviews
from earlybird.promotions.campaigns.shapes import CampaignChanges, NewCampaign
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.places.service import Places
from earlybird.promotions.reports.shapes import (
    GrantCurve,
    GrantedPoint,
    HolderFound,
    Judged,
    Preview,
    ShownFigures,
    ShownHolderEntry,
    ShownSpending,
    ShownWinner,
    SpendingFound,
    WinnersFound,
    WithdrawalsFound,
)
from earlybird.promotions.reports.store import ReportStore
from earlybird.promotions.withdrawals.shapes import ShownWithdrawal
from earlybird.promotions.withdrawals.store import withdrawal_of
from earlybird.spread import spread
from earlybird.times import parse_moment

Moment = Annotated[
    datetime, BeforeValidator(parse_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
_After = Annotated[int, Query(ge=0, le=2**53, description="`next` of the page before")]
_Limit = Annotated[int, Query(ge=1, le=1000)]
_Campaigns = Annotated[CampaignStore, Depends(built(CampaignStore))]
_Previews = Annotated[CampaignPreviews, Depends(built(CampaignPreviews))]
_Reports = Annotated[ReportStore, Depends(built(ReportStore))]
_NOT_FOUND: Responses = {404: refused("there is no such campaign")}
_NOT_DONE: Responses = {
    400: refused("malformed JSON"),
    409: refused("what would be in the way"),
}
router = APIRouter(
    route_class=StrictRoute,
    tags=["reports"],
    responses={**UNAUTHORISED, **VIEWERS_ONLY, 422: refused("a bad field"), 503: OVERLOAD},
)


class Change(CampaignChanges):
    """Body of POST /campaigns/{id}/preview: what would be done, and for `edit` the fields to change."""

    action: Literal["open", "close", "edit"]


@router.get("/campaigns/{campaign_id:uuid}/winners", summary="The winners, by position", responses=_NOT_FOUND)
async def get_winners(
    _: Viewer,
    campaign_id: UUID,
    campaigns: _Campaigns,
    reports: _Reports,
    after: _After = 0,
    limit: _Limit = 100,
    user_id: Annotated[UUID | None, Query(description="this person alone")] = None,
) -> WinnersFound:
    await campaigns.find(campaign_id)
    found, now = await reports.winners(campaign_id, after, limit + 1, user_id), datetime.now(UTC)
    shown = [ShownWinner.of(voucher, now) for voucher in found[:limit]]
    return WinnersFound(winners=shown, next=shown[-1].position if len(found) > limit else None)


@router.get(
    "/campaigns/{campaign_id:uuid}/redemptions",
    summary="What was spent and held, newest first",
    responses=_NOT_FOUND,
)
async def get_redemptions(
    _: Viewer,
    campaign_id: UUID,
    campaigns: _Campaigns,
    reports: _Reports,
    before: Annotated[UUID | None, Query(description="`next` of the page before")] = None,
    limit: _Limit = 100,
) -> SpendingFound:
    await campaigns.find(campaign_id)
    found, now = await reports.redemptions(campaign_id, before, limit + 1), datetime.now(UTC)
    shown = [ShownSpending.of(redemption, now) for redemption in found[:limit]]
    return SpendingFound(redemptions=shown, next=shown[-1].id if len(found) > limit else None)


@router.get(
    "/campaigns/{campaign_id:uuid}/withdrawals",
    summary="The vouchers taken back, by position",
    responses=_NOT_FOUND,
)
async def get_withdrawals(
    _: Viewer, campaign_id: UUID, campaigns: _Campaigns, reports: _Reports, after: _After = 0, limit: _Limit = 100
) -> WithdrawalsFound:
    campaign = (await campaigns.find(campaign_id)).campaign
    found = await reports.withdrawn(campaign_id, after, limit + 1)
    shown = [ShownWithdrawal.of(withdrawal_of(voucher, campaign)) for voucher in found[:limit]]
    return WithdrawalsFound(withdrawals=shown, next=shown[-1].position if len(found) > limit else None)


@router.get("/campaigns/{campaign_id:uuid}/figures", summary="What it has come to", responses=_NOT_FOUND)
async def get_figures(_: Viewer, campaign_id: UUID, campaigns: _Campaigns, reports: _Reports) -> ShownFigures:
    record = await campaigns.find(campaign_id)
    return ShownFigures.of(await reports.figures(record), record)


@router.get(
    "/campaigns/{campaign_id:uuid}/curve", summary="How vouchers were granted over time", responses=_NOT_FOUND
)
async def get_curve(
    _: Viewer,
    campaign_id: UUID,
    campaigns: _Campaigns,
    reports: _Reports,
    points: Annotated[int, Query(ge=2, le=500)] = 120,
) -> GrantCurve:
    record = await campaigns.find(campaign_id)
    found = await reports.curve(record, spread(1, record.granted, points))
    return GrantCurve(
        first_number=record.campaign.first_n,
        granted=record.granted,
        points=[GrantedPoint(position=position, at=at) for position, at in found],
    )


@router.post("/campaigns/preview", summary="See what a new campaign would be", responses=_NOT_DONE)
async def preview_new(caller: Viewer, body: NewCampaign, previews: _Previews) -> Preview:
    record = await previews.create(body.draft(uuid7()), str(caller.user_id))
    return Preview.of(record, 0, datetime.now(UTC))


@router.post(
    "/campaigns/{campaign_id:uuid}/preview",
    summary="See what a change would do, without doing it",
    description="It is refused where the change would be refused.",
    responses={**_NOT_FOUND, **_NOT_DONE},
)
async def preview_change(
    caller: Viewer, campaign_id: UUID, body: Change, previews: _Previews, reports: _Reports
) -> Preview:
    actor, changes = str(caller.user_id), body.changes()
    changes.pop("action")
    if body.action != "edit" and changes:
        raise Refusal("invalid_field", f"{next(iter(changes))}: this goes with the action edit alone.")
    match body.action:
        case "open":
            record = await previews.open(campaign_id, actor)
        case "close":
            record = await previews.close(campaign_id, actor)
        case "edit":
            record = await previews.edit(campaign_id, changes, actor)
    people = min(record.remaining, await reports.in_line(record))
    return Preview.of(record, people, datetime.now(UTC))


@router.get(
    "/holders/{user_id:uuid}",
    summary="What happened to a person's vouchers",
    responses={404: refused("this is no id")},
)
async def get_holder(
    caller: Viewer,
    user_id: UUID,
    response: Response,
    reports: _Reports,
    places: Annotated[Places, Depends(built(Places))],
    number: Annotated[
        int | None, Query(ge=1, le=2**53, description="of the first login, as identity says")
    ] = None,
    first_login_at: Annotated[Moment | None, Query(description="ISO 8601, as identity says")] = None,
) -> HolderFound:
    response.headers["Cache-Control"] = "no-store"
    note("person_viewed", user=user_id, by=str(caller.user_id))
    came = None if number is None or first_login_at is None else (number, first_login_at)
    judged = None if came is None else Judged.of(await places.find(came, is_staff=False))
    entries = await reports.holder(user_id)
    return HolderFound(user_id=user_id, judged=judged, timeline=[ShownHolderEntry.of(one) for one in entries])
