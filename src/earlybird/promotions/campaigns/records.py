"""Campaigns as they are stored: a document of the collection `campaigns`, and what it says."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime

from earlybird.errors import Refusal
from earlybird.infra.mongo import Document
from earlybird.promotions.campaigns.model import Campaign, CampaignState, Raise

_PLAIN_FIELDS = [field.name for field in fields(Campaign) if field.name not in {"id", "raises"}]


@dataclass(frozen=True, slots=True)
class CampaignRecord:
    """A campaign as it is stored."""

    campaign: Campaign
    remaining: int
    is_available: bool  # it is open now
    created_at: datetime
    updated_at: datetime
    last_winner_at: datetime | None = None  # when the last winner so far came; unknown in version 0.1
    reread_n: int | None = None  # positions were added: first logins after this number are judged a second time

    @property
    def granted(self) -> int:
        """How many vouchers there are, those withdrawn too."""
        return self.campaign.capacity - self.remaining

    def state(self, now: datetime) -> CampaignState:
        """Tell where the campaign stands."""
        return CampaignState.OPEN if self.is_available else self.campaign.state(now)


def campaign_of(document: Document) -> Campaign:
    """Read a document of the collection `campaigns`."""
    raises = tuple(Raise(**step) for step in document["raises"])
    return Campaign(id=document["_id"], raises=raises, **{name: document[name] for name in _PLAIN_FIELDS})


def campaign_record_of(document: Document | None) -> CampaignRecord:
    """Read a document of `campaigns`, with what has become of it. Raises Refusal `campaign_not_found` for None."""
    if document is None:
        raise Refusal("campaign_not_found", "There is no such campaign.")
    return CampaignRecord(
        campaign_of(document),
        document["remaining_promotion"],
        document["is_available"] == 1,
        document["created_at"],
        document["updated_at"],
        document.get("last_winner_at"),
        document.get("reread_n"),
    )


def terms_of(campaign: Campaign) -> Document:
    """Return a campaign's fields as they are stored and noted."""
    return asdict(campaign) | {"raises": [step_of(step) for step in campaign.raises]}


def step_of(step: Raise) -> Document:
    """Return a change of the number as it is stored; what it does not have is left out."""
    return {name: value for name, value in asdict(step).items() if value is not None}


def document_of(record: CampaignRecord) -> Document:
    """Write a document of the collection `campaigns`."""
    fields = terms_of(record.campaign)
    progress = {} if record.reread_n is None else {"reread_n": record.reread_n}
    return {
        "_id": fields.pop("id"),
        **fields,
        **progress,
        "remaining_promotion": record.remaining,
        "is_available": int(record.is_available),
        "last_winner_at": record.last_winner_at,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }
