"""`earlybird campaign`: run campaigns, and see who won."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import UUID

from cyclopts import App, Parameter
from pydantic import BaseModel, ValidationError
from rich.table import Column, Table
from uuid_utils.compat import uuid7

from earlybird.cli.deployment import (
    DataDir,
    WholeNumber,
    actor,
    deployment,
    plain_console,
    print_fields,
    print_json,
    run,
)
from earlybird.cli.winners import print_winners, stream_winners, time_cell
from earlybird.errors import Failure
from earlybird.infra.http.refusals import reason
from earlybird.text import one_line

if TYPE_CHECKING:
    from earlybird.infra.mongo import Client
    from earlybird.promotions.campaigns.store import CampaignRecord, CampaignStore

app = App(name="campaign", help="Run campaigns: create, open, edit, close, and see who won.")

M = TypeVar("M", bound=BaseModel)
Which = Annotated[str | None, Parameter(help="id or name; without: the open one, or else the newest")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="print JSON, for programs")]
Time = Annotated[str | None, Parameter(help="ISO 8601 with a time zone, such as 2026-12-01T09:00+07:00")]


@Parameter(name="*")
@dataclass(kw_only=True)
class Terms:
    """What a campaign may have besides; the API's checks are made on it."""

    description: Annotated[str | None, Parameter(help="what those who hold a voucher read")] = None
    days: Annotated[WholeNumber | None, Parameter(help="how many days a voucher can be used [default: 30]")] = None
    starts_at: Time = None
    ends_at: Time = None
    currency: Annotated[str | None, Parameter(help="of the purchases: ISO 4217, such as VND")] = None
    min_amount: Annotated[
        WholeNumber | None, Parameter(help="of a purchase, in minor units; needs --currency")
    ] = None
    max_discount_amount: Annotated[WholeNumber | None, Parameter(help="cap, in minor units; needs --currency")] = (
        None
    )


_FIELDS = {"number": "number_of_promotion", "days": "voucher_days"}  # options that have another name in the API
_WIDE = 120  # columns


@app.command
def create(
    *,
    name: str,
    discount: Annotated[WholeNumber, Parameter(help="percent")],
    number: Annotated[WholeNumber, Parameter(help="how many vouchers there are")],
    terms: Terms | None = None,
    open_now: Annotated[bool, Parameter(name="--open", negative="", help="open it at once")] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Create a campaign. With --starts-at it starts by itself then; without it is a draft until you open it."""
    from earlybird.promotions.campaigns.shapes import NewCampaign

    draft = _checked(NewCampaign, terms, name=name, discount=discount, number=number).draft(uuid7())

    async def work(_: "Client", campaigns: "CampaignStore") -> None:
        record = await campaigns.create(draft, actor())
        if open_now:
            record = await campaigns.open(draft.id, actor())
        _print_one(record, as_json=as_json)

    _work(data_dir, work)


@app.command
def edit(
    which: Which = None,
    *,
    name: str | None = None,
    discount: Annotated[WholeNumber | None, Parameter(help="percent")] = None,
    number: Annotated[WholeNumber | None, Parameter(help="how many vouchers there are")] = None,
    terms: Terms | None = None,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Change a campaign, as far as nothing depends on it yet. A higher --number is given out at once."""
    from earlybird.promotions.campaigns.shapes import CampaignChanges

    changes = _checked(CampaignChanges, terms, name=name, discount=discount, number=number).changes()
    if not changes:
        raise Failure("say what to change, such as --number 200; see earlybird campaign edit --help")

    async def work(_: "Client", campaigns: "CampaignStore") -> None:
        record = await find_campaign(campaigns, which)
        _print_one(await campaigns.edit(record.campaign.id, changes, actor()), as_json=as_json)

    _work(data_dir, work)


@app.command(name="open")
def open_(which: str, *, as_json: Json = False, data_dir: DataDir = None) -> None:
    """Open a draft from now on; one that is scheduled or open stays as it is."""

    async def work(_: "Client", campaigns: "CampaignStore") -> None:
        record = await find_campaign(campaigns, which)
        _print_one(await campaigns.open(record.campaign.id, actor()), as_json=as_json)

    _work(data_dir, work)


@app.command
def close(which: Which = None, *, as_json: Json = False, data_dir: DataDir = None) -> None:
    """End a campaign now, or call it off; those who logged in before still get their vouchers."""

    async def work(_: "Client", campaigns: "CampaignStore") -> None:
        record = await find_campaign(campaigns, which)
        _print_one(await campaigns.close(record.campaign.id, actor()), as_json=as_json)

    _work(data_dir, work)


@app.command(name="list")
def list_(*, as_json: Json = False, data_dir: DataDir = None) -> None:
    """List campaigns, newest first."""

    async def work(_: "Client", campaigns: "CampaignStore") -> None:
        records = await campaigns.find_all(1000)
        if as_json:
            print_json([_shown(record) for record in records])
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

    _work(data_dir, work)


@app.command
def show(which: Which = None, *, as_json: Json = False, data_dir: DataDir = None) -> None:
    """Show a campaign."""

    async def work(_: "Client", campaigns: "CampaignStore") -> None:
        _print_one(await find_campaign(campaigns, which), as_json=as_json)

    _work(data_dir, work)


@app.command
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

    _work(data_dir, work)


@app.command
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

    _work(data_dir, work)


@app.command
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

    _work(data_dir, work)


def _work(data_dir: Path | None, work: "Callable[[Client, CampaignStore], Awaitable[None]]") -> None:
    async def connected() -> None:
        from earlybird.infra.mongo import connect_mongo
        from earlybird.promotions import DATABASE
        from earlybird.promotions.campaigns.store import CampaignStore

        async with connect_mongo(deployment(data_dir), "campaign") as client:
            await work(client, CampaignStore(client[DATABASE]))

    run(connected())


def _checked(shape: type[M], terms: Terms | None, **others: object) -> M:
    """Check what was typed as the API does. Raises Failure, which names the option that is wrong."""
    typed = {**vars(terms or Terms()), **others}
    fields = {_FIELDS.get(option, option): value for option, value in typed.items() if value is not None}
    try:
        return shape.model_validate(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        field = str(problem["loc"][0])
        option = next((option for option, name in _FIELDS.items() if name == field), field).replace("_", "-")
        raise Failure(f"--{option}: {reason(problem)}") from None


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


def _shown(record: "CampaignRecord") -> dict[str, Any]:
    from earlybird.promotions.campaigns.shapes import ShownCampaign

    return ShownCampaign.of(record, datetime.now(UTC)).model_dump(mode="json")


def _print_one(record: "CampaignRecord", *, as_json: bool) -> None:
    shown = _shown(record)
    print_fields(shown, as_json=as_json)
    if shown["state"] == "draft" and not as_json:
        plain_console().print(f"To open it: earlybird campaign open {record.campaign.id}", soft_wrap=True)
