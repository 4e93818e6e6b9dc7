"""Bodies: strict JSON."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from earlybird.infra.http.refusals import OURS, printable


class StrictRoute(APIRoute):
    """A route that reads JSON as RFC 8259 and I-JSON (RFC 7493) have it: UTF-8, and each name once in an
    object."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler, which asks the request for its JSON."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return handle_strictly


class _StrictRequest(Request):
    async def json(self) -> Any:  # noqa: ANN401  # JSON
        return json.loads(
            (await self.body()).decode("utf-8-sig"), object_pairs_hook=_each_once, parse_constant=_no_constant
        )


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise json.JSONDecodeError(f"The body has the field {printable(name)} twice", "", OURS)
        found[name] = value
    return found


def _no_constant(name: str) -> Any:  # noqa: ANN401  # as json has it
    raise json.JSONDecodeError(f"{name} is no JSON", "", OURS)
