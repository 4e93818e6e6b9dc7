"""The relay: copies the ledger to the stream, so that stream sequence ≡ ledger number.

Each publish names the sequence before it (`Nats-Expected-Last-Sequence`), so the stream itself refuses holes,
repeats and reordering. Any number may run. A stream that was lost is made again and refilled from 1; one that
was rolled back is topped up. (Never `Nats-Expected-Last-Msg-Id`: replicas may judge it differently.)
"""

import asyncio
from contextlib import suppress
from typing import ClassVar

import nats.js.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import ClusterInfo, Header, StorageType, StreamConfig
from opentelemetry.trace import SpanKind

from earlybird.events import STREAM, SUBJECT, FirstLogin
from earlybird.identity.ledger.store import Ledger
from earlybird.infra.crash import crash_point
from earlybird.infra.nats import Message, publish_in_order
from earlybird.infra.tracing import Tracing
from earlybird.infra.workers import Answer, Answers, Worker, interruptions

log = structlog.get_logger()

_BATCH = 500  # publishes in flight, at most
_POLL_SECONDS = 0.25  # another process's sequencer may have appended
_CHECK_SECONDS = 0.25  # whether the stream ends where we believe; where it does not, a publish is refused too
_BACK_OFF_SECONDS = 0.25
_BEHIND_SECONDS = 30  # a NATS server that is away for longer is worth an alarm; a restart takes less
_LONGEST_EVENT_BYTES = 1024
_SENDING = {"messaging.system": "nats", "messaging.operation.type": "send", "messaging.destination.name": STREAM}


class StreamAhead(Exception):
    """The stream holds what the ledger does not: a backup of MongoDB was restored, or the wrong stream is used."""


class Relay(Worker):
    """Ledger → stream."""

    answers: ClassVar[Answers] = {
        StreamAhead: Answer("stream_ahead", "error", _BACK_OFF_SECONDS * 20),
        **interruptions("relay_interrupted", _BACK_OFF_SECONDS),
    }

    def __init__(
        self,
        ledger: Ledger,
        jetstream: JetStreamContext,
        replicas: int,
        appended: asyncio.Event,
        tracing: Tracing | None = None,
    ) -> None:
        super().__init__()
        self._tracing = tracing or Tracing()
        self._ledger = ledger
        self._jetstream = jetstream
        self._replicas = replicas  # of the stream, when it is made
        self._appended = appended  # the ledger has something new
        self._whole_at = -float("inf")  # when all replicas were up to date, or an alarm said that they are not

    async def work(self) -> None:
        """Copy, from where the stream ends."""
        clock = asyncio.get_running_loop().time
        last = await self._last_sequence()
        await self._check_agreement(last)
        checked_at = clock()
        while True:
            self._appended.clear()
            entries = await self._ledger.read_after(last, _BATCH)
            if entries:
                crash_point("relay.before_publish")
                # On any error some prefix of them is in the stream and the rest is not.
                # The event says where it was made, in the ledger, and not who passes it on: the same bytes always.
                with self._tracing.each(f"send {STREAM}", entries, SpanKind.PRODUCER, **_SENDING):
                    await publish_in_order(self._jetstream, [_message(entry) for entry in entries])
                crash_point("relay.after_publish")
                last = entries[-1].n
            self.is_working = True
            if len(entries) < _BATCH:
                await self._wait()
            if clock() >= checked_at + _CHECK_SECONDS:
                seen = await self._last_sequence()
                if seen != last:  # another relay's messages, a stream that was lost, or something not ours
                    await self._check_agreement(seen)
                last, checked_at = seen, clock()

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_SECONDS):
                await self._appended.wait()

    async def _last_sequence(self) -> int:
        """Ask the stream for its last sequence, and after its replicas; make the stream if there is none."""
        try:
            info = await self._jetstream.stream_info(STREAM)
        except nats.js.errors.NotFoundError:
            log.warning("stream_created", stream=STREAM, replicas=self._replicas)
            info = await self._jetstream.add_stream(_stream_config(self._replicas))
            crash_point("relay.stream_created")
        self._look_after_replicas(info.cluster)
        return info.state.last_seq

    def _look_after_replicas(self, cluster: ClusterInfo | None) -> None:
        """Say which copies have not been up to date for a while, by the leader's word, every so often."""
        now = asyncio.get_running_loop().time()
        replicas = cluster.replicas if cluster is not None and cluster.replicas else ()
        behind = [peer.name for peer in replicas if not peer.current]
        if not behind or self._whole_at < 0:
            self._whole_at = now
        elif now > self._whole_at + _BEHIND_SECONDS:
            log.warning("stream_replica_behind", servers=behind, do="see docs/runbook.md")
            self._whole_at = now

    async def _check_agreement(self, last: int) -> None:
        """Compare the stream's last message with the ledger, so as never to go on from a stream not ours."""
        if last == 0:
            return
        entry = await self._ledger.find(last)
        message = await self._jetstream.get_msg(STREAM, last)
        if entry is None or not entry.is_told_by(message.data):
            raise StreamAhead(f"message {last} of the stream is not entry {last} of the ledger")


def _message(entry: FirstLogin) -> Message:
    headers: dict[str, str] = {Header.EXPECTED_LAST_SEQUENCE: str(entry.n - 1), Header.EXPECTED_STREAM: STREAM}
    return Message(SUBJECT, entry.to_json(), headers)


def _stream_config(replicas: int) -> StreamConfig:
    return StreamConfig(
        name=STREAM,
        description="first logins; sequence = ledger number",
        subjects=[SUBJECT],
        storage=StorageType.FILE,
        num_replicas=replicas,
        max_msg_size=_LONGEST_EVENT_BYTES,
        deny_delete=True,
        deny_purge=True,
        allow_direct=True,
    )
