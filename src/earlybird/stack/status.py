"""What the stack tells: to the person, on the terminal; to programs, in `stack.json`."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from earlybird.stack.child import Child
from earlybird.stack.permissions import write_private


class Progress:
    """Lines on the terminal: what is ready, after how long, and what happens later."""

    def __init__(self, console: Console) -> None:
        """Print to `console`; the time counts from now."""
        self._console = console
        self._began = time.monotonic()
        self._spinner = console.status("Starting")
        self._missing: list[str] = []

    def begin(self, children: Sequence[Child]) -> None:
        """Show what is being waited for, until `end`."""
        self._missing = [child.name for child in children]
        self._spinner.start()
        self._show_missing()

    def ready(self, name: str, note: str) -> None:
        """Say that something is ready, and how long that took since the start."""
        self._missing = [other for other in self._missing if other != name]
        self._show_missing()
        self._line(f"[green]✓[/green] {name:<13}{self.seconds:5.1f} s   [dim]{escape(note)}[/dim]")

    def end(self) -> None:
        """Stop showing what is being waited for; nothing if that is done."""
        self._spinner.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        self._line(escape(text))

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return time.monotonic() - self._began

    def _show_missing(self) -> None:
        self._spinner.update(f"Waiting for {', '.join(self._missing)}" if self._missing else "Starting")

    def _line(self, markup: str) -> None:
        # The terminal may be gone while the stack is still being stopped: rich then ends the process.
        with suppress(OSError, SystemExit):
            self._console.print(markup, highlight=False, soft_wrap=True)


class StackFile:
    """`stack.json`: the addresses of a running stack, and its processes as they are now."""

    def __init__(self, path: Path, addresses: Mapping[str, str], children: Sequence[Child]) -> None:
        """Describe these children in the file at `path`; write nothing yet."""
        self._path = path
        self._addresses = addresses
        self._children = children
        self._is_published = False

    def publish(self) -> None:
        """Write it, and from now on again at every `refresh`."""
        self._is_published = True
        self.refresh()

    def refresh(self) -> None:
        """Write what is now, whole or not at all; nothing before `publish`."""
        if not self._is_published:
            return
        processes = {child.name: _state(child) for child in self._children}
        draft = self._path.with_suffix(".json.new")
        write_private(draft, json.dumps({**self._addresses, "processes": processes}, indent=2) + "\n")
        draft.replace(self._path)

    def withdraw(self) -> None:
        """Remove it; nothing if it is not there."""
        self._is_published = False
        self._path.unlink(missing_ok=True)


def _state(child: Child) -> dict[str, object]:
    pid = child.pid if child.answers else None
    return {"pid": pid, "port": child.program.port, "log": str(child.log)}
