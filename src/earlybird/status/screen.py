"""The report on a terminal: first what is wrong and what to do, then the figures."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from earlybird.status.alarms import Alarm, Finding
from earlybird.status.report import Pipeline, ProcessLine, Report
from earlybird.status.rules import anchor

_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}


def draw(report: Report) -> RenderableType:
    """Draw all of it."""
    return Group(*_verdict(report), Text(), _processes(report), Text(), *_figures(report))


def _verdict(report: Report) -> Iterator[Text]:
    if report.is_fine:
        yield Text("Nothing is wrong.", "bold green")
    for alarm, findings in groupby(report.findings, key=lambda finding: finding.alarm):
        yield from _one_alarm(alarm, findings)


def _one_alarm(alarm: Alarm, findings: Iterable[Finding]) -> Iterator[Text]:
    for finding in findings:
        yield Text.assemble((f"{alarm.severity}: ", _STYLES[alarm.severity]), (finding.summary, "bold"))
    yield Text(f"    {alarm.means}")
    yield Text.assemble("    First: ", alarm.do_first)
    yield Text(f"    docs/runbook.md#{anchor(alarm.section)}", "dim")


def _processes(report: Report) -> Table:
    table = _table("process", "state", "version", "up", "memory")
    for one in report.processes:
        table.add_row(
            one.name,
            _state(one),
            one.version or "-",
            "-" if one.uptime_seconds is None else _long(one.uptime_seconds),
            one.memory,
        )
    return table


def _state(one: ProcessLine) -> Text:
    style = "green" if one.is_ready and not one.note else "yellow" if one.is_ready else "bold red"
    return Text(one.state, style)


def _figures(report: Report) -> Iterator[RenderableType]:
    yield _pipeline(report.pipeline)
    yield from (Text(f"{what:<12} {member}") for what, member in report.leaders)
    services = _table("service", "requests/s", "errors/s", "p50", "p99")
    for one in report.services:
        rates = (f"{one.requests_per_second:.1f}", f"{one.errors_per_second:.1f}")
        services.add_row(one.name, *rates, _short(one.p50_seconds), _short(one.p99_seconds))
    yield services if report.services else Text("no requests in this moment", "dim")
    logins = [f"{outcome} {total:,.0f} ({rate:.1f}/s)" for outcome, (rate, total) in report.logins.items()]
    yield Text(f"logins       {', '.join(logins) or 'none yet'}")
    used = report.resources
    pool = used.hashes_admitted, used.hash_capacity, used.hash_slots
    yield Text("hash pool    {:.0f} of {:.0f} let in, {:.0f} hashed at once".format(*pool))
    hits = "" if used.cache_hit_share is None else f", {used.cache_hit_share:.0%} found"
    yield Text(f"cache        {used.cache_reads_per_second:.1f} reads/s{hits}")
    for name, (messages, seconds) in used.outboxes.items():
        yield Text(f"outbox       {name}: {messages:,.0f} wait, the oldest for {_long(seconds)}")


def _pipeline(line: Pipeline) -> Text:
    def number(value: float | None) -> str:
        return "unknown" if value is None else f"{value:,.0f}"

    def lag(entries: float | None, seconds: float | None) -> str:
        return "—unknown→" if entries is None else f"—{entries:,.0f} wait, {_short(seconds)}→" if entries else "→"

    return Text(
        f"pipeline     ledger {number(line.ledger_head)} {lag(line.relay_lag_entries, line.relay_lag_seconds)} "
        f"stream {number(line.stream_head)} {lag(line.granter_lag_entries, line.granter_lag_seconds)} "
        f"cursor {number(line.cursor)}; {number(line.placer_lag_entries)} without a place\n"
        f"vouchers     {'no campaign is open' if line.vouchers_remaining is None else ''}"
        f"{'' if line.vouchers_remaining is None else f'{line.vouchers_remaining:,.0f} left in the open campaign'}"
    )


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number < 2 else "right", min_width=11 if number == 0 else None)
    return table


def _short(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _long(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
