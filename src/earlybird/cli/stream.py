"""`earlybird reset-stream`: the one thing that may have to be done by hand to the stream of first logins."""

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.console import Console

from earlybird.cli.deployment import DATA_DIR, DataDir, deployment, plain_console, run
from earlybird.errors import Failure
from earlybird.settings import Settings

if TYPE_CHECKING:
    from nats.js import JetStreamContext

_STANDSTILL_SECONDS = 60
_POLL_SECONDS = 0.1


def reset_stream(*, data_dir: DataDir = DATA_DIR) -> None:
    """Delete the stream of first logins, if the ledger is sound, and wait until the relay has made it again.

    Nothing is lost: the stream is a copy of the ledger, and who was judged is not judged again.
    """
    run(_reset(deployment(data_dir), plain_console(soft_wrap=True)))


async def _reset(settings: Settings, console: Console) -> None:
    from nats.js.errors import NotFoundError

    from earlybird.events import STREAM
    from earlybird.infra.mongo import connect_mongo
    from earlybird.infra.nats import connect_nats
    from earlybird.operations.audit import prove_ledger

    async with (
        connect_mongo(settings, "reset-stream") as client,
        connect_nats(settings, "reset-stream", patience_seconds=10) as broker,
    ):
        jetstream = broker.jetstream()
        last = await prove_ledger(client, jetstream)
        console.print(f"The ledger is sound: {last} first logins, numbered without a hole.")
        with suppress(NotFoundError):
            await jetstream.delete_stream(STREAM)
        console.print(f"The stream {STREAM} is deleted; the relay makes it again from the ledger.")
        await _until_refilled(jetstream, STREAM, last)
        console.print(f"It is refilled with {last} messages. Now run `earlybird audit`.")


async def _until_refilled(jetstream: "JetStreamContext", stream: str, last: int) -> None:
    """Return once the stream has so many messages, however long it takes. Raises Failure when it grows no more."""
    from nats.js.errors import NotFoundError

    end, grew_at = 0, time.monotonic()
    while end < last:
        if time.monotonic() > grew_at + _STANDSTILL_SECONDS:
            raise Failure(
                f"it is refilled up to {end} of {last}, and has not grown for {_STANDSTILL_SECONDS} s: "
                "does a relay run, and what does it log?"
            )
        await asyncio.sleep(_POLL_SECONDS)
        with suppress(NotFoundError):
            found = (await jetstream.stream_info(stream)).state.last_seq
            if found > end:
                end, grew_at = found, time.monotonic()
