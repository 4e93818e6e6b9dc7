"""`earlybird deploy`: what a deployment on containers needs beside them. See docs/deploying.md."""

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from earlybird.cli.deployment import WholeNumber, plain_console, print_json, run
from earlybird.errors import Failure
from earlybird.settings import Settings

app = App(name="deploy", help="Make the files of a deployment on containers, and prepare its servers.")


@app.command
def files(
    folder: Path,
    /,
    *,
    name: Annotated[
        list[str] | None, Parameter(negative="", help="a name by which clients know the balancer")
    ] = None,
) -> None:
    """Make certificates, passwords, keys and configurations, a folder for each part. Safe to repeat: they stay.

    Certificates with less than 30 days left are made again. Keep the folder as you keep your vault.
    """
    from earlybird.stack.production import write_files

    made = write_files(folder, name or ["localhost"])
    plain_console(soft_wrap=True).print(f"{folder}: {', '.join(made)}")


@app.command
def envoy(
    *,
    in_flight: Annotated[
        WholeNumber,
        Parameter(
            help="registrations and logins of all identities at once: 16 for each hashing slot",
            validator=Number(gte=1, lte=100_000),
        ),
    ],
    trusted_proxies: Annotated[
        WholeNumber,
        Parameter(help="proxies in front that are believed (X-Forwarded-For)", validator=Number(gte=0, lte=8)),
    ] = 0,
) -> None:
    """Print the configuration of the balancer, Envoy, for this version of the services."""
    from earlybird.stack.production import envoy_options

    print_json(envoy_options(Settings(), in_flight, trusted_proxies))


@app.command
def mongodb(
    operator: Path,
    member: Path,
    /,
    *,
    seconds: Annotated[
        WholeNumber, Parameter(help="how long to wait for them", validator=Number(gte=1, lte=3600))
    ] = 300,
) -> None:
    """Make MongoDB's members a replica set, and its users. Safe to repeat; needed again before each new version.

    Two folders that `earlybird deploy files` has made: the operator's, and MongoDB's.
    """
    from earlybird.stack.permissions import Secrets
    from earlybird.stack.production import MONGODB_PORT, hosts, prepare_mongodb

    if not (operator / "secrets.json").is_file() or not (member / "tls.pem").is_file():
        raise Failure("name the folders `operator` and `mongodb` that `earlybird deploy files` has made")

    async def work() -> None:
        members = [f"{host}:{MONGODB_PORT}" for host in hosts("mongodb")]
        try:
            async with asyncio.timeout(seconds):
                await prepare_mongodb(Secrets(operator), members, member / "tls.pem", member / "ca.pem")
        except TimeoutError:
            raise Failure(f"MongoDB has no primary after {seconds} s") from None
        plain_console().print(f"a replica set of {len(members)}, and its users")

    run(work())
