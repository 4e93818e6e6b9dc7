"""Reading first logins from the stream, from any number on.

MongoDB remembers how far a reader got. The consumer in NATS only reads. It is made again after every interruption,
so an outdated configuration of a consumer never matters.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from earlybird.events import STREAM, SUBJECT, FirstLogin
from earlybird.promotions.granting.award import Gap

BATCH = 500  # first logins per transaction, at most
_FETCH_SECONDS = 1
_TOKENS = 9  # of a reply address without a domain
_CONSUMER_LIFE_SECONDS = 30  # NATS drops a consumer that nobody has read for this time


class Undelivered(nats.errors.Error):
    """A message was lost on its way from NATS, and NATS does not send it again: read again from the cursor."""


class FirstLogins:
    """A place in the stream from which batches are read, one after another."""

    def __init__(self, subscription: JetStreamContext.PullSubscription, first: int) -> None:
        self._subscription = subscription
        self._last = first - 1

    async def next_batch(self) -> list[FirstLogin]:
        """Wait for messages, for a second at most. Raises MalformedEvent, Gap, nats errors.

        A batch that is not full has all that the stream had: its reader has caught up.

        A message that was lost on its way shows as a gap when the next one arrives. But there may be no next one.
        So whenever nothing arrives, ask NATS what it has sent.
        """
        try:
            messages = await self._subscription.fetch(BATCH, timeout=_FETCH_SECONDS)
        except TimeoutError:
            info = await self._subscription.consumer_info()  # raises if the consumer is gone
            if info.delivered is not None and info.delivered.stream_seq > self._last:
                raise Undelivered from None
            return []
        with suppress(TimeoutError):
            while messages and len(messages) < BATCH and _waiting_behind(messages[-1]):
                messages += await self._subscription.fetch(BATCH - len(messages), timeout=_FETCH_SECONDS)
        events = [_first_login(message) for message in messages]
        if events:  # a fetch that is cut short, as by a stream that was deleted, brings none
            self._last = events[-1].n
        return events


def _first_login(message: Msg) -> FirstLogin:
    """Read a message. Raises Gap where its sequence is not the entry's number (invariant 3).

    Seen to matter by the mutant "publish without expected sequence".
    """
    event, sequence = FirstLogin.from_json(message.data), _sequence(message)
    if event.n != sequence:
        raise Gap(f"message {sequence} is entry {event.n} of the ledger")
    return event


def _sequence(message: Msg) -> int:
    """Return a message's sequence in the stream."""
    return int(_facts(message)[0])


def _waiting_behind(message: Msg) -> bool:
    """Whether more of the stream was there for its reader when this message was sent."""
    return _facts(message)[3] != "0"


def _facts(message: Msg) -> list[str]:
    """Return what NATS says of a message: its sequence in the stream and for its reader, its time, how many wait.

    nats-py's `metadata` takes eight times as long.
    """
    tokens = message.reply.split(".")  # $JS.ACK[.domain.account].stream.consumer.delivered.SEQUENCE.…
    return tokens[5:] if len(tokens) == _TOKENS else tokens[7:]


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
