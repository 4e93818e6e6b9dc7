"""The home page: the offer, and one's own place and voucher as soon as they are known."""

import json
from typing import Any

from fastapi import APIRouter, Response

from earlybird.client import Refused, api
from earlybird.client.shapes import CurrentCampaign, Place
from earlybird.pages import languages
from earlybird.pages.customer.visitor import Visitor
from earlybird.pages.visits import LANGUAGE_SECONDS, Visit

router = APIRouter()
QUICK_TRIES = 40  # at 250 ms each; after 10 s of waiting, every 3 s


async def _campaign(visit: Visit) -> CurrentCampaign | None:
    try:
        return await visit.send(api.current_campaign())
    except Refused as refused:
        if refused.code != "campaign_not_found":
            raise
        return None


@router.get("/")
async def show_home(visit: Visitor) -> Response:
    """Show the offer; to somebody who is logged in, their place."""
    if visit.token is None:
        return visit.page("home.html", campaign=await _campaign(visit))
    return visit.page("my.html", **await _standing(visit, 0))


@router.get("/my")
async def show_own(visit: Visitor) -> Response:
    """Send somebody who typed the address on to where their place is."""
    return visit.go("/")


@router.get("/offer")
async def show_offer(visit: Visitor) -> Response:
    """Show how many vouchers remain: the part of the home page that is asked for again and again."""
    return visit.page("_offer.html", campaign=await _campaign(visit))


@router.get("/my/place")
async def show_place(visit: Visitor, tried: int = 0) -> Response:
    """Show the place: the part of the page that is asked for until it is known."""
    visit.require_login()
    return visit.page("_place.html", **await _standing(visit, max(0, min(tried, 10_000))))


async def _standing(visit: Visit, tried: int) -> dict[str, Any]:
    place = await visit.send(api.place())
    held = await visit.send(api.vouchers()) if place.has_won else []
    own = [voucher for voucher in held if voucher.campaign == place.campaign]
    return {
        "place": place,
        "voucher": own[0] if own else None,
        "is_waiting": _is_waiting(place) or (place.has_won and not own and not place.is_withdrawn),
        "tried": tried + 1,
        "pause": "250ms" if tried < QUICK_TRIES else "3s",
    }


def _is_waiting(place: Place) -> bool:
    return place.standing == "waiting"


@router.get("/my/receipt.json")
async def download_receipt(visit: Visitor) -> Response:
    """Give the signed receipt as a file."""
    visit.require_login()
    receipt = await visit.send(api.receipt())
    kept = json.dumps(receipt.model_dump(mode="json") if receipt else None, indent=2)
    name = {"Content-Disposition": 'attachment; filename="earlybird-receipt.json"'}
    return Response(kept, media_type="application/json", headers=name)


@router.post("/language")
async def choose_language(visit: Visitor) -> Response:
    """Keep the language for a year, and go back to the home page."""
    form = await visit.form()
    response = visit.go("/")
    if form.get("language") in languages.NAMES:
        response.set_cookie(
            languages.COOKIE,
            form["language"],
            LANGUAGE_SECONDS,
            secure=visit.is_secure,
            httponly=True,
            samesite="lax",
        )
    return response
