"""`earlybird user`: give and take roles, disable accounts."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.table import Table

from earlybird.cli.deployment import DataDir, actor, deployment, plain_console, print_json, run

if TYPE_CHECKING:
    from uuid import UUID

    from earlybird.identity.accounts.administration import Account, AccountStore
    from earlybird.infra.mongo import Client
    from earlybird.settings import Settings

app = App(name="user", help="Look after accounts: roles, disabling. People make their accounts themselves.")

Login = Annotated[str, Parameter(help="user name, e-mail address or phone number")]
Role = Annotated[str, Parameter(help="customer, campaign_manager, or support")]


@app.command(name="grant-role")
def grant_role(login: Login, role: Role, *, data_dir: DataDir = None) -> None:
    """Give somebody a role: campaign_manager runs campaigns, support looks and changes nothing."""
    _change(
        data_dir,
        lambda accounts: accounts.grant_role(login, role, actor()),
        lambda account: f"{account.username} has the role {role}; a token has it from the next login on",
    )


@app.command(name="revoke-role")
def revoke_role(login: Login, role: Role, *, data_dir: DataDir = None) -> None:
    """Take a role away. An account without the role customer takes no place among the first to log in."""
    _change(
        data_dir,
        lambda accounts: accounts.revoke_role(login, role, actor()),
        lambda account: f"{account.username} does not have the role {role}",
    )


@app.command
def disable(login: Login, *, data_dir: DataDir = None) -> None:
    """Let nobody use an account from now on: all its sessions end, and nobody can log in to it."""
    _change(
        data_dir,
        lambda accounts: accounts.disable(login, actor()),
        lambda account: f"{account.username} is disabled, and logged out everywhere",
        ends_sessions=True,
    )


@app.command
def logout(login: Login, *, data_dir: DataDir = None) -> None:
    """End all sessions of an account."""
    _change(
        data_dir,
        lambda accounts: accounts.find(login),
        lambda account: f"{account.username} is logged out everywhere",
        ends_sessions=True,
    )


@app.command
def enable(login: Login, *, data_dir: DataDir = None) -> None:
    """Let an account be used again."""
    _change(
        data_dir,
        lambda accounts: accounts.enable(login, actor()),
        lambda account: f"{account.username} can log in",
    )


@app.command
def unlock(login: Login, *, data_dir: DataDir = None) -> None:
    """Let every device log in to an account again that too many wrong guesses have locked."""

    async def work(settings: "Settings") -> None:
        from earlybird.identity import DATABASE
        from earlybird.identity.accounts.administration import AccountStore
        from earlybird.identity.throttle.model import strangers
        from earlybird.infra.mongo import connect_mongo
        from earlybird.infra.valkey import connect_valkey

        async with connect_mongo(settings, "user") as client, connect_valkey(settings, "user") as valkey:
            account = await AccountStore(client[DATABASE], settings.phone_country).unlock(login, actor())
            await valkey.delete(strangers(account.id, "").key)
        plain_console(soft_wrap=True).print(f"{account.username} can log in on every device")

    run(work(deployment(data_dir)))


@app.command
def export(login: Login, *, data_dir: DataDir = None) -> None:
    """Print all that is kept about a person, as JSON: account, place, vouchers, redemptions."""

    async def work(settings: "Settings") -> None:
        from earlybird.infra.mongo import connect_mongo
        from earlybird.operations.privacy import export_person

        async with connect_mongo(settings, "user") as client:
            print_json(await export_person(client, login, settings.phone_country))

    run(work(deployment(data_dir)))


@app.command
def erase(login: Login, *, data_dir: DataDir = None) -> None:
    """Erase a person for good: name, contacts, password. Place and vouchers stay, under the bare id."""

    async def work(settings: "Settings") -> None:
        from earlybird.infra.mongo import connect_mongo
        from earlybird.operations.privacy import erase_person

        async with connect_mongo(settings, "user") as client:
            user_id = await erase_person(client, login, settings.phone_country, actor())
            await _end_sessions(settings, client, user_id)
        plain_console(soft_wrap=True).print(f"Erased. What stays of the person is the id {user_id}.")

    run(work(deployment(data_dir)))


@app.command
def show(
    login: Login,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="print JSON, for programs")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show an account: id, user name, roles, whether it is active, first login."""

    def shown(account: "Account") -> str | Table:
        fields = {
            "id": str(account.id),
            "username": account.username,
            "roles": list(account.roles),
            "is_active": account.is_active,
            "is_locked": account.is_locked,
            "first_login_at": account.first_login_at and account.first_login_at.isoformat(),
        }
        if as_json:
            return json.dumps(fields, indent=2)
        table = Table(show_header=False)
        for name, value in fields.items():
            text = ", ".join(value) if isinstance(value, list) else str(value)
            table.add_row(name, "-" if value is None else text)
        return table

    _change(data_dir, lambda accounts: accounts.find(login), shown)


def _change(
    data_dir: Path | None,
    act: "Callable[[AccountStore], Awaitable[Account]]",
    say: "Callable[[Account], str | Table]",
    *,
    ends_sessions: bool = False,
) -> None:
    """Do something with an account, then say what came of it."""

    async def work() -> None:
        from earlybird.identity import DATABASE
        from earlybird.identity.accounts.administration import AccountStore
        from earlybird.infra.mongo import connect_mongo

        settings = deployment(data_dir)
        async with connect_mongo(settings, "user") as client:
            account = await act(AccountStore(client[DATABASE], settings.phone_country))
            if ends_sessions:
                await _end_sessions(settings, client, account.id)
        plain_console(soft_wrap=True).print(say(account))

    run(work())


async def _end_sessions(settings: "Settings", client: "Client", user_id: "UUID") -> None:
    from earlybird.access.revocation_feed import open_bucket
    from earlybird.access.revocations import ended_sessions
    from earlybird.identity import DATABASE
    from earlybird.identity.accounts.store import UserStore
    from earlybird.infra.nats import connect_nats

    epoch = await UserStore(client[DATABASE]).begin_epoch(user_id)
    async with connect_nats(settings, "user", patience_seconds=10) as broker:
        bucket = await open_bucket(broker.jetstream(), settings.stream_replicas)
        await bucket.put(*ended_sessions(user_id, epoch))
