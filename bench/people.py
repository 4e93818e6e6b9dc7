"""Many people register and log in at the whole stack, with the cheapest hash, and exactly the first 100 win.

    python bench/people.py [people] [source folder of an older version]

10,000 people as part of `make bench`; 100,000 draw docs/people.svg. With an older version's `src`, that runs
first.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import uvloop
from figures import Figure, progress
from lab import CHEAP, login, person
from matplotlib.figure import Figure as Drawing
from nats.aio.client import Client as NatsClient
from open_loop import Target, answer, post
from stack import Stack, running_stack

from earlybird.events import STREAM
from earlybird.infra.mongo import Client, connect_mongo
from earlybird.infra.nats import connect_nats
from earlybird.settings import Settings

AT_ONCE, WINNERS = 24, 100
ENVIRONMENT = CHEAP | {"EARLYBIRD_SOURCE_REGISTRATIONS": "10000000", "EARLYBIRD_PASSWORD_QUEUE_SECONDS": "10"}
_EVERY_SECONDS = 1.0
_DOCS = Path(__file__).parents[1] / "docs"


class Crowd:
    """People who come as fast as they are served."""

    def __init__(self, stack: Stack, count: int) -> None:
        self._target = Target(stack.port)
        self._numbers = iter(range(count))
        self.logged_in = 0

    async def come(self) -> None:
        """Have all register and log in, some at once."""
        await asyncio.gather(*(self._one_after_another() for _ in range(AT_ONCE)))
        self._target.close()

    async def _one_after_another(self) -> None:
        for i in self._numbers:
            for request in (post("/register", person(i)), post("/login", login(i))):
                while (status := await answer(self._target, request)) != 200:
                    assert status == 503, status
                    await asyncio.sleep(0.5)
            self.logged_in += 1


async def sample(client: Client, broker: NatsClient, crowd: Crowd, stack: Stack, since: float) -> dict[str, Any]:
    """Look at how far everything has come."""
    heads = client["identity"]["head"].find_one({"_id": "head"}), client["promotions"]["cursor"].find_one({})
    head, cursor = await asyncio.gather(*heads)
    granted = await client["promotions"]["vouchers"].count_documents({})
    told = (await broker.jetstream().stream_info(STREAM)).state.last_seq
    return {
        "seconds": asyncio.get_running_loop().time() - since,
        "logged in": crowd.logged_in,
        "in the ledger": head["n"] if head else 0,
        "in the stream": told,
        "judged": cursor["n"] if cursor else 0,
        "vouchers": granted,
        "memory": stack.memory(),
    }


@asynccontextmanager
async def sampled(
    client: Client, broker: NatsClient, crowd: Crowd, stack: Stack
) -> AsyncIterator[list[dict[str, Any]]]:
    """Look every second, until the block ends."""
    samples: list[dict[str, Any]] = []
    since = asyncio.get_running_loop().time()

    async def look() -> None:
        while True:
            samples.append(await sample(client, broker, crowd, stack, since))
            await asyncio.sleep(_EVERY_SECONDS)

    task = asyncio.create_task(look())
    yield samples
    task.cancel()
    samples.append(await sample(client, broker, crowd, stack, since))


async def run(count: int, source: str | None = None) -> tuple[float, list[dict[str, Any]], int]:
    """Have people come; return registrations with login a second, the samples, and the vouchers in the end."""
    changes = ENVIRONMENT | ({"PYTHONPATH": source} if source else {})
    async with running_stack(changes) as stack:
        settings = Settings(mongodb_uri=stack.mongodb_uri, nats_url=stack.nats_url)  # type: ignore[arg-type]
        async with connect_mongo(settings, "bench") as client, connect_nats(settings, "bench") as broker:
            crowd, loop = Crowd(stack, count), asyncio.get_running_loop()
            async with sampled(client, broker, crowd, stack) as samples:
                started = loop.time()
                await crowd.come()
                seconds = loop.time() - started
                while (await client["promotions"]["cursor"].find_one({}) or {}).get("n") != count:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            granted = await client["promotions"]["vouchers"].count_documents({})
        return count / seconds, samples, granted


def growth_of_memory(samples: list[dict[str, Any]]) -> float:
    """Return by how many MiB the process that grew most did, of ours, after the first tenth of the people."""
    begun = next(one for one in samples if one["logged in"] >= samples[-1]["logged in"] / 10)
    ours = ("identity", "promotions", "relay", "granter", "webhooks", "pages")
    names = [name for name in begun["memory"] if name.startswith(ours)]
    return max(samples[-1]["memory"][name] - begun["memory"][name] for name in names)


def draw(samples: list[dict[str, Any]]) -> None:
    """Draw how logins, ledger and cursor went on, and the memory of each process."""
    mpl.rcParams["svg.hashsalt"] = "people"
    drawing = Drawing(figsize=(10, 4), layout="constrained")
    people, memory = drawing.subplots(1, 2)
    seconds = [one["seconds"] for one in samples]
    for name in ("logged in", "in the ledger", "in the stream", "judged", "vouchers"):
        people.plot(seconds, [one[name] for one in samples], label=name)
    for name in samples[0]["memory"]:
        memory.plot(seconds, [one["memory"].get(name) for one in samples], label=name)
    people.set(title="People", xlabel="seconds")
    memory.set(title="Resident memory, MiB", xlabel="seconds")
    for axes in (people, memory):
        axes.legend(fontsize="x-small")
        axes.grid(visible=True, alpha=0.3)
    drawing.savefig(_DOCS / "people.svg", metadata={"Date": None})


async def measure(count: int = 10_000, older: str | None = None) -> list[Figure]:
    """Measure, and return the figures."""
    progress(f"{count:,} people")
    beside = [] if older is None else [(await run(count, older))[0]]
    rate, samples, granted = await run(count)
    if count >= 100_000:
        draw(samples)
    topic = f"{count:,} people"
    return [
        Figure(topic, "registered and logged in, on the cores of all servers", rate, "/s", at_least=392),
        *(Figure(topic, "… times the older version", rate / one, "×", at_least=2) for one in beside),
        Figure(topic, "vouchers", granted, "", at_least=WINNERS, at_most=WINNERS),
        Figure(topic, "growth of memory after the first tenth", growth_of_memory(samples), "MiB", at_most=10),
    ]


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    number = int((sys.argv[1:] or ["10000"])[0])
    figures = uvloop.run(measure(number, *sys.argv[2:3]))
    from measure import keep

    keep(f"people {number}", figures)
    for figure in figures:
        print(figure)
