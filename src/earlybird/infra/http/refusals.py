"""What every refusal looks like over HTTP, and how it says what is wrong with a request. No I/O."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from earlybird.errors import HTTP_STATUS, Refusal

OURS = -1  # in place of the byte: the message of a JSON error is one of ours, and complete
BODY_LIMIT_BYTES = 16 * 1024


class Refused(BaseModel):
    """What every refusal looks like."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["error"]
    message: str = Field(description="for people; may change")
    code: Literal[tuple(HTTP_STATUS)] = Field(description="for programs; stable")  # type: ignore[valid-type]


def refused(description: str) -> dict[str, Any]:
    """Describe a refusal for OpenAPI."""
    return {"model": Refused, "description": description}


OVERLOAD = {
    "model": Refused,
    "description": "overloaded, or a part of the system does not answer: try again",
    "headers": {"Retry-After": {"description": "seconds", "required": True, "schema": {"type": "integer"}}},
}


TOO_MANY = {
    "model": Refused,
    "description": "too many attempts: try again later",
    "headers": {
        "Retry-After": {"description": "seconds", "required": True, "schema": {"type": "integer"}},
        "RateLimit": {
            "description": "the limit, and when it resets",
            "schema": {"type": "string"},
        },
        "RateLimit-Policy": {"description": "the limit and its quota", "schema": {"type": "string"}},
    },
}


def envelope(refusal: Refusal) -> dict[str, str]:
    """Return the body of a refusal: the one form that all have."""
    return {"status": "error", "message": refusal.message, "code": refusal.code}


def body_too_large() -> Refusal:
    """Make the refusal of a body over the limit."""
    return Refusal("body_too_large", f"The body is over {BODY_LIMIT_BYTES // 1024} KiB.")


def explain(problem: Mapping[str, Any], content_type: str) -> Refusal:
    """Say what is wrong with a request, naming the field and never its value.

    A problem's location is the place (body, header, path, query), and then the way to the field, whose name may be
    anything, also that of a place.
    """
    place, *path = (str(part) for part in problem["loc"])
    if problem["type"] == "json_invalid":
        error, byte = problem["ctx"]["error"], int(path[0])
        message = f"{error}." if byte == OURS else f"The body is not JSON: see byte {byte}."
        return Refusal("malformed_json", message)
    if not path:
        if problem["type"] != "missing" and not _is_json(content_type):
            return Refusal("unsupported_media_type", "Send the body with `Content-Type: application/json`.")
        return Refusal("malformed_json", "The body must be a JSON object.")
    field = ".".join(path)
    if place == "header":
        if problem["type"] == "missing":
            return Refusal("missing_header", f"{field}: this header is missing.")
        return Refusal("invalid_header", f"{field}: {reason(problem)}.")
    if problem["type"] == "extra_forbidden":
        return Refusal("unknown_field", f"{printable(field)}: there is no such field.")
    if problem["type"] == "missing":
        return Refusal("missing_field", f"{field}: this field is missing.")
    return Refusal("invalid_field", f"{field}: {reason(problem)}.")


def _is_json(content_type: str) -> bool:
    """Tell whether FastAPI reads a body of this type: application/json or application/…+json (RFC 6839)."""
    kind, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))


def reason(problem: Mapping[str, Any]) -> str:
    """Say in our words what pydantic says of a value."""
    context = problem.get("ctx", {})
    match problem["type"]:
        case "string_too_short":
            return f"use {context['min_length']} characters or more"
        case "string_too_long":
            return f"use {context['max_length']} characters at most"
        case "string_pattern_mismatch":
            return "use visible ASCII characters only, without spaces"
    reason = str(problem["msg"]).removeprefix("Value error, ")
    return f"{reason[0].lower()}{reason[1:]}"


def printable(name: str) -> str:
    """Return a field's name as sent, unless it may be something else than a name."""
    return name if len(name) <= 40 and name.isidentifier() else "(a name we do not repeat)"
