"""One person's timeline, and the audit logs."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast
from uuid import UUID

from fastapi import APIRouter, Response

from earlybird.client import Refused, api
from earlybird.client.report_shapes import HolderEntry, Judged, PersonWithTimeline
from earlybird.pages.console.staff import Staff

router = APIRouter(prefix="/console", include_in_schema=False)
Service = Literal["identity", "promotions"]
# Why somebody has no place: the reason for every no.
REASONS = {
    "never_came": "Has never logged in, so there is nothing to reward yet.",
    "waiting": "The first login has no number yet, or is not judged yet. That takes a moment; if not, see Health.",
    "before_the_start": "The first login came before the campaign started. An account has only one.",
    "after_the_end": "The first login came after the campaign had ended.",
    "staff": "Staff without the role customer take no place.",
    "no_campaign": "No campaign has begun yet that could count this first login.",
}


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the timeline."""

    at: datetime
    text: str
    is_no: bool = False
    actor: str | None = None
    holder: HolderEntry | None = None


def judgement(judged: Judged | None, *, has_come: bool) -> tuple[str, bool]:
    """Return how the first login was judged, in a sentence, and whether it is a no."""
    if judged is None:
        return REASONS["waiting" if has_come else "never_came"], True
    if judged.standing != "counted":
        return REASONS.get(judged.standing, judged.standing), True
    place = f"Place {judged.place} in “{judged.campaign}”"
    if judged.is_withdrawn:
        return f"{place}: the voucher was taken back.", True
    if judged.has_won:
        return f"{place}: won a voucher.", False
    last = (
        f" The last winner came at {judged.last_winner_at:%Y-%m-%d %H:%M:%S} UTC." if judged.last_winner_at else ""
    )
    return f"{place}: {judged.total} vouchers, all given to people who came before.{last}", True


def steps(seen: PersonWithTimeline, judged: Judged | None, held: list[HolderEntry]) -> list[Step]:
    """Return everything that happened to a person, in order."""
    person = seen.person
    found = [Step(entry.at, entry.text, actor=entry.actor) for entry in seen.timeline]
    found += [Step(entry.at, entry.text, holder=entry) for entry in held]
    if person.first_login_at is not None:
        text, is_no = judgement(judged, has_come=True)
        found.append(Step(person.first_login_at, f"Judged: {text}", is_no))
    return sorted(found, key=lambda step: step.at)


@router.get("/people")
async def show_search(desk: Staff) -> Response:
    """Show the form that finds a person."""
    return desk.page("people.html", error=None)


@router.post("/people")
async def search(desk: Staff) -> Response:
    """Find a person."""
    form = await desk.visit.form()
    try:
        person = await desk.visit.send(api.search_person(form.get("login", "").strip() or "?"))
    except Refused as refused:
        return desk.page("people.html", 404, error=refused.message)
    return desk.visit.go(f"/console/people/{person.id}")


@router.get("/people/{user_id:uuid}")
async def show_person(desk: Staff, user_id: UUID) -> Response:
    """Show a person and everything that happened."""
    seen = await desk.visit.send(api.person(user_id))
    holder = await desk.visit.send(api.holder(user_id, seen.person.number, seen.person.first_login_at))
    now_text, is_no = judgement(holder.judged, has_come=seen.person.first_login_at is not None)
    if seen.person.why_no_number is not None:
        now_text, is_no = seen.person.why_no_number, True
    return desk.page(
        "person.html",
        person=seen.person,
        steps=steps(seen, holder.judged, holder.timeline),
        now_text=now_text,
        is_no=is_no,
    )


@router.get("/log")
async def show_log(
    desk: Staff,
    service: str = "promotions",
    before: str = "",
    actor: str = "",
    action: str = "",
    subject: str = "",
) -> Response:
    """List who changed what, filtered."""
    service = service if service in {"identity", "promotions"} else "promotions"
    filters = {"actor": actor.strip(), "action": action.strip(), "subject": subject.strip()}
    entries, following, error = [], None, None
    try:
        page = await desk.visit.send(
            api.log(
                cast("Service", service),
                before=before or None,
                limit=50,
                actor=filters["actor"] or None,
                action=filters["action"] or None,
                subject=UUID(filters["subject"]) if filters["subject"] else None,
            )
        )
        entries, following = page.entries, page.next
    except ValueError:
        error = "Subject: give an id."
    except Refused as refused:
        error = refused.message
    return desk.page(
        "log.html",
        422 if error else 200,
        service=service,
        filters=filters,
        entries=entries,
        next=following,
        error=error,
    )
