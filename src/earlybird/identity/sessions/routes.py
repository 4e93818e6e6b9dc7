"""The HTTP of sessions and public keys."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field, WithJsonSchema

from earlybird.access.callers import DISABLED, UNAUTHORISED, Confirmed, Verified
from earlybird.identity.sessions.service import Sessions
from earlybird.identity.sessions.signer import TokenSigner
from earlybird.infra.http.app import built
from earlybird.infra.http.refusals import OVERLOAD
from earlybird.times import iso_utc

Jwks = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "required": ["keys"],
            "properties": {
                "keys": {"type": "array", "items": {"type": "object", "required": ["kty", "kid", "n", "e"]}}
            },
        }
    ),
]


class Ended(BaseModel):
    """The session has ended, or all have."""

    status: Literal["success"] = "success"


class ShownSession(BaseModel):
    """One session."""

    id: str
    is_this_one: bool
    device: str = Field(description="what the client said of itself (`User-Agent`), shortened")
    network: str = Field(description="roughly where: the first half of the client's address")
    started_at: str = Field(description="ISO 8601, UTC")


class SessionsFound(BaseModel):
    """The caller's sessions, newest first."""

    status: Literal["success"] = "success"
    sessions: list[ShownSession]


router = APIRouter(tags=["accounts"])
_session = APIRouter(tags=["sessions"], responses={**UNAUTHORISED, 503: OVERLOAD})
_Sessions = Annotated[Sessions, Depends(built(Sessions))]


@router.get("/.well-known/jwks.json", summary="The public keys that verify tokens")
async def get_jwks(response: Response, signer: Annotated[TokenSigner, Depends(built(TokenSigner))]) -> Jwks:
    response.headers["Cache-Control"] = "public, max-age=300"
    return signer.jwks


@_session.get("/sessions", summary="See where I am logged in", responses=DISABLED)
async def get_sessions(caller: Confirmed, response: Response, sessions: _Sessions) -> SessionsFound:
    response.headers["Cache-Control"] = "no-store"
    return SessionsFound(
        sessions=[
            ShownSession(
                id=one.id,
                is_this_one=one.id == caller.session_id,
                device=one.device,
                network=one.network,
                started_at=iso_utc(datetime.fromtimestamp(one.started_at, UTC)),
            )
            for one in await sessions.list(caller)
        ]
    )


@_session.post("/logout", summary="End this session")
async def log_out(caller: Verified, sessions: _Sessions) -> Ended:
    await sessions.end(caller)
    return Ended()


@_session.post("/logout-everywhere", summary="End all my sessions")
async def log_out_everywhere(caller: Verified, sessions: _Sessions) -> Ended:
    await sessions.end_all(caller)
    return Ended()


router.include_router(_session)
