"""What those see who look: support and campaign managers."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from earlybird.client.calls import Call, plain, query, reader
from earlybird.client.report_shapes import (
    Curve,
    Figures,
    GrantCurve,
    Holder,
    Name,
    Person,
    PersonWithTimeline,
    Preview,
    Spendings,
    Winners,
    Withdrawals,
)
from earlybird.client.shapes import LogPage


def search_person(login: str) -> Call[Person]:
    """Find a person by user name, e-mail address, phone number or id. Refused with `account_not_found`."""
    return Call("POST", "/people/search", reader(Person, "person"), {"login": login})


def person(user_id: UUID) -> Call[PersonWithTimeline]:
    """See a person, and what happened to the account."""
    return Call("GET", f"/people/{user_id}", reader(PersonWithTimeline))


def names(ids: Iterable[UUID]) -> Call[list[Name]]:
    """See the user names of up to 100 people."""
    return Call("GET", "/people", reader(list[Name], "people"), query=tuple(("id", str(one)) for one in ids))


def holder(user_id: UUID, number: int | None = None, first_login_at: datetime | None = None) -> Call[Holder]:
    """See what happened to a person's vouchers; given number and time of the first login, how it was judged."""
    sent = query(number=number, first_login_at=first_login_at)
    return Call("GET", f"/holders/{user_id}", reader(Holder), query=sent)


def first_logins_curve(first: int = 1, last: int | None = None, points: int = 120) -> Call[Curve]:
    """See how first logins came over time."""
    return Call("GET", "/first-logins/curve", reader(Curve), query=query(first=first, last=last, points=points))


def winners(campaign_id: UUID, after: int = 0, limit: int = 100, user_id: UUID | None = None) -> Call[Winners]:
    """See the winners of a campaign by position, or one person's voucher."""
    sent = query(after=after, limit=limit, user_id=user_id)
    return Call("GET", f"/campaigns/{campaign_id}/winners", reader(Winners), query=sent)


def redemptions(campaign_id: UUID, before: UUID | None = None, limit: int = 100) -> Call[Spendings]:
    """See what was spent and held in a campaign, newest first."""
    sent = query(before=before, limit=limit)
    return Call("GET", f"/campaigns/{campaign_id}/redemptions", reader(Spendings), query=sent)


def withdrawals(campaign_id: UUID, after: int = 0, limit: int = 100) -> Call[Withdrawals]:
    """See the vouchers of a campaign that were taken back."""
    sent = query(after=after, limit=limit)
    return Call("GET", f"/campaigns/{campaign_id}/withdrawals", reader(Withdrawals), query=sent)


def figures(campaign_id: UUID) -> Call[Figures]:
    """See what a campaign has come to."""
    return Call("GET", f"/campaigns/{campaign_id}/figures", reader(Figures))


def grant_curve(campaign_id: UUID, points: int = 120) -> Call[GrantCurve]:
    """See how the vouchers of a campaign were granted over time."""
    return Call("GET", f"/campaigns/{campaign_id}/curve", reader(GrantCurve), query=query(points=points))


def preview_campaign(**terms: Any) -> Call[Preview]:  # noqa: ANN401  # the fields of POST /campaigns
    """See what a new campaign would be."""
    return Call("POST", "/campaigns/preview", reader(Preview), plain(terms))


def preview_change(
    campaign_id: UUID,
    action: Literal["open", "close", "edit"],
    **changes: Any,  # noqa: ANN401
) -> Call[Preview]:
    """See what a change would do. It is refused where the change would be refused."""
    return Call("POST", f"/campaigns/{campaign_id}/preview", reader(Preview), {"action": action, **plain(changes)})


def log(
    service: Literal["identity", "promotions"],
    *,
    before: str | None = None,
    limit: int = 100,
    actor: str | None = None,
    action: str | None = None,
    subject: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Call[LogPage]:
    """See who changed what in a service; `before` is `next` of the page before."""
    sent = query(before=before, limit=limit, actor=actor, action=action, subject=subject, since=since, until=until)
    return Call("GET", f"/audit-log/{service}", reader(LogPage), query=sent)
