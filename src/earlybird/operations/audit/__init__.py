"""The audit: recomputes who should hold which voucher, from ledger and campaigns, and compares.

It reads both services' data as of one moment (a MongoDB snapshot), so it may run beside live traffic, and it
streams: memory does not grow with the number of users. It changes nothing.
"""

import time

import pymongo
from nats.js import JetStreamContext
from pymongo.errors import PyMongoError

from earlybird.errors import Failure
from earlybird.infra.mongo import Client
from earlybird.operations.audit.findings import Difference, Proof, Report
from earlybird.operations.audit.first_logins import FirstLoginAudit
from earlybird.operations.audit.places import PlaceAudit
from earlybird.operations.audit.redemptions import RedemptionAudit
from earlybird.operations.audit.vouchers import VoucherAudit

__all__ = ["Audit", "Difference", "Proof", "prove_ledger"]

_LONGEST_SECONDS = 280  # MongoDB keeps a snapshot for 300 s
_ROUND_TRIP_SECONDS = 1  # pymongo begins nothing for which, as it reckons, there is no time left


class Audit:
    """Checks the promise on what is stored."""

    def __init__(self, client: Client, jetstream: JetStreamContext, *, wait_seconds: float = 10) -> None:
        """Check this deployment; what is on its way when the audit begins gets `wait_seconds` to arrive."""
        self._client = client
        self._jetstream = jetstream
        self._wait_seconds = wait_seconds

    async def run(self, report: Report) -> None:
        """Check everything, reporting each proof as it stands. Raises Difference at the first that does not.

        Raises Failure if it takes longer than MongoDB keeps a moment.
        """
        deadline = time.monotonic() + _LONGEST_SECONDS
        try:
            with pymongo.timeout(_LONGEST_SECONDS):
                await self._check(report)
        except PyMongoError as error:
            if not error.timeout or time.monotonic() < deadline - _ROUND_TRIP_SECONDS:
                raise
            raise Failure(
                f"the audit was not done within {_LONGEST_SECONDS} s, and MongoDB keeps the moment that it reads "
                "for little longer: run it when MongoDB has less to do, or from nearer to it"
            ) from error

    async def _check(self, report: Report) -> None:
        async with self._client.start_session(snapshot=True) as session:
            first_logins = FirstLoginAudit(self._client, self._jetstream, session, self._wait_seconds)
            judged = await first_logins.check(report)
            await VoucherAudit(self._client, first_logins, session, self._wait_seconds).check(
                judged.cursor, report
            )
            await RedemptionAudit(self._client, session).check(report)
            # Last, because a voucher that is wrong may be what holds the granter up, and is to be named first.
            await first_logins.check_keeps_up(judged.last)
            await PlaceAudit(self._client, first_logins, session).check(judged.cursor, report)


async def prove_ledger(client: Client, jetstream: JetStreamContext, *, is_judged: bool = True) -> int:
    """Return how many first logins the ledger has, without a hole. Raises Difference.

    Also if more are judged than it has, unless `is_judged` is false.
    """
    async with client.start_session(snapshot=True) as session:
        first_logins = FirstLoginAudit(client, jetstream, session, 0)
        last = await first_logins.check_ledger()
        if is_judged:
            await first_logins.check_judged(last)
        return last
