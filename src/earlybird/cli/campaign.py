"""`earlybird campaign`, the commands that change: create, edit, open, close. `campaign_views` has the others."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

from cyclopts import App, Parameter
from pydantic import BaseModel, ValidationError
from uuid_utils.compat import uuid7

from earlybird.cli.campaign_views import list_, place, publish, show, winners
from earlybird.cli.deployment import DataDir, WholeNumber, actor
from earlybird.cli.named_campaign import Json, Which, find_campaign, in_campaigns, print_campaign
from earlybird.errors import Failure
from earlybird.infra.http.refusals import reason

if TYPE_CHECKING:
    from earlybird.infra.mongo import Client
    from earlybird.promotions.campaigns.store import CampaignStore

app = App(name="campaign", help="Run campaigns: create, open, edit, close, and see who won.")
app.command(list_, name="list")
for view in (show, winners, publish, place):
    app.command(view)

M = TypeVar("M", bound=BaseModel)
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
        print_campaign(record, as_json=as_json)

    in_campaigns(data_dir, work)


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
        print_campaign(await campaigns.edit(record.campaign.id, changes, actor()), as_json=as_json)

    in_campaigns(data_dir, work)


@app.command(name="open")
def open_(which: str, *, as_json: Json = False, data_dir: DataDir = None) -> None:
    """Open a draft from now on; one that is scheduled or open stays as it is."""

    async def work(_: "Client", campaigns: "CampaignStore") -> None:
        record = await find_campaign(campaigns, which)
        print_campaign(await campaigns.open(record.campaign.id, actor()), as_json=as_json)

    in_campaigns(data_dir, work)


@app.command
def close(which: Which = None, *, as_json: Json = False, data_dir: DataDir = None) -> None:
    """End a campaign now, or call it off; those who logged in before still get their vouchers."""

    async def work(_: "Client", campaigns: "CampaignStore") -> None:
        record = await find_campaign(campaigns, which)
        print_campaign(await campaigns.close(record.campaign.id, actor()), as_json=as_json)

    in_campaigns(data_dir, work)


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
