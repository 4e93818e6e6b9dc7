"""A deployment to restore into: servers of its own."""

from dataclasses import dataclass

from nats.aio.client import Client as NatsClient
from redis.asyncio import Redis

from earlybird.infra.mongo import Client
from earlybird.settings import Settings


@dataclass
class Deployment:
    """Its settings, and connections to it."""

    settings: Settings
    mongo: Client
    broker: NatsClient
    valkey: Redis
