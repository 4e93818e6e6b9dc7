"""Somebody's place, for whoever looks it up for them: both services' data."""

from typing import Any

from earlybird import identity, promotions
from earlybird.access.permissions import CUSTOMER
from earlybird.identity.accounts.administration import AccountStore
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.mongo import Client
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.places.model import Standing
from earlybird.promotions.places.service import Places
from earlybird.promotions.places.store import PlaceStore
from earlybird.times import iso_utc


async def find_place(client: Client, login: str, country: str) -> dict[str, Any]:
    """Return what GET /place says, without the receipt. Raises Refusal `account_not_found`."""
    account = await AccountStore(client[identity.DATABASE], country).find(login)
    entry = await Ledger(client[identity.DATABASE]).find_sealed(account.id)
    database = client[promotions.DATABASE]
    found = await Places(PlaceStore(database), CampaignStore(database)).find(
        entry and (entry[0].n, entry[0].first_login_at), is_staff=CUSTOMER not in account.roles
    )
    never_came = account.first_login_at is None and found.standing is Standing.WAITING
    record = found.campaign
    return {
        "username": account.username,
        "standing": str(Standing.NEVER_CAME if never_came else found.standing),
        "place": found.place,
        "has_won": found.has_won,
        "is_withdrawn": found.is_withdrawn,
        "campaign": record and record.campaign.name,
        "total": record and record.campaign.number_of_promotion,
        "granted": record and record.granted,
        "first_login": entry and entry[0].n,
        "first_login_at": account.first_login_at and iso_utc(account.first_login_at),
        "last_winner_at": record and record.last_winner_at and iso_utc(record.last_winner_at),
    }
