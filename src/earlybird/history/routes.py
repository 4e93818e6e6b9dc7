"""The audit log over HTTP, the same for each service, at the path that the service gives it."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from bson import Timestamp
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from earlybird.access.callers import UNAUTHORISED, VIEWERS_ONLY, Viewer
from earlybird.errors import Refusal
from earlybird.history.log import AuditLog, Filters, shown
from earlybird.infra.http.app import built
from earlybird.infra.http.refusals import OVERLOAD, refused
from earlybird.infra.mongo import Document
from earlybird.times import parse_moment

Moment = Annotated[
    datetime, BeforeValidator(parse_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
_PLACE = r"^[0-9]{1,10}\.[0-9]{1,10}$"


class Entry(BaseModel):
    """One change."""

    model_config = ConfigDict(extra="forbid")

    id: str
    at: str = Field(description="ISO 8601, UTC")
    actor: str = Field(description="a user id, `cli:<name>`, or the worker that acted by itself")
    action: str = Field(examples=["campaign.opened"])
    subject: str = Field(description="id of what changed")
    before: dict[str, Any] | None = Field(description="the changed fields as they were; null for what is new")
    after: dict[str, Any] | None = Field(description="the changed fields as they are; null for what is gone")


class Page(BaseModel):
    """Some entries, newest first."""

    status: Literal["success"] = "success"
    entries: list[Entry]
    next: str | None = Field(description="send it as `before` for the next page; null on the last")


router = APIRouter(tags=["audit log"], responses={**UNAUTHORISED, **VIEWERS_ONLY, 503: OVERLOAD})


@router.get("", summary="Who changed what, and when", responses={422: refused("a bad `before` or `limit`")})
async def get_audit_log(
    response: Response,
    log: Annotated[AuditLog, Depends(built(AuditLog))],
    _: Viewer,
    before: Annotated[str | None, Query(pattern=_PLACE, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    actor: Annotated[
        str | None, Query(max_length=200, description="who did it: a user id, `cli:<name>`, a worker")
    ] = None,
    action: Annotated[str | None, Query(max_length=100, examples=["campaign.opened"])] = None,
    subject: Annotated[UUID | None, Query(description="what was changed")] = None,
    since: Annotated[Moment | None, Query(description="ISO 8601")] = None,
    until: Annotated[Moment | None, Query(description="ISO 8601, excluded")] = None,
) -> Page:
    response.headers["Cache-Control"] = "no-store"
    found = await log.read_page(_timestamp(before), limit + 1, Filters(actor, action, subject, since, until))
    entries = [_entry(document) for document in found[:limit]]
    return Page(entries=entries, next=_place(found[limit - 1]) if len(found) > limit else None)


def _timestamp(place: str | None) -> Timestamp | None:
    if place is None:
        return None
    seconds, _, increment = place.partition(".")
    try:
        return Timestamp(int(seconds), int(increment))
    except ValueError:
        raise Refusal("invalid_field", "before: send what `next` of the page before said.") from None


def _place(document: Document) -> str:
    return f"{document['order'].time}.{document['order'].inc}"


def _entry(document: Document) -> Entry:
    fields = shown(document)
    return Entry(id=fields["_id"], **{name: fields[name] for name in Entry.model_fields if name != "id"})
