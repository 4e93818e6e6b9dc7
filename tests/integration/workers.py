"""All workers in this process: from first login to voucher, and from a raised number to those next in line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client as NatsClient
from people import running
from redis.asyncio import Redis

from earlybird.identity.ledger.relay import Relay
from earlybird.identity.ledger.sequencer import Sequencer
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.mongo import Client
from earlybird.promotions.campaigns.store import CampaignStore
from earlybird.promotions.granting.caretaker import Caretaker
from earlybird.promotions.granting.granter import Granter
from earlybird.promotions.granting.store import GrantStore
from earlybird.promotions.places.placer import Placer
from earlybird.promotions.places.store import PlaceStore
from earlybird.promotions.vouchers.cache import VoucherCache


@asynccontextmanager
async def workers(
    mongo: Client, broker: NatsClient, valkey: Redis, *, copies: int = 1, replicas: int = 1
) -> AsyncIterator[None]:
    """Run sequencer and relay, and so many granters, caretakers and placers, for the length of a block.

    The stream has so many replicas if it is made.
    """
    ledger, appended, jetstream = Ledger(mongo["identity"]), asyncio.Event(), broker.jetstream()
    store, cache = GrantStore(mongo["promotions"]), VoucherCache(valkey, 300, 1)
    campaigns = CampaignStore(mongo["promotions"])
    granters = [Granter(jetstream, store, cache) for _ in range(copies)]
    caretakers = [Caretaker(jetstream, campaigns, store, cache) for _ in range(copies)]
    placers = [Placer(jetstream, PlaceStore(mongo["promotions"])) for _ in range(copies)]
    numbering = Sequencer(ledger, appended), Relay(ledger, jetstream, replicas, appended)
    async with running(*numbering, *granters, *caretakers, *placers):
        yield
