"""HTTP: the application that every service starts from.

One envelope for every answer that is not a success, whoever refuses: our code, the framework, the body limit.
Not here: the server that runs the application.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypeVar

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earlybird.errors import HTTP_STATUS, ClientLeft, InvalidToken, Refusal, http_status

log = structlog.get_logger()

T = TypeVar("T")
BODY_LIMIT_BYTES = 16 * 1024
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


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


def create_web_app(name: str, version: str) -> FastAPI:
    """Build an application with the envelope, the body limit, and a truthful OpenAPI at its own address."""
    app = FastAPI(
        title=f"earlybird {name}",
        version=version,
        openapi_url=f"/openapi/{name}.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_exception_handler(Refusal, _answer_refusal)
    app.add_exception_handler(RequestValidationError, _answer_invalid_request)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(ClientLeft, _answer_nobody)
    app.add_exception_handler(Exception, _answer_broken)
    app.add_middleware(_BodyLimit)
    app.add_middleware(_HeadAsGet)
    _leave_out_422(app)
    return app


def provide(app: FastAPI, *services: object) -> None:
    """Hand these to the routes of an application, which find each by its class (see `built`)."""
    app.state.built = {type(service): service for service in services}


def built(kind: type[T]) -> Callable[[Request], Awaitable[T]]:
    """Return a dependency that finds the service of this class which `provide` was given."""

    async def find(request: Request) -> T:
        service: T = request.app.state.built[kind]
        return service

    return find


class _HeadAsGet:
    """Answers HEAD as GET wherever there is GET (RFC 9110, 9.3.2); the server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        await self._app({**scope, "method": "GET"} if is_head else scope, receive, send)


class _BodyLimit:
    """Refuses a body over the limit: by its `Content-Length`, or else as soon as it has grown too long.

    FastAPI's own limit answers in plain text, past every handler of ours.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length, received = Headers(scope=scope).get("content-length", "0"), 0
        if length.isdigit() and int(length) > BODY_LIMIT_BYTES:
            answer = await _answer_http_exception(Request(scope), HTTPException(413))
            await answer(scope, receive, send)
            return

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > BODY_LIMIT_BYTES:
                raise HTTPException(413)
            return message

        await self._app(scope, receive_counted, send)


def _leave_out_422(app: FastAPI) -> None:
    """Take FastAPI's own 422 out of OpenAPI: a request that does not fit is refused in our envelope."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        for path in document["paths"].values():
            for operation in path.values():
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
        for unused in ("HTTPValidationError", "ValidationError"):
            document.get("components", {}).get("schemas", {}).pop(unused, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this way of changing the document


def bearer_token(request: Request) -> str:
    """Give the token of `Authorization: Bearer <token>` (RFC 6750). Raises InvalidToken."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidToken(
            "Send the header `Authorization: Bearer <token>` with a token from /login.", "missing_token"
        )
    return token.strip()


def envelope(refusal: Refusal) -> dict[str, str]:
    """Give the body of a refusal: the one form that all have."""
    return {"status": "error", "message": refusal.message, "code": refusal.code}


def _answer(request: Request, refusal: Refusal) -> JSONResponse:
    return JSONResponse(envelope(refusal), http_status(refusal, request.url.path), refusal.headers)


async def _answer_refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)  # noqa: S101  # what the framework hands to this handler
    return _answer(request, error)


async def _answer_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  # what the framework hands to this handler
    match error.status_code:
        case 404:
            refusal = Refusal("not_found", "There is nothing at this address.")
        case 405:
            allowed = _allowed_methods(request)
            refusal = Refusal("method_not_allowed", f"This address takes {allowed} only.", {"Allow": allowed})
        case 413:
            refusal = Refusal("body_too_large", f"The body is over {BODY_LIMIT_BYTES // 1024} KiB.")
        case _:
            refusal = Refusal("malformed_json", "The body is not JSON that can be read.")
    return _answer(request, refusal)


def _allowed_methods(request: Request) -> str:
    """Give the methods of all routes at this address; the framework names those of the first alone."""
    return ", ".join(m for m in _METHODS if _takes(request, "GET" if m == "HEAD" else m))


def _takes(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)


async def _answer_broken(request: Request, error: Exception) -> JSONResponse:
    log.error("request_failed", path=request.url.path, error=type(error).__name__)
    return _answer(request, Refusal("internal", "Something broke on our side. It has been logged."))


async def _answer_nobody(request: Request, error: Exception) -> Response:  # noqa: ARG001  # as handlers are called
    return Response(status_code=499)  # as nginx and Caddy note it; the server has nowhere to send it


async def _answer_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # what the framework hands to this handler
    return _answer(request, _explain(error.errors()[0], request.headers.get("content-type", "")))


def _explain(problem: Mapping[str, Any], content_type: str) -> Refusal:
    """Say what is wrong with a request, naming the field and never its value."""
    location = [str(part) for part in problem["loc"] if part != "body"]
    if problem["type"] == "json_invalid":
        return Refusal("malformed_json", f"The body is not JSON: see byte {location[0]}.")
    if not location:
        if problem["type"] != "missing" and "json" not in content_type:
            return Refusal("unsupported_media_type", "Send the body with `Content-Type: application/json`.")
        return Refusal("malformed_json", "The body must be a JSON object.")
    if location[0] == "header":
        if problem["type"] == "missing":
            return Refusal("missing_header", f"{location[1]}: this header is missing.")
        return Refusal("invalid_header", f"{location[1]}: {_reason(problem)}.")
    field = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return Refusal("unknown_field", f"{_printable(field)}: there is no such field.")
    if problem["type"] == "missing":
        return Refusal("missing_field", f"{field}: this field is missing.")
    return Refusal("invalid_field", f"{field}: {_reason(problem)}.")


def _reason(problem: Mapping[str, Any]) -> str:
    reason = str(problem["msg"]).removeprefix("Value error, ")
    return f"{reason[0].lower()}{reason[1:]}"


def _printable(name: str) -> str:
    """Give a field's name as sent, unless it could be something else than a name."""
    return name if len(name) <= 40 and name.isidentifier() else "(a name we do not repeat)"
