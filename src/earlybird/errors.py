"""The refusals: their stable codes, and the one table from code to HTTP status.

A refusal is an expected "no" to one request. Anything else that is raised is broken, and becomes `internal`.
"""

from collections.abc import Mapping
from typing import Literal

# The three routes whose clients already hold the contract "200 or 400" (only overload and outage differ).
CONTRACT_PATHS = frozenset({"/register", "/login", "/voucher"})
# What is no answer to a request of the contract: another method, or a request that never arrived whole.
_OUTSIDE_CONTRACT = frozenset({"method_not_allowed", "request_timeout", "headers_too_large", "too_many_attempts"})

HTTP_STATUS: Mapping[str, int] = {
    # what was sent
    "malformed_json": 400,
    "unsupported_media_type": 415,
    "body_too_large": 413,
    "missing_field": 422,
    "unknown_field": 422,
    "invalid_field": 422,
    "missing_header": 400,
    "invalid_header": 400,
    # accounts
    "duplicate_username": 409,
    "duplicate_email": 409,
    "duplicate_phone": 409,
    "weak_password": 422,
    "invalid_credentials": 401,
    "contact_not_verified": 403,
    "invalid_code": 400,
    "account_disabled": 403,
    "account_not_found": 404,
    "unknown_role": 422,
    "too_many_attempts": 429,
    # tokens
    "missing_token": 401,
    "invalid_token": 401,
    "forbidden": 403,
    # vouchers
    "voucher_not_found": 404,
    "voucher_reserved": 409,
    "voucher_already_redeemed": 409,
    "voucher_expired": 409,
    "voucher_withdrawn": 409,
    # redemptions
    "idempotency_key_reused": 422,
    "request_in_flight": 409,
    "currency_not_accepted": 422,
    "amount_too_small": 422,
    "reservation_not_found": 404,
    "reservation_expired": 409,
    "reservation_released": 409,
    "reservation_confirmed": 409,
    "redemption_not_found": 404,
    "redemption_refunded": 409,
    # webhooks
    "webhook_not_found": 404,
    "too_many_webhooks": 409,
    "webhooks_off": 409,
    # campaigns
    "campaign_not_found": 404,
    "campaign_already_open": 409,
    "campaign_overlaps": 409,
    "campaign_not_open": 409,
    "campaign_closed": 409,
    "field_in_use": 409,
    "number_below_granted": 409,
    "too_many_replacements": 409,
    # the request itself
    "malformed_request": 400,
    "request_timeout": 408,
    "headers_too_large": 431,
    # addresses
    "not_found": 404,
    "method_not_allowed": 405,
    # us
    "overloaded": 503,
    "unavailable": 503,
    "internal": 500,
}


class Failure(Exception):
    """A command cannot do what it was asked; the message is one line that says why and what to do."""


class NotMigrated(Failure):
    """The database lacks what a migration makes: run `earlybird migrate` first."""


class InvariantBroken(Exception):
    """Stored data contradict a promise of ARCHITECTURE.md; the message names the promise and never a person.

    It is raised where an invariant is written or read. Nothing is written after it.
    """


class ClientLeft(Exception):
    """The client hung up while it waited: its request was dropped, and nobody is there to be answered."""


class Refusal(Failure):
    """One request is refused.

    `code` is stable and for programs (a key of `HTTP_STATUS`); `message` is for people and never echoes a
    value that was sent; `headers` go with the answer.
    """

    def __init__(self, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Refuse with this code; a code without a status is a bug, so it raises KeyError here."""
        super().__init__(message)
        self.status = HTTP_STATUS[code]
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def forbidden(role: str) -> Refusal:
    """Make the refusal of a caller who lacks a role."""
    return Refusal("forbidden", f"This needs the role {role}.")


def account_disabled() -> Refusal:
    """Make the refusal of a disabled account."""
    return Refusal("account_disabled", "This account is disabled. Please contact us.")


InvalidReason = Literal["malformed", "forged", "expired", "ended", "no_account"]


class InvalidToken(Refusal):
    """The bearer token is malformed, forged, expired or not for us (RFC 6750, section 3.1)."""

    def __init__(self, message: str, reason: InvalidReason = "malformed") -> None:
        """Refuse; `reason` is for those who operate the service."""
        self.reason = reason
        super().__init__("invalid_token", message, {"WWW-Authenticate": 'Bearer error="invalid_token"'})


class MissingToken(Refusal):
    """There is no bearer token: the challenge names no error then (RFC 6750, section 3.1)."""

    def __init__(self) -> None:
        message = "Send the header `Authorization: Bearer <token>` with a token from /login."
        super().__init__("missing_token", message, {"WWW-Authenticate": "Bearer"})


class Unavailable(Refusal):
    """Something we depend on does not answer, or there is too much to do: try again in a moment."""

    def __init__(self, message: str, code: str = "unavailable", retry_after_seconds: int = 1) -> None:
        """Refuse with `Retry-After`, in whole seconds."""
        super().__init__(code, message, {"Retry-After": str(retry_after_seconds)})


def http_status(refusal: Refusal, path: str) -> int:
    """Return the status of a refusal on a path: on the contract's routes every refusal of ours is 400."""
    if path in CONTRACT_PATHS and refusal.status < 500 and refusal.code not in _OUTSIDE_CONTRACT:
        return 400
    return refusal.status
