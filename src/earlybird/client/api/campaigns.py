"""What those do who run campaigns, or look at them."""

from typing import Any
from uuid import UUID

from earlybird.client.calls import Call, plain, query, reader
from earlybird.client.shapes import Campaign, Withdrawal

_ONE = reader(Campaign, "campaign")


def campaigns(limit: int = 100) -> Call[list[Campaign]]:
    """List campaigns, newest first."""
    return Call("GET", "/campaigns", reader(list[Campaign], "campaigns"), query=query(limit=limit))


def campaign(campaign_id: UUID) -> Call[Campaign]:
    """See one campaign."""
    return Call("GET", f"/campaigns/{campaign_id}", _ONE)


def create_campaign(**terms: Any) -> Call[Campaign]:  # noqa: ANN401  # the fields of POST /campaigns
    """Make a campaign: a draft, or with `starts_at` one that starts by itself then."""
    return Call("POST", "/campaigns", _ONE, plain(terms), is_repeatable=False)


def edit_campaign(campaign_id: UUID, **changes: Any) -> Call[Campaign]:  # noqa: ANN401
    """Change fields of a campaign; None takes an optional one away."""
    return Call("PATCH", f"/campaigns/{campaign_id}", _ONE, plain(changes))


def open_campaign(campaign_id: UUID) -> Call[Campaign]:
    """Open a draft from now on; one that is open stays as it is."""
    return Call("POST", f"/campaigns/{campaign_id}/open", _ONE)


def close_campaign(campaign_id: UUID) -> Call[Campaign]:
    """End a campaign now, or call it off."""
    return Call("POST", f"/campaigns/{campaign_id}/close", _ONE)


def withdraw(
    campaign_id: UUID,
    *,
    reason: str,
    user_id: UUID | None = None,
    voucher_id: UUID | None = None,
    replace: bool = False,
) -> Call[Withdrawal]:
    """Take a voucher from its owner for good. Twice is as good as once."""
    named = {"user_id": user_id, "voucher_id": voucher_id}
    ids = {name: str(value) for name, value in named.items() if value is not None}
    body = {"reason": reason, "replace": replace, **ids}
    return Call("POST", f"/campaigns/{campaign_id}/withdrawals", reader(Withdrawal, "withdrawal"), body)
