"""What people can ask: which place is mine."""

from dataclasses import dataclass
from datetime import datetime

from earlybird.promotions.campaigns.store import CampaignRecord, CampaignStore
from earlybird.promotions.places.model import Standing, standing_without_a_place
from earlybird.promotions.places.store import PlaceStore


@dataclass(frozen=True, slots=True)
class FoundPlace:
    """Where somebody stands."""

    standing: Standing
    campaign: CampaignRecord | None  # the one that counted them; else the open one, or the last that began
    place: int | None

    @property
    def has_won(self) -> bool:
        """Tell whether there was a voucher for this place."""
        return self.place is not None and self.campaign is not None and self.place <= self.campaign.granted


class Places:
    """Places. Every method raises Unavailable when MongoDB is away."""

    def __init__(self, places: PlaceStore, campaigns: CampaignStore) -> None:
        self._places = places
        self._campaigns = campaigns

    async def find(self, n: int | None, first_login_at: datetime | None, *, is_staff: bool) -> FoundPlace:
        """Return where whoever is entry n of the ledger stands (None: they are in it not yet, or never)."""
        run, placed = (None if n is None else await self._places.find(n)), 0
        if n is not None and run is None:
            placed = await self._places.placed()
            run = await self._places.find(n)  # again: the placer may have come between
        if run is not None and n is not None:
            return FoundPlace(Standing.COUNTED, await self._campaigns.find(run.campaign_id), run.place(n))
        record = await self._campaigns.find_latest_begun()
        campaign = None if record is None else record.campaign
        standing = standing_without_a_place(campaign, n, first_login_at, placed, is_staff=is_staff)
        return FoundPlace(standing, record, None)
