"""Sign up, verify, log in and out, sessions, password."""

from fastapi import APIRouter, Response

from earlybird.client import Refused, Unavailable, api
from earlybird.client.api.accounts import DEVICE_COOKIE
from earlybird.pages import session
from earlybird.pages.customer.visitor import Visitor
from earlybird.pages.visits import Visit

router = APIRouter()
FIELDS = ("full_name", "username", "email", "phone", "birthday", "password")
_FIELD_OF = {"duplicate_username": "username", "duplicate_email": "email", "duplicate_phone": "phone"}
_DEVICE_SECONDS = 365 * 24 * 3600


def _field_errors(visit: Visit, refused: Refused) -> dict[str, str]:
    """Return what is wrong, by field; "" is the form as a whole."""
    named, _, reason = refused.message.partition(": ")
    if refused.code in {"invalid_field", "missing_field"} and named in FIELDS:
        return {named: visit.say(f"hint.{named}") if visit.language != "en" else reason[:1].upper() + reason[1:]}
    field = "password" if refused.code == "weak_password" else _FIELD_OF.get(refused.code, "")
    return {field: visit.explain(refused.code, refused.message)}


def _kept(form: dict[str, str]) -> dict[str, str]:
    return {name: form.get(name, "") for name in FIELDS if name != "password"}


@router.get("/sign-up")
async def show_sign_up(visit: Visitor) -> Response:
    """Show the form."""
    return visit.page("sign_up.html", values=_kept({}), errors={}, wait=None)


@router.post("/sign-up")
async def sign_up(visit: Visitor) -> Response:
    """Make the account, and log in; where contacts are verified, ask for the codes first."""
    form = await visit.form()
    try:
        await visit.send(api.register(**{name: form.get(name, "") for name in FIELDS}))
    except Refused as refused:
        return visit.page("sign_up.html", 422, values=_kept(form), errors=_field_errors(visit, refused), wait=None)
    except Unavailable as busy:
        wait = busy.retry_after_seconds
        return visit.page("sign_up.html", 503, values=_kept(form), errors={}, wait=wait)
    return await _log_in(visit, form)


@router.get("/log-in")
async def show_log_in(visit: Visitor, ended: bool = False) -> Response:  # a query
    """Show the form, and why the person is here."""
    target = session.safe_return(visit.request.query_params.get("next", "/"))
    notice = visit.say("log_in.ended") if ended else None
    return visit.page("log_in.html", username="", error=None, wait=None, notice=notice, target=target)


@router.post("/log-in")
async def log_in(visit: Visitor) -> Response:
    """Log in, and go where the person was."""
    return await _log_in(visit, await visit.form())


async def _log_in(visit: Visit, form: dict[str, str]) -> Response:
    username, target = form.get("username", ""), session.safe_return(form.get("next", "/"))
    shown = {"username": username, "target": target, "notice": None}
    visit.token = None
    try:
        call = api.log_in(username, form.get("password", ""), visit.request.cookies.get(DEVICE_COOKIE))
        done = await visit.send(call)
    except Unavailable as busy:
        return visit.page("log_in.html", 503, error=None, wait=busy.retry_after_seconds, **shown)
    except Refused as refused:
        if refused.code == "contact_not_verified":
            return visit.page("verify.html", username=username, error=None, notice=None)
        error = visit.explain(refused.code, refused.message)
        status = 429 if refused.code == "too_many_attempts" else 401
        return visit.page("log_in.html", status, error=error, wait=refused.retry_after_seconds, **shown)
    response = visit.go(target)
    visit.keep(response, done.token)
    if done.device:
        response.set_cookie(
            DEVICE_COOKIE, done.device, _DEVICE_SECONDS, secure=visit.is_secure, httponly=True, samesite="strict"
        )
    return response


@router.post("/verify")
async def verify(visit: Visitor) -> Response:
    """Confirm a contact with its code, or have another code sent."""
    form = await visit.form()
    username, contact, code = (form.get(name, "").strip() for name in ("username", "contact", "code"))
    error = notice = None
    try:
        if code:
            await visit.send(api.confirm_contact(username, contact, code))
            notice = visit.say("verify.confirmed")
        else:
            await visit.send(api.request_code(contact))
            notice = visit.say("verify.sent")
    except Refused as refused:
        error = visit.explain(refused.code, refused.message)
    return visit.page("verify.html", 422 if error else 200, username=username, error=error, notice=notice)


@router.post("/log-out")
async def log_out(visit: Visitor) -> Response:
    """End this session, or all."""
    form = await visit.form()
    if visit.token is not None:
        await visit.send(api.log_out_everywhere() if form.get("everywhere") else api.log_out())
    response = visit.go("/")
    visit.keep(response, session.new_visitor())
    return response


@router.get("/my/sessions")
async def show_sessions(visit: Visitor) -> Response:
    """Show where the person is logged in, and the form for another password."""
    visit.require_login()
    return visit.page("sessions.html", sessions=await visit.send(api.sessions()), error=None, notice=None)


@router.post("/my/password")
async def change_password(visit: Visitor) -> Response:
    """Change the password; the other sessions end."""
    visit.require_login()
    form = await visit.form()
    error = notice = None
    try:
        await visit.send(api.change_password(form.get("current", ""), form.get("new", "")))
        notice = visit.say("password.changed")
    except Refused as refused:
        error = visit.explain(refused.code, refused.message)
    sessions = await visit.send(api.sessions())
    return visit.page("sessions.html", 422 if error else 200, sessions=sessions, error=error, notice=notice)
