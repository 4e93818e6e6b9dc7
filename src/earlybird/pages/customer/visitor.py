"""How a route gets the visit of who calls it."""

from typing import Annotated

from fastapi import Depends, Request

from earlybird.client import AsyncClient
from earlybird.pages.visits import Look, Visit


async def _visit(request: Request) -> Visit:
    built = request.app.state.built
    return Visit(request, built[Look], built[AsyncClient])


Visitor = Annotated[Visit, Depends(_visit)]
