"""What people want to hear of without looking: how a campaign stands, what is wrong. Pure: no I/O, no clock."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from uuid import NAMESPACE_URL, uuid5

from earlybird.promotions.campaigns.model import Campaign, CampaignState
from earlybird.promotions.webhooks.model import Event, Topic
from earlybird.times import iso_utc

NEARLY = 0.8  # of the vouchers
_RECENTLY = timedelta(days=1)  # a campaign that closed longer ago is no news


def notices_of(campaign: Campaign, remaining: int, now: datetime) -> Iterator[tuple[str, Event]]:
    """Say what there is to tell of a campaign: each with a key, the same as long as it is the same news."""
    state = campaign.state(now)
    has_just_closed = (
        state is CampaignState.CLOSED and campaign.ends_at is not None and now - campaign.ends_at < _RECENTLY
    )
    if state is not CampaignState.OPEN and not has_just_closed:
        return
    places, granted = campaign.capacity, campaign.capacity - remaining
    yield _news(campaign, Topic.CAMPAIGN_OPENED, "", granted, now, f"is open: {places:,} vouchers.")
    if granted >= NEARLY * places:
        said = f"{granted:,} of {places:,} vouchers are granted."
        yield _news(campaign, Topic.CAMPAIGN_NEARLY_SOLD_OUT, str(places), granted, now, said)
    if remaining == 0:
        said = f"is sold out: all {places:,} vouchers are granted."
        yield _news(campaign, Topic.CAMPAIGN_SOLD_OUT, str(places), granted, now, said)
    if has_just_closed:
        said = f"is closed: {granted:,} of {places:,} vouchers were granted."
        yield _news(campaign, Topic.CAMPAIGN_CLOSED, "", granted, now, said)


def alarm_notice(name: str, topic: Topic, summary: str, do_first: str, now: datetime) -> Event:
    """Say that an alarm has been raised, or that it has ended."""
    text = f"{name}: {summary} {do_first}" if topic is Topic.ALARM_RAISED else f"{name} has ended."
    identity = str(uuid5(NAMESPACE_URL, f"earlybird/{name}/{topic}/{iso_utc(now)}"))
    return _event(identity, topic, name, now, {"alarm": name, "text": text})


def _news(
    campaign: Campaign, topic: Topic, again: str, granted: int, now: datetime, said: str
) -> tuple[str, Event]:
    key = "/".join(filter(None, (str(campaign.id), topic, again)))
    data = {
        "campaign_id": str(campaign.id),
        "name": campaign.name,
        "granted": granted,
        "vouchers": campaign.capacity,
        "text": f"{campaign.name} {said}" if said.startswith("is ") else f"{campaign.name}: {said}",
    }
    return key, _event(str(uuid5(NAMESPACE_URL, f"earlybird/{key}")), topic, str(campaign.id), now, data)


def trial(endpoint_id: str, now: datetime) -> Event:
    """Make the event by which a person tries an endpoint."""
    identity = str(uuid5(NAMESPACE_URL, f"earlybird/test/{endpoint_id}/{iso_utc(now)}"))
    data = {"text": "This is a test of earlybird: it arrived."}
    return _event(identity, Topic.TEST, "test", now, data)


def _event(identity: str, topic: Topic, subject: str, now: datetime, data: Mapping[str, object]) -> Event:
    document = {
        "specversion": "1.0",
        "id": identity,
        "source": "/earlybird/promotions",
        "type": f"earlybird.promotions.{topic}.v1",
        "subject": subject,
        "time": iso_utc(now),
        "datacontenttype": "application/json",
        "data": data,
    }
    return Event(identity, topic, subject, json.dumps(document, separators=(",", ":")).encode())
