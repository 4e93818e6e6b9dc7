"""The chart of docs/faults.md: how long recovery took in each run of `make faults`, fault by fault."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.figure import Figure

DOCS = Path(__file__).parents[1] / "docs"
_LIMIT_SECONDS = 60
_LEAST_SECONDS = 0.05  # what was over before it was looked for, on an axis of powers


def draw() -> None:
    """Write docs/faults.svg from docs/faults.jsonl, if there is one: a dot for each run, a line at the median."""
    if not (DOCS / "faults.jsonl").exists():
        return
    times: dict[str, list[float]] = defaultdict(list)
    for line in (DOCS / "faults.jsonl").read_text().splitlines():
        run = json.loads(line)
        if run["recovery_seconds"] is not None:
            times[run["cell"].partition(": ")[0]].append(max(run["recovery_seconds"], _LEAST_SECONDS))
    names = sorted(times, key=lambda name: median(times[name]))
    mpl.rcParams["svg.hashsalt"] = "faults"  # the same figures give the same file
    figure = Figure(figsize=(9, 1 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(names):
        found = times[name]
        spread = [row + 0.5 * (i / len(found) - 0.5) for i in range(len(found))]  # in the order of the runs
        axes.scatter(found, spread, s=7, alpha=0.5, color="tab:blue", linewidths=0)
        axes.vlines(median(found), row - 0.35, row + 0.35, color="black")
    axes.axvline(_LIMIT_SECONDS, color="grey", linestyle=":")
    axes.set(xscale="log", xlabel="seconds from the fault's end until everything acknowledged is judged")
    axes.set_xticks([0.1, 0.3, 1, 3, 10, 30, 60], ["0.1", "0.3", "1", "3", "10", "30", "60"])
    axes.minorticks_off()
    axes.set_yticks(range(len(names)), [f"{name} ({len(times[name])})" for name in names])
    axes.grid(visible=True, axis="x", alpha=0.3)
    figure.savefig(DOCS / "faults.svg", metadata={"Date": None})


if __name__ == "__main__":
    draw()
