"""`python -m earlybird.cli.first_schema`: what `earlybird up` does to the database before it serves.

It brings the schema up to date, and opens a campaign of 100 vouchers at 30 % if there was never one.
"""

import asyncio

from earlybird.identity.app import migrate_identity
from earlybird.promotions.app import migrate_promotions, open_first_campaign
from earlybird.settings import Settings


async def prepare(settings: Settings) -> None:
    """Do both. Safe to repeat."""
    await migrate_identity(settings)
    await migrate_promotions(settings)
    await open_first_campaign(settings)


if __name__ == "__main__":
    asyncio.run(prepare(Settings()))
