"""docs/faults.md: the table of all runs, by fault and target."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from statistics import median

from faults.hunt import Hunt
from faults.matrix import SEEDS, cells
from faults.run import HARNESS, Result

_HEAD = """\
# Faults

What happened to the promise when parts of a real cluster were killed, paused, cut off, or lost what they had
stored. This page is written by `make faults` from [faults.jsonl](faults.jsonl), one line for each run.

Each run is a cluster of 3 mongod, 3 nats-server, Valkey, Envoy, and two each of identity, promotions, relay and
granter, on one machine; where ways are to be cut, with a TCP proxy before every server. 400 people register, log
in for the first time, look for a voucher and, if they won one of 100, redeem it, 24 at once through Envoy; each
call is noted with its start, its end and its outcome. 240 come at first; once a random number of them has logged
in the fault begins; four a second come while it lasts, and the others, 40 at least, after it has ended. A fault
that did not come about (nothing was sent along a way that was cut, the disk's owner had nothing to write, no
commit was under way) makes a run void. Then a checker, a pure function of the calls and of what is stored in the
end, looks for anything that may never happen: an acknowledged first login that is not in the ledger or is there
twice, one that came before another in real time and not in the ledger, winners that are not the first 100 who
logged in while the campaign was open, a state seen in between that is no prefix of the final one, a message on any
NATS server that is not the ledger's entry, a voucher or redemption that was there and is gone, a voucher event
told twice. The product's own audit follows, which looks at all earlier runs too: those of a cell share one
cluster, which grows old with them.

![Recovery: a dot for each run, a line at the median, by fault](faults.svg)

- **acknowledged**, **unknown**: first logins with an answer; attempts that ended in a time-out, a cut connection
  or 503, and were made again.
- **violations**: of safety. With none in n runs, the chance of one is below 3/n with 95 % confidence.
- **during**: of the acknowledged, those answered while the fault lasted.
- **late**: runs in which not everything was done 60 s after the last process was started or the last way opened.
- **recovery**: from when all processes were ready again and all ways open until all first logins acknowledged so
  far, and one made after that, were judged (seen every 0.2 s).

`make faults ARGS='--cell "<fault>: <target>" --seed <n>'` runs one again; a seed fixes the people, the fault,
its length and its moment in their progress, but not how the processes of a real machine interleave.
"""
_BEFORE = """\
{:,} of these runs were made with earlier versions, which had Caddy in place of Envoy and the code of that time.
`make faults` makes them again."""
_MUTANTS = """
## Broken on purpose

The same runs on roles that are broken in one place (`make faults ARGS=--mutants`, tests/faults/mutants.py): what
the harness says of each, and in how many runs it was found. Many more are found by the simulation, in `make test`.
"""


def write_report(results: Sequence[Result], hunts: Sequence[Hunt], file: Path) -> None:
    """Write the page anew: all together, mutants, then fault by fault and target by target as in the matrix."""
    runs_of = {cell.name: [run for run in results if run.cell == cell.name] for cell in cells()}
    targets_of: dict[str, dict[str, list[Result]]] = {}
    for name, runs in runs_of.items():
        fault, _, target = name.partition(": ")
        if runs:
            targets_of.setdefault(fault, {})[target] = runs
    whole = {fault: list(chain(*targets.values())) for fault, targets in targets_of.items()}
    wanted = SEEDS * len(runs_of)
    earlier = sum(run.harness < HARNESS for run in results)
    before = [_BEFORE.format(earlier), ""] if earlier else []
    so_far = f"{len(results):,} of {wanted:,} runs so far ({SEEDS} for each of {len(runs_of)} cells); "
    progress = [so_far + "`make faults` goes on with the others.", ""] if len(results) < wanted else []
    lines = [
        _HEAD,
        "## All together",
        "",
        *progress,
        *before,
        *_table("fault", whole),
        _row("**everything**", list(results)),
    ]
    if hunts:
        lines += [_MUTANTS, "| mutant | shown by | runs | found by |", "|---|---|---:|---|"]
        lines += [
            f"| {one.mutant} | {one.cell} | {one.runs} | {one.violation or '**not found**'} |" for one in hunts
        ]
    for fault, targets in targets_of.items():
        lines += ["", f"## {fault[0].upper()}{fault[1:]}", "", *_table("target", targets)]
    file.write_text("\n".join(lines) + "\n")


def _table(what: str, runs_of: Mapping[str, Sequence[Result]]) -> list[str]:
    heading = f"| {what} | runs | acknowledged | during | unknown | violations | late | recovery p50 | max |"
    return [heading, "|---|---:|---:|---:|---:|---:|---:|---:|---:|", *(_row(*item) for item in runs_of.items())]


def _row(name: str, runs: Sequence[Result]) -> str:
    violated = sum(bool(run.violations) for run in runs)
    bound = "" if violated or not runs else f" (< {300 / len(runs):.2g} %)"
    recoveries = [run.recovery_seconds for run in runs if run.recovery_seconds is not None]
    columns = (
        name,
        len(runs),
        sum(run.acknowledged for run in runs),
        sum(run.during for run in runs if run.during is not None),
        sum(run.unknown for run in runs),
        f"{violated}{bound}",
        sum(run.is_late for run in runs),
        *_seconds(recoveries),
    )
    return "| " + " | ".join(map(str, columns)) + " |"


def _seconds(times: Iterable[float]) -> tuple[str, str]:
    known = list(times)
    return (f"{median(known):.1f} s", f"{max(known):.1f} s") if known else ("", "")
