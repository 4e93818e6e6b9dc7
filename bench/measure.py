"""`make bench`: measure everything in short, print the figures with their goals, write docs/performance.md.

    make bench [ARGS="login read"]      topics, all if none is named; about 12 minutes

Long measurements have scripts of their own: people.py (100,000 people), growth.py (30 million accounts), steady.py
(half an hour). What they found last stands in results.json too, until they are run again.
"""

import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import capacity
import growth
import latency
import login
import people
import pipeline
import processes
import read
import redemption
import steady
import uvloop
from figures import Figure, table
from performance_report import write_report

RESULTS = Path(__file__).parent / "results.json"
TOPICS: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
    "read": read.measure,
    "login": login.measure,
    "redemption": redemption.measure,
    "pipeline": pipeline.measure,
    "latency": latency.measure,
    "processes": processes.measure,
    "capacity": capacity.measure,
    "people": people.measure,
    "growth": growth.measure,
    "steady": steady.measure,
}


def keep(topic: str, figures: Sequence[Figure]) -> None:
    """Put the figures of one topic into results.json."""
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    stored[topic] = {
        "measured": f"{datetime.now(UTC):%Y-%m-%d}",
        "cores": len(os.sched_getaffinity(0)),
        "figures": [asdict(one) for one in figures],
    }
    RESULTS.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")


async def main(topics: Sequence[str]) -> None:
    """Measure these topics, one after another."""
    cores = os.sched_getaffinity(0)
    for topic in topics:
        os.sched_setaffinity(0, cores)
        figures = await TOPICS[topic]()
        os.sched_setaffinity(0, cores)
        keep(topic, figures)
        print(table(figures), flush=True)
    write_report(json.loads(RESULTS.read_text()))


if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - set(TOPICS)
    if unknown:
        sys.exit(f"there is no topic {', '.join(sorted(unknown))}; there are {', '.join(TOPICS)}")
    uvloop.run(main(sys.argv[1:] or list(TOPICS)))
