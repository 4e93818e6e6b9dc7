"""`earlybird campaign`, the commands that look: list, show, who won, the published list, somebody's place."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.table import Column, Table

from earlybird.cli.deployment import DataDir, deployment, plain_console, print_fields, print_json
from earlybird.cli.named_campaign import (
    Json,
    Which,
    find_campaign,
    in_campaigns,
    print_campaign,
    shown_campaign,
)
from earlybird.cli.winners import print_winners, stream_winners, time_cell

if TYPE_CHECKING:
    from earlybird.infra.mongo import Client
    from earlybird.promotions.campaigns.store import CampaignStore

_WIDE = 120  # columns


def list_(*, as_json: Json = False, data_dir: DataDir = None) -> None:
    """List campaigns, newest first."""

    async def work(_: "Client", campaigns: "CampaignStore") -> None:
        records = await campaigns.find_all(1000)
        if as_json:
            print_json([shown_campaign(record) for record in records])
            return
        console = plain_console()
        wide = ("starts (UTC)", "ends (UTC)") if console.width >= _WIDE else ()
        whole = [Column(name, no_wrap=True) for name in ("state", "granted", *wide)]
        table = Table(Column("id", no_wrap=True), "name", *whole)
        for record in records:
            campaign = record.campaign
            cells = [str(campaign.id), campaign.name, record.state(datetime.now(UTC))]
            cells.append(f"{record.granted}/{campaign.capacity}")
            table.add_row(*cells, *map(time_cell, (campaign.starts_at, campaign.ends_at) if wide else ()))
        console.print(table if records else "There is no campaign yet: earlybird campaign create")

    in_campaigns(data_dir, work)


def show(which: Which = None, *, as_json: Json = False, data_dir: DataDir = None) -> None:
    """Show a campaign."""

    async def work(_: "Client", campaigns: "CampaignStore") -> None:
        print_campaign(await find_campaign(campaigns, which), as_json=as_json)

    in_campaigns(data_dir, work)


def winners(
    which: Which = None,
    *,
    as_csv: Annotated[
        bool, Parameter(name="--csv", negative="", help="print all of them as CSV, a stream")
    ] = False,
    as_json: Annotated[
        bool,
        Parameter(name="--json", negative="", help="print all of them as JSON, one object to a line, a stream"),
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """List who won, in order: at most 100 as a table, all of them with --csv or --json."""

    async def work(client: "Client", campaigns: "CampaignStore") -> None:
        from earlybird.operations.winners import read_winners

        record = await find_campaign(campaigns, which)
        rows = read_winners(client, record.campaign.id, datetime.now(UTC))
        if as_csv or as_json:
            await stream_winners(rows, record.granted, as_csv=as_csv)
        else:
            await print_winners(rows, record)

    in_campaigns(data_dir, work)


def publish(
    which: Which = None,
    *,
    to: Annotated[Path | None, Parameter(help="the file [default: earlybird-<id>.jsonl]")] = None,
    data_dir: DataDir = None,
) -> None:
    """Write the list of a campaign, which anybody can verify: commitments, times and winners, nothing personal."""

    async def work(client: "Client", campaigns: "CampaignStore") -> None:
        from earlybird.identity.sessions.signing_keys import KeyFolder
        from earlybird.operations.published.publishing import Publisher

        campaign, settings = (await find_campaign(campaigns, which)).campaign, deployment(data_dir)
        path = to or Path(f"earlybird-{campaign.id}.jsonl")
        publisher = Publisher(client, KeyFolder.of(settings).seal_key(), settings.token_issuer)
        head = await publisher.publish(campaign.id, path)
        entries = head.last_n - head.campaign.first_n + 1
        plain_console(soft_wrap=True).print(
            f"{path}: {entries} first logins, {len(head.winners)} winners. To check it: earlybird verify {path}"
        )

    in_campaigns(data_dir, work)


def place(
    user: Annotated[str, Parameter(help="user name, e-mail address or phone number")],
    *,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Show somebody's place among the first logins that a campaign counted, or why there is none."""

    async def work(client: "Client", _: "CampaignStore") -> None:
        from earlybird.operations.places import find_place

        print_fields(await find_place(client, user, deployment(data_dir).phone_country), as_json=as_json)

    in_campaigns(data_dir, work)
