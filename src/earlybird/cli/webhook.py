"""`earlybird webhook`: who is told of events, and what could not be delivered."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar
from uuid import UUID

from cyclopts import App, Parameter
from rich.table import Table

from earlybird.cli.deployment import DataDir, actor, deployment, plain_console, print_json, run
from earlybird.errors import Failure, Refusal
from earlybird.text import one_line

if TYPE_CHECKING:
    from earlybird.promotions.webhooks.service import Known, Webhooks

T = TypeVar("T")
Id = Annotated[str, Parameter(help="the webhook, or how its id begins")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="print JSON, for programs")]
_SHOWN = 100
app = App(name="webhook", help="Have other systems and people told of events, signed and in order.")


@app.command
def add(
    address: Annotated[str, Parameter(help="an https URL, or for mail an e-mail address")],
    *,
    kind: Annotated[
        Literal["webhook", "slack", "mail"], Parameter(help="signed events, Slack's format, or mail")
    ] = "webhook",
    topics: Annotated[
        str,
        Parameter(
            help="what it is told of, such as `voucher.granted,campaign.sold_out` "
            "[default: all of vouchers; for Slack and mail all of campaigns and alarms]"
        ),
    ] = "",
    description: Annotated[str, Parameter(help="whose it is")] = "",
    data_dir: DataDir = None,
) -> None:
    """Have an address told of events, and print the secret by which its receiver checks signatures, this once."""
    from earlybird.promotions.webhooks.model import NOTICES, VOUCHERS, Kind, Topic

    known = {topic.value: topic for topic in (*VOUCHERS, *NOTICES)}
    named = [one.strip() for one in topics.split(",") if one.strip()]
    if unknown := [one for one in named if one not in known]:
        raise Failure(f"--topics: there is no {unknown[0]}; there are {', '.join(known)}")
    chosen: tuple[Topic, ...] = tuple(known[one] for one in dict.fromkeys(named))
    chosen = chosen or (VOUCHERS if kind == "webhook" else NOTICES)
    try:
        words = one_line(description or kind, 200)
    except ValueError as error:
        raise Failure(f"--description: {error}") from None
    added, secret = _do(data_dir, lambda webhooks: webhooks.add(Kind(kind), address, chosen, words, actor()))
    console = plain_console(soft_wrap=True)
    console.print(f"{added.endpoint.id} is told of {', '.join(chosen)}")
    if secret is not None:
        console.print(f"Its secret, which is not shown again: {secret}")


@app.command(name="list")
def list_(*, as_json: Json = False, data_dir: DataDir = None) -> None:
    """List webhooks, with what waits for each."""
    found = _do(data_dir, lambda webhooks: webhooks.find_all())
    if as_json:
        from earlybird.promotions.webhooks.shapes import ShownWebhook

        print_json([ShownWebhook.of(one).model_dump(mode="json") for one in found])
        return
    table = Table("webhook", "kind", "host", "description", "topics", "state", "waiting", "dead")
    for one in found:
        state = f"paused: {one.endpoint.paused_because or 'by a person'}" if one.endpoint.is_paused else "on"
        table.add_row(
            str(one.endpoint.id), one.endpoint.kind, one.endpoint.host, one.endpoint.description,
            ", ".join(one.endpoint.topics), state, str(one.waiting), str(one.dead),
        )  # fmt: skip
    plain_console().print(table if found else "There is no webhook: `earlybird webhook add` makes one.")


@app.command
def show(webhook: Id, *, dead: Annotated[bool, Parameter(negative="")] = False, data_dir: DataDir = None) -> None:
    """Show what waits for a webhook, or with --dead what could not be delivered in three days."""

    async def look(webhooks: "Webhooks") -> list[dict[str, object]]:
        from earlybird.promotions.webhooks.shapes import ShownDelivery

        one = await _named(webhooks, webhook)
        found = await webhooks.find_waiting(one.endpoint.id, dead=dead, limit=_SHOWN)
        return [ShownDelivery.of(queue).model_dump(mode="json") for queue in found]

    deliveries = _do(data_dir, look)
    table = Table("subject", "topic", "attempts", "error", "waits since", "next attempt", "behind it")
    names = ("subject", "topic", "attempts", "error", "waits_since", "next_attempt_at", "behind_it")
    for one in deliveries:
        table.add_row(*("-" if one[name] is None else str(one[name]) for name in names))
    plain_console().print(table if deliveries else "Nothing is dead." if dead else "Nothing waits.")


@app.command
def pause(webhook: Id, *, data_dir: DataDir = None) -> None:
    """Let what is for a webhook wait."""
    _pause(webhook, data_dir, is_paused=True)


@app.command
def resume(webhook: Id, *, data_dir: DataDir = None) -> None:
    """Go on with a webhook that was paused."""
    _pause(webhook, data_dir, is_paused=False)


@app.command
def rotate(webhook: Id, *, data_dir: DataDir = None) -> None:
    """Give a webhook a new secret, and print it, this once. For a day the one before signs too."""

    async def work(webhooks: "Webhooks") -> str | None:
        return (await webhooks.rotate((await _named(webhooks, webhook)).endpoint.id, actor()))[1]

    secret = _do(data_dir, work)
    plain_console(soft_wrap=True).print(secret or "Slack and mail have no secret.")


@app.command
def replay(webhook: Id, *, data_dir: DataDir = None) -> None:
    """Have all that is dead delivered after all."""

    async def work(webhooks: "Webhooks") -> int:
        return await webhooks.replay((await _named(webhooks, webhook)).endpoint.id, actor())

    plain_console().print(f"{_do(data_dir, work)} subjects are tried again")


@app.command(name="test")
def try_(webhook: Id, *, data_dir: DataDir = None) -> None:
    """Have a test event delivered; `webhook show` tells if it could not be."""

    async def work(webhooks: "Webhooks") -> None:
        await webhooks.test((await _named(webhooks, webhook)).endpoint.id)

    _do(data_dir, work)
    plain_console().print("The test event is on its way.")


@app.command
def remove(webhook: Id, *, data_dir: DataDir = None) -> None:
    """Remove a webhook, with all that waits for it."""

    async def work(webhooks: "Webhooks") -> UUID:
        one = await _named(webhooks, webhook)
        await webhooks.remove(one.endpoint.id, actor())
        return one.endpoint.id

    plain_console(soft_wrap=True).print(f"{_do(data_dir, work)} is removed")


def _pause(webhook: str, data_dir: DataDir, *, is_paused: bool) -> None:
    from earlybird.promotions.webhooks.service import Changes

    async def work(webhooks: "Webhooks") -> "Known":
        one = await _named(webhooks, webhook)
        return await webhooks.change(one.endpoint.id, Changes(is_paused=is_paused), actor())

    known = _do(data_dir, work)
    said = "is paused; what is for it waits" if is_paused else "goes on"
    plain_console(soft_wrap=True).print(f"{known.endpoint.id} {said}")


async def _named(webhooks: "Webhooks", beginning: str) -> "Known":
    """Return the one webhook whose id begins like this. Raises Failure."""
    found = [one for one in await webhooks.find_all() if str(one.endpoint.id).startswith(beginning.lower())]
    if len(found) != 1 or not beginning:
        raise Failure(f"{len(found)} webhooks begin with {beginning!r}: see `earlybird webhook list`")
    return found[0]


def _do(data_dir: DataDir, work: "Callable[[Webhooks], Awaitable[T]]") -> T:
    settings = deployment(data_dir)
    done: list[T] = []

    async def connected() -> None:
        from earlybird.infra.mongo import connect_mongo
        from earlybird.promotions import DATABASE
        from earlybird.promotions.webhooks.model import networks
        from earlybird.promotions.webhooks.service import Webhooks, webhook_key

        async with connect_mongo(settings, "webhook") as client:
            allowed = networks(settings.webhook_networks)
            webhooks = Webhooks(client[DATABASE], webhook_key(settings), allowed)
            try:
                done.append(await work(webhooks))
            except Refusal as refusal:
                raise Failure(refusal.message) from None

    run(connected())
    return done[0]
