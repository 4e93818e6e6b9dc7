"""What people can ask: which place is mine."""

from dataclasses import dataclass
from datetime import datetime

from earlybird.promotions.campaigns.records import CampaignRecord
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.places.model import Standing, standing_without_a_place
from earlybird.promotions.places.store import PlaceStore


@dataclass(frozen=True, slots=True)
class FoundPlace:
    """Where somebody stands."""

    standing: Standing
    campaign: CampaignRecord | None  # the one that counted them; else the open one, or the last that began
    place: int | None
    is_withdrawn: bool = False  # the voucher was taken back

    @property
    def has_won(self) -> bool:
        """Tell whether there was a voucher for this place."""
        return self.place is not None and self.campaign is not None and self.place <= self.campaign.granted


class Places:
    """Places. Every method raises Unavailable when MongoDB is away."""

    def __init__(self, places: PlaceStore, campaigns: CampaignStore) -> None:
        self._places = places
        self._campaigns = campaigns

    async def find(self, came: tuple[int, datetime] | None, *, is_staff: bool) -> FoundPlace:
        """Return where somebody stands: number and time of whose first login are `came` (None: no number yet)."""
        run, placed = (None if came is None else await self._places.find(came[0])), 0
        if came is not None and run is None:
            placed = await self._places.placed()
            run = await self._places.find(came[0])  # again: the placer may have come between
        if came is not None and run is not None:
            of, place = await self._campaigns.find(run.campaign_id), run.place(came[0]) or 0
            taken = place <= of.granted and await self._places.is_withdrawn(run.campaign_id, place)
            return FoundPlace(Standing.COUNTED, of, place, taken)
        record = await self._campaigns.find_latest_begun()
        campaign = None if record is None else record.campaign
        return FoundPlace(standing_without_a_place(campaign, came, placed, is_staff=is_staff), record, None)
