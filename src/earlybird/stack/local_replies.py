"""What Envoy answers by itself: to a late, malformed or too large request, and when no service can answer."""

from typing import Any

from earlybird.errors import CONTRACT_PATHS, Refusal, Unavailable, http_status

Json = dict[str, Any]

NOWHERE = Refusal("not_found", "There is nothing at this address.")


def local_replies(body_limit_bytes: int, head_limit_kib: int) -> list[Json]:
    """Return the mappers of `local_reply_config`, which give each refusal our status and our envelope."""
    late = Refusal("request_timeout", "The request did not arrive in time.")
    long = Refusal("headers_too_large", f"The headers are over {head_limit_kib} KiB.")
    big = Refusal("body_too_large", f"The body is over {body_limit_bytes // 1024} KiB.")
    malformed = Refusal("malformed_request", "This is no HTTP request that can be read.")
    away = Unavailable("The service is not available right now. Try again in a moment.")
    contract = [
        _reply(_both(_status("EQ", 413), _path(path)), big, http_status(big, path)) for path in CONTRACT_PATHS
    ]
    return [
        *contract,
        *(_reply(_status("EQ", refusal.status), refusal) for refusal in (late, long, big, NOWHERE)),
        _reply(_status("EQ", 501), malformed),  # a transfer coding that Envoy does not know
        _reply(_status("GE", 500), away),
        _reply(_status("GE", 400), malformed),
    ]


def _reply(condition: Json, refusal: Refusal, status: int | None = None) -> Json:
    body = {"status": "error", "message": refusal.message, "code": refusal.code}
    headers = [{"header": {"key": key, "value": value}} for key, value in refusal.headers.items()]
    return {
        "filter": condition,
        "status_code": status or refusal.status,
        "headers_to_add": headers,
        "body_format_override": {"json_format": body, "content_type": "application/json"},
    }


def _status(comparison: str, status: int) -> Json:
    value = {"default_value": status, "runtime_key": "never_set"}
    return {"status_code_filter": {"comparison": {"op": comparison, "value": value}}}


def _path(path: str) -> Json:
    match = {"name": ":path", "string_match": {"safe_regex": {"regex": f"{path}(\\?.*)?"}}}
    return {"header_filter": {"header": match}}


def _both(*conditions: Json) -> Json:
    return {"and_filter": {"filters": list(conditions)}}
