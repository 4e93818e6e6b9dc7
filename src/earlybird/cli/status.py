"""`earlybird status`: how everything is, what is wrong, and what to do first."""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from earlybird.cli.deployment import DataDir, plain_console, print_json, stack_targets
from earlybird.errors import Failure
from earlybird.settings import Settings
from earlybird.status.targets import parse_targets

_FINE, _WRONG, _CANNOT_BE_ASKED = 0, 1, 2
_EVERY_SECONDS = 2.0
_ONCE_SECONDS = 1.0  # between the two looks of --once: rates come from their difference
_LOOKS_KEPT = 6  # rates are those of the last ten seconds


def status(
    *,
    data_dir: DataDir = None,
    targets: Annotated[
        str,
        Parameter(
            help="processes to ask, name=url,name=url [default: EARLYBIRD_STATUS_TARGETS, or the local stack]"
        ),
    ] = "",
    once: Annotated[bool, Parameter(negative="", help="show it once, after a second")] = False,
    json: Annotated[bool, Parameter(negative="", help="once, for programs")] = False,
) -> int:
    """Show how every process is, what is wrong, and what to do first; live, until Ctrl-C.

    Exit status of --once and --json: 0 nothing is wrong, 1 something is, 2 nobody could be asked.
    """
    try:
        find_targets = _targets(data_dir, targets)
        return asyncio.run(_watch(find_targets, once=once or json, as_json=json))
    except KeyboardInterrupt:
        return _FINE
    except Failure as error:
        print(f"earlybird: {error}", file=sys.stderr)  # noqa: T201  # with an exit status of its own
        return _CANNOT_BE_ASKED


def _targets(data_dir: Path | None, named: str) -> Callable[[], Mapping[str, str]]:
    """Return what tells the addresses to ask; of a local stack they are read each time."""
    if not named and data_dir is None:
        named = Settings().status_targets
    if found := parse_targets(named):
        return lambda: found
    return lambda: stack_targets(data_dir)


async def _watch(find_targets: Callable[[], Mapping[str, str]], *, once: bool, as_json: bool) -> int:
    from rich.live import Live

    from earlybird.status.asking import Asker
    from earlybird.status.looks import Look
    from earlybird.status.report import make_report
    from earlybird.status.screen import draw

    console, looks = plain_console(), deque[Look](maxlen=_LOOKS_KEPT)
    async with aclosing(Asker(Settings().identity_ca_file)) as asker:
        looks.append(await asker.look(find_targets()))
        if all(process.problem for process in looks[0].processes.values()):
            raise Failure("no process answers: is the system running, and are the addresses right?")
        await asyncio.sleep(_ONCE_SECONDS)
        looks.append(await asker.look(find_targets()))
        report = make_report(looks[0], looks[-1], time.time())
        if as_json:
            print_json(report.as_json())
        elif once:
            console.print(draw(report), soft_wrap=not console.is_terminal)
        if once or as_json:
            return _FINE if report.is_fine else _WRONG
        with Live(draw(report), console=console, screen=console.is_terminal, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(_EVERY_SECONDS)
                looks.append(await asker.look(find_targets()))
                live.update(draw(make_report(looks[0], looks[-1], time.time())), refresh=True)
