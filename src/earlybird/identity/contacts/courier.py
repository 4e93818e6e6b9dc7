"""The courier: outbox → people. It sends each message, and ends accounts that nobody has confirmed in their day.

A message leaves the outbox once a server has taken it. So a courier that dies in between sends it twice, with the
same code and the same id, and never loses it. What cannot be sent while its code is good is given up: there is an
alarm, and an entry in the audit log. Any number of couriers may run: each claims what it sends, for half a minute.
"""

import asyncio
from collections.abc import Mapping
from typing import ClassVar

import structlog

from earlybird.identity.contacts.model import Channel, next_attempt
from earlybird.identity.contacts.outbox import Claimed, Outbox
from earlybird.identity.contacts.senders import Sender
from earlybird.identity.contacts.store import end_unverified
from earlybird.infra.crash import crash_point
from earlybird.infra.mail import NotSent
from earlybird.infra.mongo import Database, database_time
from earlybird.infra.security_log import note
from earlybird.infra.workers import Answers, Worker, interruptions
from earlybird.metrics import MESSAGES

log = structlog.get_logger()

_AT_ONCE = 8  # messages under way
_POLL_SECONDS = 0.25
_END_EVERY_SECONDS = 30  # accounts
_BACK_OFF_SECONDS = 0.5


class Courier(Worker):
    """Outbox → people."""

    answers: ClassVar[Answers] = interruptions("courier_interrupted", _BACK_OFF_SECONDS)

    def __init__(self, database: Database, outbox: Outbox, senders: Mapping[Channel, Sender]) -> None:
        super().__init__()
        self._database = database
        self._outbox = outbox
        self._senders = senders

    async def work(self) -> None:
        """Send what waits, several at once; now and then end what has waited too long."""
        clock = asyncio.get_running_loop().time
        end_at = clock()
        while True:
            if clock() >= end_at:
                await self._end_unverified()
                end_at = clock() + _END_EVERY_SECONDS
            claimed = await self._claim()
            self.is_working = True
            await asyncio.gather(*map(self._deliver, claimed))
            if not claimed:
                await asyncio.sleep(_POLL_SECONDS)

    async def _claim(self) -> list[Claimed]:
        claimed: list[Claimed] = []
        while len(claimed) < _AT_ONCE and (one := await self._outbox.claim()) is not None:
            claimed.append(one)
        return claimed

    async def _deliver(self, claimed: Claimed) -> None:
        crash_point("message.claimed")
        sender, message = self._senders.get(claimed.channel), claimed.message
        if message is None or sender is None:
            await self._give_up(claimed, "cannot_be_opened" if message is None else "no_sender")
            return
        if await database_time(self._database) >= claimed.expires_at:
            await self._give_up(claimed, "too_late")
            return
        try:
            await sender.send(claimed.id, message)
        except NotSent as failed:
            await self._try_later(claimed, failed)
            return
        crash_point("message.sent")
        await self._outbox.remove(claimed)
        MESSAGES.labels(claimed.channel, "sent").inc()
        note("code_sent", user=claimed.user_id, channel=claimed.channel, kind=message.kind)

    async def _try_later(self, claimed: Claimed, failed: NotSent) -> None:
        at = next_attempt(await database_time(self._database), claimed.attempts, claimed.expires_at)
        if failed.is_final or at is None:
            await self._give_up(claimed, failed.reason)
            return
        MESSAGES.labels(claimed.channel, "delayed").inc()
        log.warning("message_delayed", channel=claimed.channel, reason=failed.reason, attempts=claimed.attempts)
        await self._outbox.postpone(claimed, at)

    async def _give_up(self, claimed: Claimed, reason: str) -> None:
        await self._outbox.give_up(claimed, reason)
        MESSAGES.labels(claimed.channel, "given_up").inc()
        note("code_given_up", user=claimed.user_id, channel=claimed.channel, reason=reason)
        log.error("message_given_up", channel=claimed.channel, reason=reason, do="see docs/runbook.md")

    async def _end_unverified(self) -> None:
        while ended := await end_unverified(self._database):
            for user_id in ended:
                note("account_ended", user=user_id, reason="not_verified")
