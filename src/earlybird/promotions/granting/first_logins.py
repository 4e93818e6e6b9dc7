"""Reading first logins from the stream, from any number on.

Where a reader stands is for MongoDB to remember; the consumer in NATS only reads, and is made anew whenever in
doubt, so that no stale configuration of one can matter.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from earlybird.events import STREAM, SUBJECT, FirstLogin

BATCH = 500  # first logins per transaction, at most
_FETCH_SECONDS = 1
_CONSUMER_LIFE_SECONDS = 30  # NATS drops a consumer that nobody reads for so long


class Undelivered(nats.errors.Error):
    """NATS has sent what never arrived, and will not send it again: begin anew."""


class FirstLogins:
    """A place in the stream from which batches are read, one after another."""

    def __init__(self, subscription: JetStreamContext.PullSubscription, first: int) -> None:
        """Read by this subscription, which begins with number `first`."""
        self._subscription = subscription
        self._last = first - 1

    async def next_batch(self) -> list[FirstLogin]:
        """Wait for messages; none after a second is an empty list. Raises MalformedEvent, nats errors.

        What was lost on the way shows when the next message comes, as a gap; but there may not be a next one, so
        whenever nothing comes NATS is asked what it has sent.
        """
        try:
            messages = await self._subscription.fetch(BATCH, timeout=_FETCH_SECONDS)
        except TimeoutError:
            info = await self._subscription.consumer_info()  # raises if the consumer is gone
            if info.delivered is not None and info.delivered.stream_seq > self._last:
                raise Undelivered from None
            return []
        events = [FirstLogin.from_json(message.data) for message in messages]
        if events:  # a fetch that is cut short, as by a stream that was deleted, brings none
            self._last = events[-1].n
        return events


@asynccontextmanager
async def first_logins_from(jetstream: JetStreamContext, first: int) -> AsyncIterator[FirstLogins]:
    """Read the stream from number `first` on."""
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=first,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=_CONSUMER_LIFE_SECONDS,
        mem_storage=True,
        num_replicas=1,
    )
    subscription = await jetstream.pull_subscribe(SUBJECT, stream=STREAM, config=config)
    answers = True
    try:
        yield FirstLogins(subscription, first)
    except nats.errors.Error:
        answers = False  # and would not answer this either: the consumer dies by itself
        raise
    finally:
        with suppress(nats.errors.Error):
            await subscription.unsubscribe()
            if answers:  # granters that overtake each other would leave ten a second behind
                await jetstream.delete_consumer(STREAM, str(config.name))  # as pull_subscribe has named it
