"""Accounts, logins and sessions."""

from dataclasses import dataclass
from datetime import date
from http.cookies import SimpleCookie
from typing import Any

from earlybird.client.calls import Answer, Call, reader
from earlybird.client.shapes import Account, Receipt, Seal, Session

DEVICE_COOKIE = "earlybird_device"


def _nothing(_: Answer) -> None:
    """Read an answer that says no more than that it was done."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A token for 30 minutes. `device` marks this device as the owner's: give it to the next `log_in` here."""

    token: str
    device: str | None


def register(
    *, username: str, email: str, phone: str, password: str, full_name: str, birthday: date | str
) -> Call[None]:
    """Make an account. It is sent again only when the service was too busy to begin."""
    body = {
        "username": username,
        "email": email,
        "phone": phone,
        "password": password,
        "full_name": full_name,
        "birthday": str(birthday),
    }
    return Call("POST", "/register", _nothing, body, is_repeatable=False)


def request_code(contact: str) -> Call[None]:
    """Have another code sent to an e-mail address or phone number."""
    return Call("POST", "/verifications", _nothing, {"contact": contact}, is_repeatable=False)


def confirm_contact(username: str, contact: str, code: str) -> Call[None]:
    """Confirm a contact with the code that came there."""
    body = {"username": username, "contact": contact, "code": code}
    return Call("POST", "/verifications/confirm", _nothing, body, is_repeatable=False)


def log_in(username: str, password: str, device: str | None = None) -> Call[LoggedIn]:
    """Get a token, by user name, e-mail address or phone number. A second login changes nothing."""
    headers = {} if device is None else {"Cookie": f"{DEVICE_COOKIE}={device}"}
    return Call("POST", "/login", _logged_in, {"username": username, "password": password}, headers=headers)


def _logged_in(answer: Answer) -> LoggedIn:
    cookies: SimpleCookie = SimpleCookie(answer.headers.get("set-cookie", ""))
    device = cookies[DEVICE_COOKIE].value if DEVICE_COOKIE in cookies else None
    return LoggedIn(reader(str, "token")(answer), device)


def change_password(current: str, new: str) -> Call[None]:
    """Change the caller's password, and end the other sessions."""
    body = {"current_password": current, "new_password": new}
    return Call("POST", "/password", _nothing, body, is_repeatable=False)


def account() -> Call[Account]:
    """See the caller's id and roles of now."""
    return Call("GET", "/account", reader(Account, "account"))


def sessions() -> Call[list[Session]]:
    """See where the caller is logged in, newest first."""
    return Call("GET", "/sessions", reader(list[Session], "sessions"))


def log_out() -> Call[None]:
    """End this session."""
    return Call("POST", "/logout", _nothing)


def log_out_everywhere() -> Call[None]:
    """End all sessions of the caller."""
    return Call("POST", "/logout-everywhere", _nothing)


def receipt() -> Call[Receipt | None]:
    """See the caller's first login, signed; None before it has its number, and for staff."""
    return Call("GET", "/receipt", reader(Receipt | None, "receipt"))


def latest_seal() -> Call[Seal]:
    """See the newest number and seal of the list of first logins."""
    return Call("GET", "/seals/latest", reader(Seal))


def jwks() -> Call[dict[str, Any]]:
    """Get the public keys that verify tokens (RFC 7517)."""
    return Call("GET", "/.well-known/jwks.json", reader(dict[str, Any]))
