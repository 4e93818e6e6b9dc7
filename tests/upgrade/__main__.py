"""`make upgrade`: from the version before to this one and back, one process after another, while people come.

Every request counts, nothing is sent twice, and both versions audit at every stage.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import httpx2
from rich.console import Console

from journey.stack_client import eventually
from journey.test_failures import repeated
from upgrade.deployment import ROLES, Deployment, running_deployment
from upgrade.versions import Version, this_version, version_before
from upgrade.visitors import Visitors

_AT_ONCE = 2
_NEWCOMERS, _PLACES = 30, 12  # in each stage: come at least, are added to the campaign
_SETTINGS = {
    "EARLYBIRD_PASSWORD_MEMORY_KIB": "8",
    "EARLYBIRD_PASSWORD_ITERATIONS": "1",
    "EARLYBIRD_SOURCE_REGISTRATIONS": "1000000",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}
_console = Console(highlight=False, markup=False, soft_wrap=True)


class Trial:
    """The way there and back, stage by stage."""

    def __init__(self, deployment: Deployment, visitors: Visitors, old: Version, new: Version) -> None:
        """Begin with nobody, and a campaign without a place."""
        self._deployment, self._visitors = deployment, visitors
        self._old, self._new = old, new
        self._newest = old  # of the versions that have been at work here
        self.places = 0

    async def run(self) -> None:
        """Go there and back."""
        old, new = self._old, self._new
        await self._stage(f"all {old.name}", self._nothing)
        await self._stage(f"schema of {new.name}", self._migrate)
        for name in ROLES:
            await self._stage(f"{name} → {new.name}", partial(self._deployment.replace, name, new))
        for name in reversed(ROLES):
            await self._stage(f"{name} → {old.name}", partial(self._deployment.replace, name, old))

    async def end(self) -> None:
        """See that everybody who is to have a voucher has one, and nobody else."""
        self._visitors.stage = "afterwards"
        everybody = iter(self._visitors.away)

        async def ask() -> None:
            for known in everybody:
                await self._visitors.look_and_spend(known)

        await asyncio.gather(*(ask() for _ in range(_AT_ONCE)))
        self._no_failure()
        winners = sum(known.spent is not None for known in self._visitors.away)
        assert len(self._visitors.away) > self.places, "the campaign is not sold out"
        assert winners == self.places, f"{winners} people have spent a voucher, {self.places} were to be had"

    async def _stage(self, stage: str, act: Callable[[], Awaitable[None]]) -> None:
        began = time.monotonic()
        self._visitors.stage = stage
        await act()
        # Everybody who waits gets a voucher, and so do the next.
        self.places = self._visitors.came.total() + _PLACES
        await self._deployment.command(self._newest, "campaign", "edit", "--number", str(self.places))
        await eventually(lambda: self._visitors.came[stage] >= _NEWCOMERS or bool(self._visitors.failures))
        audits = (self._deployment.command(version, "audit") for version in {self._old, self._newest})
        assert all("Audit passed" in said for said in await asyncio.gather(*audits))
        self._no_failure()
        seconds, requests = time.monotonic() - began, self._visitors.requests[stage]
        _console.print(f"{stage}: {requests} requests, none failed; audited ({seconds:.0f} s)")

    async def _migrate(self) -> None:
        self._newest = self._new
        await self._deployment.grant(self._new)
        for line in (await self._deployment.command(self._new, "migrate")).splitlines():
            _console.print(f"  {line}")

    async def _nothing(self) -> None: ...

    def _no_failure(self) -> None:
        assert not self._visitors.failures, "\n".join(self._visitors.failures)


async def main() -> None:
    """Run the trial, and say what came of it."""
    for name in [name for name in os.environ if name.startswith("EARLYBIRD_")]:
        del os.environ[name]
    os.environ.update(_SETTINGS)
    with tempfile.TemporaryDirectory(prefix="earlybird-upgrade-") as name:
        folder = Path(name)
        old = version_before(folder / "old")
        new, is_tried = this_version(folder / "new")
        if is_tried:
            _console.print(f"{new.name} has no migration of its own: it is given one for the trial")
        limits = httpx2.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
        async with running_deployment(folder / "data", old) as deployment:
            what = ["--name", "Upgrade", "--discount", "30", "--number", "1", "--open"]
            await deployment.command(old, "campaign", "create", *what)
            async with httpx2.AsyncClient(base_url=deployment.url, trust_env=False, limits=limits) as http:
                visitors = Visitors(http)
                trial = Trial(deployment, visitors, old, new)
                async with repeated(visitors.visit, _AT_ONCE):
                    await trial.run()
                await trial.end()
        again = sum(visitors.spent_again.values())
        _console.print(
            f"{visitors.requests.total()} requests, 0 failed; {sum(visitors.came.values())} people; exactly "
            f"{trial.places} vouchers, each spent once; {again} purchases told again as they were"
        )


if __name__ == "__main__":
    asyncio.run(main())
