"""Make the stream of first logins again from the ledger. Nothing is lost: the stream is a copy of the ledger."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from earlybird.errors import Failure
from earlybird.events import STREAM
from earlybird.infra.mongo import Client
from earlybird.operations.audit import prove_ledger

_STANDSTILL_SECONDS = 60
_POLL_SECONDS = 0.1


async def reset_stream(client: Client, jetstream: JetStreamContext, report: Callable[[str], None]) -> None:
    """Delete the stream if the ledger is sound, and wait until the relay has refilled it.

    Raises Difference for a ledger that is not sound, Failure for a stream that grows no more.
    """
    last = await prove_ledger(client, jetstream)
    report(f"The ledger is sound: {last} first logins, numbered without a hole.")
    with suppress(NotFoundError):
        await jetstream.delete_stream(STREAM)
    report(f"The stream {STREAM} is deleted; the relay makes it again from the ledger.")
    await until_refilled(jetstream, last)
    report(f"It is refilled with {last} messages. Now run `earlybird audit`.")


async def until_refilled(jetstream: JetStreamContext, last: int) -> None:
    """Return once the stream has this many messages. Raises Failure when it has not grown for a minute."""
    end, grew_at = 0, time.monotonic()
    while end < last:
        if time.monotonic() > grew_at + _STANDSTILL_SECONDS:
            raise Failure(
                f"it is refilled up to {end} of {last}, and has not grown for {_STANDSTILL_SECONDS} s: "
                "does a relay run, and what does it log?"
            )
        await asyncio.sleep(_POLL_SECONDS)
        with suppress(NotFoundError):
            found = (await jetstream.stream_info(STREAM)).state.last_seq
            if found > end:
                end, grew_at = found, time.monotonic()
