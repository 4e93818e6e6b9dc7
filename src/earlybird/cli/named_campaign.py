"""What the commands about campaigns share: which one is meant, and how one is printed."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from cyclopts import Parameter

from earlybird.cli.deployment import deployment, plain_console, print_fields, run
from earlybird.errors import Failure
from earlybird.text import one_line

if TYPE_CHECKING:
    from earlybird.infra.mongo import Client
    from earlybird.promotions.campaigns.records import CampaignRecord
    from earlybird.promotions.campaigns.store import CampaignStore

Which = Annotated[str | None, Parameter(help="id or name; without: the open one, or else the newest")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="print JSON, for programs")]


def in_campaigns(data_dir: Path | None, work: "Callable[[Client, CampaignStore], Awaitable[None]]") -> None:
    """Connect to the deployment's databases, and do the work there."""

    async def connected() -> None:
        from earlybird.infra.mongo import connect_mongo
        from earlybird.promotions import DATABASE
        from earlybird.promotions.campaigns.store import CampaignStore

        async with connect_mongo(deployment(data_dir), "campaign") as client:
            await work(client, CampaignStore(client[DATABASE]))

    run(connected())


async def find_campaign(campaigns: "CampaignStore", which: str | None) -> "CampaignRecord":
    """Find the campaign that is meant, by id or name. Raises Failure."""
    if which is None:
        newest = await campaigns.find_current() or next(iter(await campaigns.find_all(1)), None)
        if newest is None:
            raise Failure("there is no campaign yet: earlybird campaign create")
        return newest
    try:
        return await campaigns.find(UUID(which))
    except ValueError:
        name = _normal(which)
        named = [record for record in await campaigns.find_all(1000) if record.campaign.name == name]
    if len(named) != 1:
        found = "there is no campaign" if not named else f"{len(named)} campaigns are"
        raise Failure(f"{found} named “{which}”: earlybird campaign list shows their ids")
    return named[0]


def _normal(name: str) -> str | None:
    """Return the name as a campaign of this name has it; None if none can have it."""
    from earlybird.promotions.campaigns.shapes import NAME_CHARACTERS

    try:
        return one_line(name, NAME_CHARACTERS)
    except ValueError:
        return None


def shown_campaign(record: "CampaignRecord") -> dict[str, Any]:
    """Return a campaign as the API shows it."""
    from earlybird.promotions.campaigns.shapes import ShownCampaign

    return ShownCampaign.of(record, datetime.now(UTC)).model_dump(mode="json")


def print_campaign(record: "CampaignRecord", *, as_json: bool) -> None:
    """Print a campaign, and how to open a draft."""
    shown = shown_campaign(record)
    print_fields(shown, as_json=as_json)
    if shown["state"] == "draft" and not as_json:
        plain_console().print(f"To open it: earlybird campaign open {record.campaign.id}", soft_wrap=True)
