"""Roles: the long-running parts that a process is made of."""

import asyncio
from typing import Protocol


class Role(Protocol):
    """Something that runs until it is cancelled, and then stops cleanly."""

    async def run(self) -> None:
        """Run; being cancelled is the one way to stop."""


class RoleGroup:
    """Several roles run as one: if one fails, all stop."""

    def __init__(self, *roles: Role) -> None:
        """Run these together."""
        self._roles = roles

    async def run(self) -> None:
        """Run all until cancelled or until one fails; raises what it raised, in an ExceptionGroup."""
        async with asyncio.TaskGroup() as group:
            for role in self._roles:
                group.create_task(role.run())
