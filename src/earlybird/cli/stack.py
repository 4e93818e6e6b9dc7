"""`earlybird up` and `demo`: the whole system on this machine."""

import asyncio
import json
import shlex
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from earlybird.cli.audit import run_audit
from earlybird.cli.deployment import DATA_DIR, WholeNumber, plain_console, read_stack, run, stack_settings
from earlybird.errors import Failure

Verify = Literal["nothing", "email", "phone", "email_and_phone"]
Folder = Annotated[Path, Parameter(help="folder of the local stack")]


def up(
    *,
    port: Annotated[
        WholeNumber,
        Parameter(
            help="port of the one address, on loopback; 0: any that is free", validator=Number(gte=0, lte=65535)
        ),
    ] = 8080,
    data_dir: Folder = DATA_DIR,
    members: Annotated[Literal[1, 3], Parameter(help="mongod and nats-server: one of each, or three")] = 1,
    trusted_proxies: Annotated[
        WholeNumber,
        Parameter(
            help="proxies in front that are believed about who sends a request (`X-Forwarded-For`)",
            validator=Number(gte=0, lte=8),
        ),
    ] = 0,
    tls_port: Annotated[
        WholeNumber, Parameter(help="port for TLS, on loopback", validator=Number(gte=1, lte=65535))
    ] = 8443,
    tls_certificate: Annotated[
        Path | None, Parameter(help="PEM file of the certificate chain; with it, TLS is served too")
    ] = None,
    tls_key: Annotated[Path | None, Parameter(help="PEM file of the private key")] = None,
    verify: Annotated[
        Verify,
        Parameter(help="contacts that a new account must confirm; `earlybird mail` shows the codes"),
    ] = "nothing",
    fresh: Annotated[bool, Parameter(negative="", help="drop the data of an earlier run first")] = False,
) -> int:
    """Start the whole system on this machine, with real servers, and keep it running until Ctrl-C."""
    from earlybird.stack.routing import Tls
    from earlybird.stack.up import Modules, UpOptions
    from earlybird.stack.up import up as run_stack

    if (tls_certificate is None) != (tls_key is None):
        raise Failure("give both --tls-certificate and --tls-key, or neither")
    for file in (tls_certificate, tls_key):
        if file is not None and not file.is_file():
            raise Failure(f"{file}: there is no such file")
    tls = Tls(tls_port, tls_certificate, tls_key) if tls_certificate and tls_key else None
    options = UpOptions(
        port=port,
        data_dir=data_dir,
        members=members,
        fresh=fresh,
        trusted_proxies=trusted_proxies,
        tls=tls,
        verify=verify,
    )
    announce = partial(_announce, data_dir, verify)
    modules = Modules("earlybird.cli.imported_once", "earlybird.cli.first_schema")
    return asyncio.run(run_stack(options, modules, announce))


def demo(
    *,
    users: Annotated[
        WholeNumber,
        Parameter(help="how many people to register and log in at once", validator=Number(gte=1, lte=1_000_000)),
    ] = 300,
    data_dir: Folder = DATA_DIR,
) -> None:
    """Register and log in many people at once against the running stack, show who won, and audit."""
    from earlybird.demo import Demo

    settings, console = stack_settings(data_dir), plain_console()
    if read_stack(data_dir).get("verify", "nothing") != "nothing":
        raise Failure("the demo's people have no mailboxes: start the stack without --verify")

    async def work() -> None:
        from earlybird.infra.mongo import connect_mongo

        async with connect_mongo(settings, "demo") as client:
            await Demo(read_stack(data_dir)["url"], client, console).run(users)
        await run_audit(settings, console, 10)

    run(work())


def _how_to_confirm(url: str, verify: Verify, where: str) -> str:
    contacts = {"email": "ada@example.com", "phone": "+84912345678"}
    bodies = [
        json.dumps({"username": "ada", "contact": contact, "code": f"from earlybird mail{where}"})
        for channel, contact in contacts.items()
        if channel in verify.split("_")
    ]
    send = "-H 'Content-Type: application/json' -d"
    return "".join(f"curl -s {url}/verifications/confirm {send} '{body}'\n" for body in bodies)


def _command() -> str:
    """Say how this program was started, as another terminal can start it too."""
    program = Path(sys.argv[0])
    return shlex.join([str(program)] if program.name == "earlybird" else [sys.executable, "-m", "earlybird"])


def _announce(data_dir: Path, verify: Verify, url: str) -> None:
    register = {
        "username": "ada",
        "email": "ada@example.com",
        "phone": "+84912345678",
        "password": "correct horse battery",
        "full_name": "Ada Lovelace",
        "birthday": "1990-12-10",
    }
    login = {"username": "ada", "password": "correct horse battery"}
    topup = {"order_id": "topup-1", "amount": 100_000, "currency": "VND"}
    send = "-H 'Content-Type: application/json' -d"
    needs_curl = "" if shutil.which("curl") else " (with curl, which is not installed here)"
    where = "" if data_dir == DATA_DIR else f" --data-dir {shlex.quote(str(data_dir))}"
    confirm = _how_to_confirm(url, verify, where)
    crowd = f"\nOr 300 people at once:  {_command()} demo --users 300{where}" if verify == "nothing" else ""
    picking = """python3 -c 'import json,sys; print(json.load(sys.stdin)["token"])'"""
    print(  # noqa: T201  # to be copied, so unadorned
        f"""
earlybird is running: open {url} in a browser (its API: {url}/docs). Or try, in another terminal{needs_curl}:

curl -s {url}/register {send} '{json.dumps(register)}'
{confirm}TOKEN=$(curl -s {url}/login {send} '{json.dumps(login)}' | {picking})
curl -s {url}/voucher -H "Authorization: Bearer $TOKEN"
curl -s {url}/voucher/redemptions -H "Authorization: Bearer $TOKEN" -H 'Idempotency-Key: topup-1' \\
  {send} '{json.dumps(topup)}'
{crowd}
Stop with Ctrl-C.""",
        flush=True,
    )
