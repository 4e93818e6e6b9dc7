"""HTTP: the application that every service starts from.

Every answer that is not a success has the one envelope, whoever refuses: our code, the framework, the gate.
Not here: the server that runs the application.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from earlybird.errors import ClientLeft, MissingToken, Refusal
from earlybird.infra.http.gate import Gate, answer
from earlybird.infra.http.refusals import body_too_large, explain

log = structlog.get_logger()

T = TypeVar("T")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def create_web_app(name: str, version: str, *, public_docs: bool = True) -> FastAPI:
    """Build an application with the envelope, the gate, and a truthful OpenAPI at its own address, if public."""
    app = FastAPI(
        title=f"earlybird {name}",
        version=version,
        openapi_url=f"/openapi/{name}.json" if public_docs else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Ours is infra/tracing.py: FastAPI's own would note queries, in which people are named.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.add_exception_handler(Refusal, _answer_refusal)
    app.add_exception_handler(RequestValidationError, _answer_invalid_request)
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(ClientLeft, _answer_nobody)
    app.add_exception_handler(Exception, _answer_broken)
    app.add_middleware(Gate)
    _leave_out_422(app)
    return app


def provide(app: FastAPI, *services: object) -> None:
    """Hand these to the routes of an application, which find each by its class (see `built`)."""
    built = getattr(app.state, "built", {})
    app.state.built = built | {type(service): service for service in services}


def built(kind: type[T]) -> Callable[[Request], Awaitable[T]]:
    """Return a dependency that finds the service of this class which `provide` was given."""

    async def find(request: Request) -> T:
        service: T = request.app.state.built[kind]
        return service

    return find


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
    """Return the token that a request carries (RFC 6750). Raises InvalidToken."""
    return token_of(request.headers.get("authorization", ""))


def token_of(authorization: str) -> str:
    """Return the token of `Bearer <token>`. Raises InvalidToken."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise MissingToken
    return token.strip()


async def _answer_refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)  # noqa: S101  # what the framework hands to this handler
    return answer(request, error)


async def _answer_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101  # what the framework hands to this handler
    match error.status_code:
        case 404:
            refusal = Refusal("not_found", "There is nothing at this address.")
        case 405:
            allowed = _allowed_methods(request)
            refusal = Refusal("method_not_allowed", f"This address takes {allowed} only.", {"Allow": allowed})
        case 413:
            refusal = body_too_large()
        case _:
            refusal = Refusal("malformed_json", "The body is not JSON that can be read.")
    return answer(request, refusal)


def _allowed_methods(request: Request) -> str:
    """Return the methods of all routes at this address; the framework names those of the first alone."""
    return ", ".join(method for method in _METHODS if _takes(request, "GET" if method == "HEAD" else method))


def _takes(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)


async def _answer_broken(request: Request, error: Exception) -> JSONResponse:
    return answer_error(request, error)


def answer_error(request: Request, error: Exception) -> JSONResponse:
    """Make the answer to a request that ended in an error; one that is no refusal is logged."""
    if isinstance(error, Refusal):
        return answer(request, error)
    log.error("request_failed", path=request.url.path, error=type(error).__name__)
    return answer(request, Refusal("internal", "Something broke on our side. It has been logged."))


async def _answer_nobody(request: Request, error: Exception) -> Response:  # noqa: ARG001  # as handlers are called
    return Response(status_code=499)  # as nginx and Caddy note it; the server has nowhere to send it


async def _answer_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101  # what the framework hands to this handler
    return answer(request, explain(error.errors()[0], request.headers.get("content-type", "")))
