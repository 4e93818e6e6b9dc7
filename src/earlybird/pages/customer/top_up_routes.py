"""A pretend top-up: a quote, then the voucher is held, then spent or given back, and perhaps refunded.

The order's idempotency key is made with the form and travels in it. A hold is remembered in a cookie, by its key:
to ask again under that key answers what is held. So a double click, a reload and the back button do it once.
The cookie names the session too: whoever logs in next in this browser does not go on with somebody else's order.
"""

from datetime import UTC, datetime
from uuid import UUID, uuid4

from fastapi import APIRouter, Response

from earlybird.client import Refused, api
from earlybird.client.shapes import HeldVoucher, Reservation
from earlybird.pages import session
from earlybird.pages.customer.amounts import CURRENCIES, minor_units
from earlybird.pages.customer.visitor import Visitor
from earlybird.pages.visits import Visit

router = APIRouter()
HOLD_COOKIE = "earlybird_hold"
_HOLD_SECONDS = 15 * 60


def _currencies(held: list[HeldVoucher]) -> tuple[str, ...]:
    """Return what may be paid in: what the usable voucher says, if it says."""
    named = next((one.currency for one in held if one.state == "available" and one.currency), None)
    return (named,) if named else CURRENCIES


async def _form(visit: Visit, status: int = 200, *, amount: str = "", error: str | None = None) -> Response:
    held = await visit.send(api.vouchers())
    return visit.page(
        "top_up.html",
        status,
        vouchers=held,
        amount=amount,
        error=error,
        currencies=_currencies(held),
    )


def _purchase(form: dict[str, str]) -> api.Purchase | None:
    currency = form.get("currency", CURRENCIES[0])
    amount = minor_units(form.get("amount", ""), currency) if currency.isalpha() and currency.isascii() else None
    return None if amount is None else api.Purchase(f"topup-{form.get('key', '')}", amount, currency)


def _session_mark(visit: Visit) -> str:
    return session.csrf_token(f"hold {visit.cookie}")[:32]


async def _held(visit: Visit) -> Reservation | None:
    """Return what this session has put on hold, by asking for it again under its key."""
    parts = visit.request.cookies.get(HOLD_COOKIE, "").split("|")
    if len(parts) != 4 or parts[0] != _session_mark(visit) or not parts[2].isdigit():
        return None
    _, key, amount, currency = parts
    try:
        held = await visit.send(api.reserve(api.Purchase(f"topup-{key}", int(amount), currency), key))
    except Refused:
        return None
    return held if held.reserved_until > datetime.now(UTC) else None


@router.get("/my/top-up")
async def show_top_up(visit: Visitor) -> Response:
    """Show the form and all vouchers; with an amount, what is payable; while a voucher is held, that."""
    visit.require_login()
    held = await _held(visit)
    if held is not None:
        return visit.page("held.html", held=held)
    asked = dict(visit.request.query_params)
    response = await (_quote(visit, asked) if "amount" in asked else _form(visit))
    response.delete_cookie(HOLD_COOKIE, path="/my")
    return response


async def _quote(visit: Visit, asked: dict[str, str]) -> Response:
    purchase, typed = _purchase({**asked, "key": str(uuid4())}), asked["amount"]
    if purchase is None:
        return await _form(visit, 422, amount=typed, error=visit.say("top_up.amount_needed"))
    try:
        quote = await visit.send(api.quote(purchase))
    except Refused as refused:
        return await _form(visit, 422, amount=typed, error=visit.explain(refused.code, refused.message))
    return visit.page("quote.html", quote=quote, amount=typed, key=purchase.order_id.removeprefix("topup-"))


@router.post("/my/top-up")
async def hold(visit: Visitor) -> Response:
    """Hold the voucher for this order, and show it by GET, so that it can be loaded again."""
    visit.require_login()
    form = await visit.form()
    purchase, typed, key = _purchase(form), form.get("amount", ""), form.get("key", "")
    if purchase is None:
        return await _form(visit, 422, amount=typed, error=visit.say("top_up.amount_needed"))
    try:
        await visit.send(api.reserve(purchase, key))
    except Refused as refused:
        return await _form(visit, 422, amount=typed, error=visit.explain(refused.code, refused.message))
    response = visit.go("/my/top-up")
    noted = f"{_session_mark(visit)}|{key}|{purchase.amount}|{purchase.currency}"
    response.set_cookie(
        HOLD_COOKIE, noted, _HOLD_SECONDS, path="/my", secure=visit.is_secure, httponly=True, samesite="lax"
    )
    return response


@router.post("/my/holds/{reservation_id}")
async def settle(visit: Visitor, reservation_id: UUID) -> Response:
    """Spend the held voucher, or give it back. Twice is as good as once."""
    visit.require_login()
    form = await visit.form()
    try:
        if form.get("do") == "release":
            await visit.send(api.release(reservation_id))
            response = visit.go("/my/top-up")
        else:
            spent = await visit.send(api.confirm(reservation_id))
            response = visit.page("spent.html", spent=spent, refunded=False, error=None)
    except Refused as refused:
        response = await _form(visit, 422, error=visit.explain(refused.code, refused.message))
    response.delete_cookie(HOLD_COOKIE, path="/my")
    return response


@router.post("/my/redemptions/{redemption_id}/refund")
async def refund(visit: Visitor, redemption_id: UUID) -> Response:
    """Take the top-up back, where customers may. Twice is as good as once."""
    visit.require_login()
    await visit.form()
    try:
        spent = await visit.send(api.refund(redemption_id))
    except Refused as refused:
        return await _form(visit, 422, error=visit.explain(refused.code, refused.message))
    return visit.page("spent.html", spent=spent, refunded=True, error=None)
