"""`earlybird user`: give and take roles, disable accounts."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich.table import Table

from earlybird.cli.deployment import DataDir, actor, deployment, plain_console, run

if TYPE_CHECKING:
    from earlybird.identity.accounts.administration import Account, AccountStore

app = App(name="user", help="Look after accounts: roles, disabling. People make their accounts themselves.")

Login = Annotated[str, Parameter(help="user name, e-mail address or phone number")]
Role = Annotated[str, Parameter(help="customer, or campaign_manager")]


@app.command(name="grant-role")
def grant_role(login: Login, role: Role, *, data_dir: DataDir = None) -> None:
    """Give somebody a role, such as campaign_manager."""
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
    """Let nobody log in to an account, redeem with it or run campaigns with it, from now on."""
    _change(
        data_dir,
        lambda accounts: accounts.disable(login, actor()),
        lambda account: f"{account.username} is disabled; vouchers can still be seen until the token expires",
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
            "first_login_at": account.first_login_at and account.first_login_at.isoformat(),
        }
        if as_json:
            return json.dumps(fields, indent=2)
        table = Table(show_header=False)
        for name, value in fields.items():
            table.add_row(name, ", ".join(value) if isinstance(value, list) else str(value or "-"))
        return table

    _change(data_dir, lambda accounts: accounts.find(login), shown)


def _change(
    data_dir: Path | None,
    act: "Callable[[AccountStore], Awaitable[Account]]",
    say: "Callable[[Account], str | Table]",
) -> None:
    """Do something with an account, then say what came of it."""

    async def work() -> None:
        from earlybird.identity import DATABASE
        from earlybird.identity.accounts.administration import AccountStore
        from earlybird.infra.mongo import connect_mongo

        settings = deployment(data_dir)
        async with connect_mongo(settings, "user") as client:
            account = await act(AccountStore(client[DATABASE], settings.phone_country))
        plain_console(soft_wrap=True).print(say(account))

    run(work())
