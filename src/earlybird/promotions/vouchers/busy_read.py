"""GET /voucher as a plain ASGI application, in front of the framework: the busiest read for half the CPU.

It answers what is usual and hands on the rest: other routes and methods, a request with a body, with two tokens or
with none. With a token and a voucher it does what `routes.get_voucher` does, and the same tests hold both. Why it
is here: docs/decisions/0023.
"""

import json
import time

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from earlybird.access.callers import Callers
from earlybird.errors import http_status
from earlybird.infra.http.app import answer_error
from earlybird.infra.http.gate import HSTS, ONCE, REFUSED
from earlybird.infra.http.metrics import request_labels
from earlybird.infra.http.refusals import envelope
from earlybird.metrics import REQUEST_SECONDS
from earlybird.promotions.vouchers.model import voucher_not_found
from earlybird.promotions.vouchers.service import Vouchers
from earlybird.promotions.vouchers.shapes import found

PATH = "/voucher"
_NOT_FOUND = voucher_not_found()
_NOT_FOUND_STATUS = http_status(_NOT_FOUND, PATH)
_NOT_FOUND_BODY = json.dumps(envelope(_NOT_FOUND), separators=(",", ":")).encode()
_FOUND_LABELS, _NOT_FOUND_LABELS = (request_labels("GET", PATH, status) for status in (200, _NOT_FOUND_STATUS))
_UNUSUAL = ONCE | {b"transfer-encoding"}  # what the gate judges
_HEADERS = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]


class BusyRead:
    """Answers GET /voucher, counted and timed like every request; hands on everything else."""

    def __init__(self, app: ASGIApp, callers: Callers, vouchers: Vouchers) -> None:
        self._app = app
        self._callers = callers
        self._vouchers = vouchers
        self._not_found = REFUSED[_NOT_FOUND.code]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        authorization, is_secure = None, False
        for name, value in scope["headers"]:
            if name == b"authorization":
                if authorization is not None:
                    break
                authorization = value
            elif name in _UNUSUAL:
                break
            elif name == b"x-forwarded-proto":
                is_secure = is_secure or value == b"https"
        else:
            if authorization is not None:
                await self._answer(authorization.decode("latin-1"), scope, send, is_secure=is_secure)
                return
        await self._app(scope, receive, send)

    async def _answer(self, authorization: str, scope: Scope, send: Send, *, is_secure: bool) -> None:
        began = time.perf_counter()
        scope["answered_path"] = PATH  # for traces
        try:
            caller = await self._callers.of(authorization)
            voucher = await self._vouchers.current_voucher(caller.user_id)
        except Exception as error:  # noqa: BLE001  # there is nobody behind us to answer it
            refused = answer_error(Request(scope), error)
            status, body, headers = refused.status_code, bytes(refused.body), refused.raw_headers
            labels = request_labels("GET", PATH, status)
        else:
            if voucher is None:
                status, body, labels = _NOT_FOUND_STATUS, _NOT_FOUND_BODY, _NOT_FOUND_LABELS
                self._not_found.inc()
            else:
                status, body, labels = 200, found(voucher), _FOUND_LABELS
            headers = [*_HEADERS, (b"content-length", b"%d" % len(body))]
        if is_secure:
            headers.append(HSTS)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        REQUEST_SECONDS.note(labels, time.perf_counter() - began)
