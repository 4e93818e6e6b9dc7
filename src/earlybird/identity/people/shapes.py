"""What people look like over HTTP, to those who may look."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from earlybird.identity.people.model import Person, TimelineEntry
from earlybird.times import iso_utc


class Search(BaseModel):
    """Body of POST /people/search. It is a POST so that no address stands in a log of URLs."""

    model_config = ConfigDict(extra="forbid", strict=True)

    login: str = Field(
        min_length=1,
        max_length=1024,
        description="user name, e-mail address, phone number or id",
        examples=["ada.lovelace"],
    )


class ShownPerson(BaseModel):
    """A person, with contacts masked."""

    id: str
    username: str | None = Field(description="null: the person was erased")
    email: str | None = Field(description="masked", examples=["a•••@example.com"])
    phone: str | None = Field(description="masked", examples=["•••678"])
    roles: list[str]
    is_active: bool
    is_locked: bool
    is_verified: bool = Field(description="false: waits for a code, and cannot log in")
    registered_at: str = Field(description="ISO 8601, UTC")
    first_login_at: str | None = Field(description="ISO 8601, UTC")
    number: int | None = Field(description="among all first logins")
    why_no_number: str | None = Field(description="why there is none, for people; null: there is one")

    @classmethod
    def of(cls, person: Person) -> "ShownPerson":
        """Show a person."""
        plain = ("username", "email", "phone", "is_active", "is_locked", "is_verified", "number", "why_no_number")
        return cls(
            id=str(person.id),
            roles=list(person.roles),
            registered_at=iso_utc(person.registered_at),
            first_login_at=iso_utc(person.first_login_at) if person.first_login_at else None,
            **{name: getattr(person, name) for name in plain},
        )


class ShownEntry(BaseModel):
    """Something that happened."""

    at: str = Field(description="ISO 8601, UTC")
    what: str = Field(description="for programs", examples=["login.first"])
    text: str = Field(description="for people")
    actor: str | None = Field(description="a user id, `cli:<name>` or a worker; null: the person")

    @classmethod
    def of(cls, entry: TimelineEntry) -> "ShownEntry":
        """Show an entry."""
        return cls(at=iso_utc(entry.at), what=entry.what, text=entry.text, actor=entry.actor)


class PersonFound(BaseModel):
    """One person."""

    status: Literal["success"] = "success"
    person: ShownPerson


class PersonWithTimeline(PersonFound):
    """One person, and what happened to the account, oldest first."""

    timeline: list[ShownEntry]


class Name(BaseModel):
    """Whose id it is."""

    id: str
    username: str | None = Field(description="null: the person was erased")


class NamesFound(BaseModel):
    """The people who are known, of those who were asked for."""

    status: Literal["success"] = "success"
    people: list[Name]


class Point(BaseModel):
    """The time of one number."""

    number: int
    at: str = Field(description="ISO 8601, UTC")


class Curve(BaseModel):
    """How first logins came over time."""

    status: Literal["success"] = "success"
    head: int = Field(description="the newest number; 0 while nobody has logged in")
    points: list[Point]
