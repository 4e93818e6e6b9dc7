"""A pretend top-up: the voucher is held, which says what is payable, then spent or given back."""

from uuid import UUID, uuid4

from fastapi import APIRouter, Response

from earlybird.client import Refused, api
from earlybird.pages.customer.visitor import Visitor
from earlybird.pages.visits import Visit

router = APIRouter()
CURRENCY = "VND"  # of an order where the campaign names none; its minor unit is the đồng itself


async def _form(visit: Visit, status: int = 200, *, amount: str = "", error: str | None = None) -> Response:
    held = await visit.send(api.vouchers())
    key = str(uuid4())  # travels in the form: a double click, or a reload, holds the voucher once
    return visit.page("top_up.html", status, vouchers=held, amount=amount, error=error, key=key, currency=CURRENCY)


@router.get("/my/top-up")
async def show_top_up(visit: Visitor) -> Response:
    """Show the form and all vouchers."""
    visit.require_login()
    return await _form(visit)


@router.post("/my/top-up")
async def hold(visit: Visitor) -> Response:
    """Hold the voucher for this amount, and show what is payable."""
    visit.require_login()
    form = await visit.form()
    amount, key = form.get("amount", "").strip(), form.get("key", "")
    if not (amount.isascii() and amount.isdigit() and 0 < len(amount) <= 12):
        return await _form(visit, 422, amount=amount, error=visit.say("top_up.amount_needed"))
    purchase = api.Purchase(f"topup-{key}", int(amount), CURRENCY)
    try:
        held = await visit.send(api.reserve(purchase, key))
    except Refused as refused:
        return await _form(visit, 422, amount=amount, error=visit.explain(refused.code, refused.message))
    return visit.page("held.html", held=held)


@router.post("/my/holds/{reservation_id}")
async def settle(visit: Visitor, reservation_id: UUID) -> Response:
    """Spend the held voucher, or give it back. Twice is as good as once."""
    visit.require_login()
    form = await visit.form()
    try:
        if form.get("do") == "release":
            await visit.send(api.release(reservation_id))
            return visit.go("/my/top-up")
        spent = await visit.send(api.confirm(reservation_id))
    except Refused as refused:
        return await _form(visit, 422, error=visit.explain(refused.code, refused.message))
    return visit.page("spent.html", spent=spent)
