"""All workers in this process: from first login to voucher, and from a raised number to those next in line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client as NatsClient
from people import running
from redis.asyncio import Redis

from earlybird.identity.ledger import Ledger
from earlybird.identity.relay import Relay
from earlybird.identity.sequencer import Sequencer
from earlybird.infra.mongo import Client
from earlybird.promotions.campaign_store import CampaignStore
from earlybird.promotions.caretaker import Caretaker
from earlybird.promotions.granter import Granter
from earlybird.promotions.store import VoucherStore
from earlybird.promotions.voucher_cache import VoucherCache


@asynccontextmanager
async def workers(mongo: Client, broker: NatsClient, valkey: Redis, *, copies: int = 1) -> AsyncIterator[None]:
    """Run sequencer and relay, and so many granters and caretakers, for the length of a block."""
    ledger, appended, jetstream = Ledger(mongo["identity"]), asyncio.Event(), broker.jetstream()
    store, cache = VoucherStore(mongo["promotions"]), VoucherCache(valkey, 300, 1)
    campaigns = CampaignStore(mongo["promotions"])
    granters = [Granter(jetstream, store, cache) for _ in range(copies)]
    caretakers = [Caretaker(jetstream, campaigns, store, cache) for _ in range(copies)]
    async with running(Sequencer(ledger, appended), Relay(ledger, jetstream, 1, appended), *granters, *caretakers):
        yield
