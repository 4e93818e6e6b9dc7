"""Winners, what they spent, and what was taken back."""

from collections.abc import AsyncIterator
from uuid import UUID

from fastapi import APIRouter, Response
from starlette.responses import StreamingResponse

from earlybird.client import Refused, api
from earlybird.client.report_shapes import Winner
from earlybird.pages.console.csv_file import csv_line, csv_lines
from earlybird.pages.console.staff import Desk, Staff

router = APIRouter(prefix="/console/campaigns/{campaign_id:uuid}", include_in_schema=False)
_PAGE = 50
_CSV_PAGE = 100  # as many names as the API gives at once
_COLUMNS = (
    "position",
    "username",
    "user_id",
    "first_login_number",
    "granted_at",
    "discount",
    "state",
    "expire_at",
)


async def _names(desk: Desk, winners: list[Winner]) -> dict[UUID, str | None]:
    if not winners:
        return {}
    found = await desk.visit.send(api.names([one.user_id for one in winners]))
    return {one.id: one.username for one in found}


@router.get("/winners")
async def show_winners(desk: Staff, campaign_id: UUID, after: int = 0, search: str = "") -> Response:
    """List the winners, or find one by position, user name or id."""
    campaign = await desk.visit.send(api.campaign(campaign_id))
    search, error = search.strip(), None
    call = api.winners(campaign_id, after=max(0, after), limit=_PAGE)
    if search.isascii() and search.isdigit() and len(search) < 10:
        call = api.winners(campaign_id, after=max(0, int(search) - 1), limit=1)
    elif search:
        try:
            person = await desk.visit.send(api.search_person(search))
            call = api.winners(campaign_id, user_id=person.id)
        except Refused as refused:
            error = refused.message
    page = await desk.visit.send(call)
    winners = [] if error else page.winners
    return desk.page(
        "winners.html",
        campaign=campaign,
        winners=winners,
        names=await _names(desk, winners),
        next=None if search else page.next,
        search=search,
        error=error,
    )


@router.get("/winners.csv")
async def download_winners(desk: Staff, campaign_id: UUID) -> Response:
    """Give all winners as a file, page by page."""
    await desk.visit.send(api.campaign(campaign_id))

    async def lines() -> AsyncIterator[str]:
        yield csv_line(_COLUMNS)
        after: int | None = 0
        while after is not None:
            page = await desk.visit.send(api.winners(campaign_id, after=after, limit=_CSV_PAGE))
            names = await _names(desk, page.winners)
            yield csv_lines(_row(one, names.get(one.user_id)) for one in page.winners)
            after = page.next

    name = {"Content-Disposition": f'attachment; filename="winners-{campaign_id}.csv"'}
    return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=name)


def _row(winner: Winner, username: str | None) -> list[object]:
    fields = winner.model_dump() | {"username": username}
    fields |= {name: fields[name].isoformat() for name in ("granted_at", "expire_at")}
    return [fields[name] for name in _COLUMNS]


@router.get("/redemptions")
async def show_redemptions(desk: Staff, campaign_id: UUID, before: UUID | None = None) -> Response:
    """List what was spent and held, newest first."""
    campaign = await desk.visit.send(api.campaign(campaign_id))
    page = await desk.visit.send(api.redemptions(campaign_id, before=before, limit=_PAGE))
    return desk.page("redemptions.html", campaign=campaign, redemptions=page.redemptions, next=page.next)


@router.get("/withdrawals")
async def show_withdrawals(desk: Staff, campaign_id: UUID, after: int = 0) -> Response:
    """List what was taken back, and show the form to take back another."""
    return await _withdrawals_page(desk, campaign_id, after)


async def _withdrawals_page(
    desk: Desk, campaign_id: UUID, after: int = 0, error: str | None = None, form: dict[str, str] | None = None
) -> Response:
    campaign = await desk.visit.send(api.campaign(campaign_id))
    page = await desk.visit.send(api.withdrawals(campaign_id, after=max(0, after), limit=_PAGE))
    return desk.page(
        "withdrawals.html",
        422 if error else 200,
        campaign=campaign,
        withdrawals=page.withdrawals,
        next=page.next,
        error=error,
        form=form or {},
    )


@router.post("/withdrawals")
async def withdraw(desk: Staff, campaign_id: UUID) -> Response:
    """Show whose voucher it is; after confirmation, take it back for good."""
    form = await desk.visit.form()
    reason, replace = form.get("reason", ""), form.get("replace") == "1"
    try:
        person = await desk.visit.send(api.search_person(form.get("person", "").strip() or "?"))
        found = (await desk.visit.send(api.winners(campaign_id, user_id=person.id))).winners
        if not found:
            return await _withdrawals_page(
                desk, campaign_id, 0, "This person has no voucher in this campaign.", form
            )
        if form.get("step") != "withdraw":
            campaign = await desk.visit.send(api.campaign(campaign_id))
            return desk.page("withdraw.html", campaign=campaign, person=person, winner=found[0], form=form)
        call = api.withdraw(campaign_id, user_id=person.id, reason=reason, replace=replace)
        await desk.visit.send(call)
    except Refused as refused:
        return await _withdrawals_page(desk, campaign_id, 0, refused.message, form)
    return desk.visit.go(f"/console/campaigns/{campaign_id}/withdrawals")
