"""The gate in front of every route: what no route should see is refused here."""

from collections.abc import Iterable

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earlybird.errors import HTTP_STATUS, Refusal, http_status
from earlybird.infra.http.refusals import BODY_LIMIT_BYTES, body_too_large, envelope
from earlybird.metrics import REFUSALS

HSTS = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")
# All from the start: a series that begins at 1 hides its first refusal from `increase`.
REFUSED = {code: REFUSALS.labels(code) for code in HTTP_STATUS}
ONCE = frozenset({b"authorization", b"content-length", b"content-type", b"idempotency-key"})


class Gate:
    """Refuses what no route should see: a body over the limit, and a header that may stand once and stands twice.

    A body is refused by its `Content-Length`, or as soon as it has grown too long. (FastAPI's own limit answers in
    plain text, past every handler of ours.) A HEAD is answered as a GET is; the server leaves the body out.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = _refuse_head(scope["headers"])
        if refusal is not None:
            await answer(Request(scope), refusal)(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_LIMIT_BYTES:
                raise HTTPException(413)
            return message

        secure = (b"x-forwarded-proto", b"https") in scope["headers"]
        answer_by = _with_hsts(send) if secure else send
        if scope["method"] != "HEAD":
            await self._app(scope, receive_counted, answer_by)
            return
        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive_counted, answer_by)
        finally:
            scope["route"] = as_get.get("route")  # for whoever counts requests


def _with_hsts(send: Send) -> Send:
    """Have browsers come back over TLS alone (RFC 6797, which forbids to say so over plain HTTP)."""

    async def send_with_hsts(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], HSTS]}
        await send(message)

    return send_with_hsts


def _refuse_head(headers: Iterable[tuple[bytes, bytes]]) -> Refusal | None:
    seen: set[bytes] = set()
    for name, value in headers:
        if name in ONCE:
            if name in seen:
                return Refusal("invalid_header", f"{name.decode().title()}: send this header once.")
            seen.add(name)
            if name == b"content-length" and value.isdigit() and int(value) > BODY_LIMIT_BYTES:
                return body_too_large()
    return None


def answer(request: Request, refusal: Refusal) -> JSONResponse:
    """Make the answer to a request that is refused."""
    REFUSED[refusal.code].inc()
    headers = {"Cache-Control": "no-store", **refusal.headers}
    return JSONResponse(envelope(refusal), http_status(refusal, request.url.path), headers)
