"""docs/performance.md and its plots, from results.json."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from figures import Figure, table
from matplotlib.figure import Figure as Drawing

DOCS = Path(__file__).parents[1] / "docs"
_MARK = "<!-- What follows is written by `make bench`. -->\n"


def write_report(results: dict[str, Any]) -> None:
    """Write the table of all figures behind the prose of the page, and draw the goals."""
    figures = [Figure(**one) for found in results.values() for one in found["figures"]]
    document = DOCS / "performance.md"
    prose = document.read_text().partition(_MARK)[0]
    days = sorted({found["measured"] for found in results.values()})
    cores = max(found["cores"] for found in results.values())
    when = f"Measured from {days[0]} to {days[-1]}" if len(days) > 1 else f"Measured on {days[0]}"
    document.write_text(f"{prose}{_MARK}\n{when}, on {cores} cores.\n\n{table(figures)}")
    _draw([one for one in figures if one.goal])


def _draw(figures: list[Figure]) -> None:
    """Draw each figure against its goal: 1 is the goal, and right of it is better."""
    mpl.rcParams["svg.hashsalt"] = "performance"  # the same figures give the same file
    drawing = Drawing(figsize=(9, 1 + 0.3 * len(figures)), layout="constrained")
    axes = drawing.subplots()
    for row, one in enumerate(reversed(figures)):
        margin = (
            one.value / one.at_least if one.at_least is not None else (one.at_most or 0) / max(one.value, 1e-9)
        )
        axes.barh(row, min(margin, 10) - 1, left=1, color="tab:green" if one.verdict == "yes" else "tab:red")
    axes.set_yticks(range(len(figures)), [f"{one.topic}: {one.name}" for one in reversed(figures)], fontsize=7)
    axes.axvline(1, color="black", linewidth=1)
    axes.set(xscale="log", title="Times better than the goal")
    axes.grid(visible=True, axis="x", alpha=0.3)
    drawing.savefig(DOCS / "performance.svg", metadata={"Date": None})
