"""Pulling from JetStream in bulk: nats-py's consumer, with a `fetch` that takes a twentieth of the CPU.

nats-py waits for each message by itself, with a task and a timer: 50 µs. Here messages come to a callback, and
`fetch` takes what has come. What it asks NATS for, and what it raises, are the same.
"""

import asyncio
import json
from contextlib import suppress
from typing import Any

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, ConsumerInfo, Header
from nats.js.errors import APIError

_ENDED = frozenset({"404", "408"})  # there is nothing more now; the request has expired
_SHORTER_SECONDS = 0.05  # by which a request ends before the one who waits gives up, so that none is left behind


class PullConsumer:
    """A consumer, and what it has sent that nobody has taken yet."""

    def __init__(self, client: NatsClient, jetstream: JetStreamContext, stream: str, name: str) -> None:
        self._client, self._jetstream = client, jetstream
        self._stream, self._name = stream, name
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._come: list[Msg] = []
        self._owed = 0  # messages that NATS was asked for and has not sent
        self._error: APIError | None = None
        self._something = asyncio.Event()

    async def subscribe(self) -> None:
        """Begin to listen."""
        self._subscription = await self._client.subscribe(self._inbox, cb=self._take)

    async def _take(self, message: Msg) -> None:
        status = message.headers.get(Header.STATUS) if message.headers else None
        if status is None:
            self._come.append(message)
            self._owed -= 1
        else:
            self._owed = 0
            if status not in _ENDED:
                self._error = APIError.from_msg(message)
        self._something.set()

    async def fetch(self, batch: int, timeout: float) -> list[Msg]:  # noqa: ASYNC109  # as nats-py has it
        """Return what has come, some at least and a batch at most.

        Raises TimeoutError if nothing comes, and the error that NATS answers, such as that the consumer is gone.
        """
        if not self._come:
            await self._ask(batch, timeout)
        messages, self._come = self._come[:batch], self._come[batch:]
        return messages

    async def _ask(self, batch: int, seconds: float) -> None:
        if self._owed <= 0:
            self._owed = batch
            expires = int((seconds - _SHORTER_SECONDS) * 1e9)
            request = {"batch": batch, "expires": expires}
            await self._client.publish(self._next, json.dumps(request).encode(), self._inbox)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._owed > 0 and not self._come and self._error is None:
                    self._something.clear()
                    await self._something.wait()
        if self._come:
            return
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        self._owed = 0  # the request has ended, or was lost on its way, with a connection for example
        raise nats.errors.TimeoutError

    async def consumer_info(self) -> ConsumerInfo:
        """Ask NATS for the consumer. Raises NotFoundError."""
        info: ConsumerInfo = await self._jetstream.consumer_info(self._stream, self._name)
        return info

    async def unsubscribe(self) -> None:
        """Listen no more."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()


class BulkJetStream(JetStreamContext):
    """JetStream whose pull consumers are ours."""

    def __init__(self, client: NatsClient, **options: Any) -> None:  # noqa: ANN401  # nats-py's own
        super().__init__(client, **options)
        self._client = client

    async def pull_subscribe(  # type: ignore[override]
        self, subject: str, *, stream: str, config: ConsumerConfig
    ) -> PullConsumer:
        """Make a consumer of this subject, and begin to listen to it."""
        config.name = self._client.new_inbox().rpartition(".")[2]
        config.filter_subject = subject
        await self.add_consumer(stream, config=config)
        consumer = PullConsumer(self._client, self, stream, config.name)
        await consumer.subscribe()
        return consumer
