"""The chart and the table of what `overload` measured: docs/overload.svg and the end of docs/overload.md."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = dict[str, Any]

DOCS = Path(__file__).parents[1] / "docs"
_MARK = "<!-- What follows is written by `python bench/overload.py`. -->\n"
_TARGET_MS = 1000
_COLUMNS = (
    *("load", "offered/s", "accepted/s", "of peak", "refused/s", "accepted p50 ms", "accepted p99 ms"),
    *("refused p99 ms", "voucher p99 ms", "healthz p99 ms", "readyz p99 ms", "identity RSS MiB", "errors", "late"),
)
_CORES = ("load", "identity cores", "envoy cores", "mongod cores", "generator cores", "others cores")


def write_report(rows: list[Row]) -> None:
    """Write chart and tables of these rows, the first of which is the peak."""
    best = max(row["accepted/s"] for row in rows)
    rows = [{**row, "of peak": f"{row['accepted/s'] / best:.0%}"} for row in rows]
    document = DOCS / "overload.md"
    prose = document.read_text().partition(_MARK)[0]
    document.write_text(f"{prose}{_MARK}\n{_table(rows, _COLUMNS)}\n{_table(rows, _CORES)}")
    _draw(rows[1:], best)


def _table(rows: list[Row], columns: tuple[str, ...]) -> str:
    lines = [columns, ["---"] * len(columns), *([_cell(row[column]) for column in columns] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: object) -> str:
    return "–" if value is None else str(value)


def _draw(rows: list[Row], best: float) -> None:
    mpl.rcParams["svg.hashsalt"] = "overload"  # the same figures give the same file
    figure = Figure(figsize=(10, 4), layout="constrained")
    rates, times = figure.subplots(1, 2)
    _lines(rates, rows, {"accepted/s": "accepted", "refused/s": "refused (503)"})
    rates.axhline(0.9 * best, color="grey", linestyle=":", label="90 % of the peak")
    rates.set(title="Logins per second", yscale="log")
    _lines(times, rows, {
        "accepted p99 ms": "accepted login", "refused p99 ms": "refused login", "voucher p99 ms": "GET /voucher",
        "healthz p99 ms": "/healthz", "readyz p99 ms": "/readyz",
    })  # fmt: skip
    times.axhline(_TARGET_MS, color="grey", linestyle=":", label="1 s")
    times.set(title="99th percentile of the time to the answer, ms", yscale="log")
    for axes in (rates, times):
        axes.set_xlabel("logins offered, in multiples of the capacity")
        axes.legend(fontsize="small")
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(DOCS / "overload.svg", metadata={"Date": None})


def _lines(axes: Axes, rows: list[Row], columns: dict[str, str]) -> None:
    places = range(len(rows))
    for column, label in columns.items():
        axes.plot(places, [row[column] or float("nan") for row in rows], marker="o", label=label)
    axes.set_xticks(places, [row["load"] for row in rows])
