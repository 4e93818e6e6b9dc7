"""The HTTP of looking at people, for support and campaign managers. Every look at one person is logged."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from earlybird.access.callers import UNAUTHORISED, VIEWERS_ONLY, Responses, Viewer
from earlybird.identity.people.shapes import (
    Curve,
    Name,
    NamesFound,
    PersonFound,
    PersonWithTimeline,
    Point,
    Search,
    ShownEntry,
    ShownPerson,
)
from earlybird.identity.people.store import PeopleStore
from earlybird.infra.http.app import built
from earlybird.infra.http.refusals import OVERLOAD, refused
from earlybird.infra.http.strict_json import StrictRoute
from earlybird.infra.security_log import note
from earlybird.times import iso_utc

router = APIRouter(
    route_class=StrictRoute,
    tags=["people"],
    responses={**UNAUTHORISED, **VIEWERS_ONLY, 422: refused("a bad field"), 503: OVERLOAD},
)
_NOT_FOUND: Responses = {404: refused("there is nobody of this name or id")}
_People = Annotated[PeopleStore, Depends(built(PeopleStore))]
_NO_STORE = "no-store"


@router.post(
    "/people/search",
    summary="Find a person",
    responses={**_NOT_FOUND, 400: refused("malformed JSON")},
)
async def search(caller: Viewer, body: Search, response: Response, people: _People) -> PersonFound:
    response.headers["Cache-Control"] = _NO_STORE
    person = await people.search(body.login)
    note("person_viewed", user=person.id, by=str(caller.user_id))
    return PersonFound(person=ShownPerson.of(person))


@router.get("/people", summary="The user names of up to 100 people")
async def get_names(
    caller: Viewer,
    response: Response,
    people: _People,
    id: Annotated[list[UUID], Query(min_length=1, max_length=100)],  # noqa: A002  # as it stands in the URL
) -> NamesFound:
    response.headers["Cache-Control"] = _NO_STORE
    names = await people.find_names(id)
    note("people_named", by=str(caller.user_id), count=len(names))
    return NamesFound(people=[Name(id=str(one), username=name) for one, name in names.items()])


@router.get("/people/{user_id:uuid}", summary="A person, and what happened to the account", responses=_NOT_FOUND)
async def get_person(caller: Viewer, user_id: UUID, response: Response, people: _People) -> PersonWithTimeline:
    response.headers["Cache-Control"] = _NO_STORE
    person, entries = await people.find(user_id)
    note("person_viewed", user=person.id, by=str(caller.user_id))
    return PersonWithTimeline(person=ShownPerson.of(person), timeline=[ShownEntry.of(one) for one in entries])


@router.get("/first-logins/curve", summary="How first logins came over time")
async def get_curve(
    _: Viewer,
    people: _People,
    first: Annotated[int, Query(ge=1, le=2**53, description="the first number")] = 1,
    last: Annotated[int | None, Query(ge=1, le=2**53, description="the last number; without: the newest")] = None,
    points: Annotated[int, Query(ge=2, le=500)] = 120,
) -> Curve:
    head, found = await people.curve(first, last, points)
    return Curve(head=head, points=[Point(number=number, at=iso_utc(at)) for number, at in found])
