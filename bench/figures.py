"""What a measurement comes to: figures with their goals, and the table of them."""

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

median = statistics.median
_started = time.monotonic()


def progress(what: str) -> None:
    """Say on standard error what is measured now, and since when."""
    seconds = int(time.monotonic() - _started)
    print(f"[{seconds // 60:2}:{seconds % 60:02}] {what}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Figure:
    """One figure. A goal is a least or a largest value."""

    topic: str
    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def goal(self) -> str:
        """Write the goal."""
        if self.at_least is not None:
            return f"≥ {_short(self.at_least)}"
        return "" if self.at_most is None else f"≤ {_short(self.at_most)}"

    @property
    def verdict(self) -> str:
        """Say whether the goal is met; empty without one."""
        if not self.goal:
            return ""
        met = self.value >= self.at_least if self.at_least is not None else self.value <= (self.at_most or 0)
        return "yes" if met else "no"

    def __str__(self) -> str:
        """Write it in one line."""
        return f"{self.topic}: {self.name}: {_short(self.value)} {self.unit} {self.goal} {self.verdict}".rstrip()


def _short(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(figures: Sequence[Figure]) -> str:
    """Write the figures as a table in Markdown."""
    rows = (
        f"| {one.topic}: {one.name} | {_short(one.value)} {one.unit} | {one.goal} | {one.verdict} |\n"
        for one in figures
    )
    return "".join(["| | figure | goal | met |\n", "|---|---|---|---|\n", *rows])
