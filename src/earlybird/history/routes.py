"""The audit log over HTTP, the same for each service."""

from typing import Annotated, Any, Literal

from bson import Timestamp
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from earlybird.access.callers import BEARER, MANAGERS_ONLY, UNAUTHORISED, Callers
from earlybird.access.permissions import Caller
from earlybird.errors import Refusal
from earlybird.history.log import AuditLog, shown
from earlybird.infra.http.app import OVERLOAD, refused
from earlybird.infra.mongo import Document

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


def audit_log_routes(path: str, log: AuditLog, callers: Callers) -> APIRouter:
    """Build the one route of an audit log, at this path, for managers."""
    router = APIRouter(tags=["audit log"])

    @router.get(
        path,
        summary="Who changed what, and when",
        dependencies=[BEARER],
        responses={**UNAUTHORISED, **MANAGERS_ONLY, 422: refused("a bad `before` or `limit`"), 503: OVERLOAD},
    )
    async def get_audit_log(
        response: Response,
        _: Annotated[Caller, Depends(callers.manager)],
        before: Annotated[str | None, Query(pattern=_PLACE, description="`next` of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Page:
        response.headers["Cache-Control"] = "no-store"
        found = await log.read_page(_timestamp(before), limit + 1)
        entries = [_entry(document) for document in found[:limit]]
        return Page(entries=entries, next=_place(found[limit - 1]) if len(found) > limit else None)

    return router


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
