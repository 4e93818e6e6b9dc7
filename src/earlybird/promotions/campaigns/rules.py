"""What may be done with a campaign, and when. Pure: no I/O, no clock.

`now` is a moment after every first login judged so far, so that nothing decided here changes what was granted.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from earlybird.errors import Refusal
from earlybird.life import No, next_state
from earlybird.promotions.campaigns.model import Campaign, CampaignState, Raise


class CampaignEvent(StrEnum):
    """What happens to a campaign."""

    OPEN = "open"
    CLOSE = "close"
    RESCHEDULE = "set the start"
    START = "the start comes"
    END = "the end comes"


_DRAFT, _SCHEDULED, _OPEN, _CLOSED = CampaignState
_ENDED = No("campaign_closed", "This campaign has ended. Create another.")
_NEVER_OPENED = No("campaign_not_open", "This campaign was never opened, so there is nothing to close.")
_STARTED = No("field_in_use", "starts_at: this campaign has started.")
LIFE: Mapping[tuple[CampaignState, CampaignEvent], CampaignState | No] = {
    (_DRAFT, CampaignEvent.OPEN): _OPEN,
    (_DRAFT, CampaignEvent.CLOSE): _NEVER_OPENED,
    (_DRAFT, CampaignEvent.RESCHEDULE): _SCHEDULED,
    (_SCHEDULED, CampaignEvent.OPEN): _SCHEDULED,
    (_SCHEDULED, CampaignEvent.CLOSE): _CLOSED,
    (_SCHEDULED, CampaignEvent.RESCHEDULE): _SCHEDULED,
    (_SCHEDULED, CampaignEvent.START): _OPEN,
    (_OPEN, CampaignEvent.OPEN): _OPEN,
    (_OPEN, CampaignEvent.CLOSE): _CLOSED,
    (_OPEN, CampaignEvent.RESCHEDULE): _STARTED,
    (_OPEN, CampaignEvent.END): _CLOSED,
    (_CLOSED, CampaignEvent.OPEN): _ENDED,
    (_CLOSED, CampaignEvent.CLOSE): _CLOSED,
    (_CLOSED, CampaignEvent.RESCHEDULE): _ENDED,
}
# They are kept in the campaign itself, some 100 bytes each: 1 MB of the 16 MB that a document may have.
MOST_REPLACEMENTS = 10_000
# What a granted voucher carries.
_AMOUNTS = ("min_amount", "max_discount_amount")
_VOUCHER_FIELDS = ("description", "discount", "voucher_days", "currency", "min_amount", "max_discount_amount")


@dataclass(frozen=True, slots=True)
class Moment:
    """When and beside what a campaign is changed."""

    now: datetime
    next_n: int  # the ledger number that is judged next
    others: tuple[Campaign, ...]  # those scheduled or open


def created(draft: Campaign, moment: Moment) -> Campaign:
    """Return a new campaign: one with a start is scheduled, one without stays a draft until it is opened.

    Raises Refusal `invalid_field`, `campaign_overlaps`.
    """
    _check_terms(draft, {"ends_at", *_AMOUNTS}, moment)
    return _placed(draft, moment)


def opened(campaign: Campaign, moment: Moment) -> Campaign:
    """Return the campaign open from now on; one that is scheduled or open stays as it is.

    Raises Refusal `campaign_closed`, `campaign_already_open`, `campaign_overlaps`, `invalid_field`.
    """
    state = campaign.state(moment.now)
    if next_state(LIFE, state, CampaignEvent.OPEN) is state:
        return campaign
    started = replace(campaign, starts_at=moment.now, first_n=moment.next_n)
    _check_window(started, moment)
    return started


def closed(campaign: Campaign, moment: Moment) -> Campaign:
    """Return the campaign ended now, or called off before its start; one that has ended stays as it is.

    Raises Refusal `campaign_not_open` for a draft.
    """
    state = campaign.state(moment.now)
    if next_state(LIFE, state, CampaignEvent.CLOSE) is state:
        return campaign
    return replace(campaign, ends_at=campaign.starts_at if state is CampaignState.SCHEDULED else moment.now)


def edited(campaign: Campaign, changes: Mapping[str, Any], granted: int, moment: Moment) -> Campaign:
    """Return the campaign with these fields changed, as far as nothing depends on them yet.

    `granted` is how many of its vouchers there are, those withdrawn too. Raises Refusal `field_in_use`,
    `campaign_closed`, `number_below_granted`, `campaign_overlaps`, `invalid_field`.
    """
    changes = {name: value for name, value in changes.items() if getattr(campaign, name) != value}
    state = campaign.state(moment.now)
    for name in changes:
        if granted and name in _VOUCHER_FIELDS:
            raise Refusal("field_in_use", f"{name}: vouchers were granted on these terms. Open another campaign.")
        if name == "ends_at" and state is CampaignState.CLOSED:
            raise Refusal("campaign_closed", "ends_at: this campaign has ended.")
        if name == "starts_at":
            next_state(LIFE, state, CampaignEvent.RESCHEDULE)
    new = replace(campaign, **changes)
    _check_terms(new, changes, moment)
    if "number_of_promotion" in changes:
        new = _renumbered(campaign, new, granted, moment.now)
    if "starts_at" in changes:
        return _placed(replace(new, first_n=None), moment)
    if "ends_at" in changes and state is not CampaignState.DRAFT:
        _check_window(new, moment)
    return new


def _renumbered(old: Campaign, new: Campaign, granted: int, now: datetime) -> Campaign:
    if new.capacity < granted:
        least = granted - new.replacements
        raise Refusal("number_below_granted", f"number_of_promotion: {least} vouchers are granted already.")
    if old.first_n is None or new.number_of_promotion < old.number_of_promotion:
        return new
    return replace(new, raises=(*old.raises, Raise(above=old.capacity, at=now)))


def with_replacement(campaign: Campaign, position: int, moment: Moment) -> Campaign:
    """Return the campaign with one position more, for the withdrawn voucher at `position`; once for each.

    N as a term stays as it is. Raises Refusal `too_many_replacements`.
    """
    if campaign.replaces(position):
        return campaign
    if campaign.replacements >= MOST_REPLACEMENTS:
        raise Refusal(
            "too_many_replacements",
            f"This campaign has replaced {MOST_REPLACEMENTS} vouchers, and can replace no more: raise its number.",
        )
    added = Raise(above=campaign.capacity, at=moment.now, replaces=position)
    return replace(campaign, raises=(*campaign.raises, added))


def _placed(campaign: Campaign, moment: Moment) -> Campaign:
    """Schedule a campaign that has a start."""
    if campaign.starts_at is None:
        return campaign
    if campaign.starts_at <= moment.now:
        raise Refusal("invalid_field", "starts_at: this is in the past; leave it out, and open the campaign.")
    scheduled = replace(campaign, first_n=moment.next_n)
    _check_window(scheduled, moment)
    return scheduled


def _check_terms(campaign: Campaign, changed: Collection[str], moment: Moment) -> None:
    """Check what changes, and that alone: a campaign may be in a state that time or we ourselves have made."""
    for name in _AMOUNTS:
        concerned = name in changed or "currency" in changed
        if concerned and campaign.currency is None and getattr(campaign, name) is not None:
            raise Refusal("invalid_field", f"{name}: an amount needs a currency.")
    if not {"starts_at", "ends_at"} & set(changed) or campaign.ends_at is None:
        return
    if campaign.starts_at is not None and campaign.ends_at <= campaign.starts_at:
        raise Refusal("invalid_field", "ends_at: this is not after the start.")
    if "ends_at" in changed and campaign.ends_at <= moment.now:
        raise Refusal("invalid_field", "ends_at: this is in the past.")


def _check_window(campaign: Campaign, moment: Moment) -> None:
    if campaign.ends_at is not None and campaign.ends_at <= moment.now:
        raise Refusal("invalid_field", "ends_at: this is in the past.")
    for other in _overlapping(campaign, moment.others):
        if campaign.state(moment.now) is other.state(moment.now) is CampaignState.OPEN:
            raise Refusal("campaign_already_open", "A campaign is open already: close it first.")
        raise Refusal(
            "campaign_overlaps",
            f"The campaign would run at the same time as “{other.name}”: let one end before the other starts.",
        )


def _overlapping(campaign: Campaign, others: Iterable[Campaign]) -> Iterable[Campaign]:
    for other in others:
        if other.id != campaign.id and _begins_before_end(campaign, other) and _begins_before_end(other, campaign):
            yield other


def _begins_before_end(one: Campaign, other: Campaign) -> bool:
    return one.starts_at is not None and (other.ends_at is None or one.starts_at < other.ends_at)
