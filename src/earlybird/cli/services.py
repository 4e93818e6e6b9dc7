"""`earlybird serve` and `migrate`: the parts of the system, one by one, wherever they run."""

import asyncio
import gc
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

from rich.console import Console

from earlybird.cli.deployment import DataDir, deployment, run
from earlybird.errors import Failure
from earlybird.settings import Settings

_YOUNG_OBJECTS = 10_000  # made before garbage is looked for (Python: 700), most of them of requests under way
RoleName = Literal["identity", "promotions", "relay", "granter", "courier", "webhooks", "pages"]


def serve(*roles: RoleName) -> None:
    """Run these roles in one process until SIGTERM: identity, promotions, relay, granter, courier, webhooks,
    pages.

    They are configured by the environment; see docs/configuration.md.
    """
    gc.disable()  # what is imported stays: looking through it for garbage takes a sixth of the start
    from earlybird.infra.logs import configure_logs

    builders = {role: _builder(role) for role in roles}
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)
    gc.enable()
    if not roles:
        raise Failure("name the roles to run, such as: earlybird serve identity promotions relay granter")
    settings = Settings()
    configure_logs(settings.log_level, "+".join(roles))
    run(_serve([build(settings) for build in builders.values()]))


def _builder(role: RoleName) -> Callable[[Settings], AbstractAsyncContextManager[Any]]:
    """Import what this role needs and nothing else: a process starts sooner, and is smaller."""
    match role:
        case "pages":
            from earlybird.pages.app import pages_role

            return pages_role
        case "identity" | "relay" | "courier":
            from earlybird.identity import app as identity

            return {
                "identity": identity.identity_role,
                "relay": identity.relay_role,
                "courier": identity.courier_role,
            }[role]
        case "promotions" | "granter" | "webhooks":
            from earlybird.promotions import app as promotions

            return {
                "promotions": promotions.promotions_role,
                "granter": promotions.granter_role,
                "webhooks": promotions.webhooks_role,
            }[role]


async def _serve(roles: list[AbstractAsyncContextManager[Any]]) -> None:
    from earlybird.infra.processes import OpenedRole, RoleGroup

    running = asyncio.ensure_future(RoleGroup(*map(OpenedRole, roles)).run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    await asyncio.wait({running})
    if not running.cancelled():
        running.result()


def migrate(*, data_dir: DataDir = None) -> None:
    """Bring the databases' schema up to date; safe to repeat, run it before a new version starts."""
    from earlybird.identity.app import migrate_identity
    from earlybird.promotions.app import migrate_promotions

    settings = deployment(data_dir)

    async def work() -> None:
        new = [*await migrate_identity(settings), *await migrate_promotions(settings)]
        Console().print("\n".join(f"applied {name}" for name in new) or "nothing to do")

    run(work())
