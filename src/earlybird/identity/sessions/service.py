"""What people do with their sessions: open one by logging in, list them, end one or all."""

import re
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from uuid import UUID, uuid4

from earlybird.access.permissions import Caller
from earlybird.access.revocation_feed import RevocationFeed
from earlybird.access.revocations import ended_session, ended_sessions
from earlybird.identity.accounts.model import User
from earlybird.identity.accounts.store import UserStore
from earlybird.identity.sessions.signer import TokenSigner
from earlybird.identity.sessions.store import Session, SessionStore
from earlybird.identity.throttle.model import Bucket
from earlybird.infra.security_log import note
from earlybird.infra.tracing import step, traced

_LONGEST_DEVICE = 80  # characters
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class Sessions:
    """Sessions. Every method raises Unavailable when a server that it needs does not answer."""

    def __init__(
        self,
        users: UserStore,
        signer: TokenSigner,
        store: SessionStore,
        feed: RevocationFeed,
        *,
        one_per_person: bool,
    ) -> None:
        self._users = users
        self._signer = signer
        self._store = store
        self._feed = feed
        self._one_per_person = one_per_person

    def least_epoch(self, user_id: UUID) -> int:
        """Return the epoch that the newest data of this person have at least: older ones were read too early."""
        return self._feed.known.epoch(user_id)

    @traced("open session")
    async def open(self, user: User, device: str, address: str | None, proven: Bucket, source: str | None) -> str:
        """Return the token of a new session, for a guess that has proven right.

        Ends all others first if each person may have only one.
        """
        user_id, epoch = user.id, user.epoch
        now, session_id = datetime.now(UTC), str(uuid4())
        if self._one_per_person:
            epoch = await self._end_older(user_id, but=session_id)
        with step("sign token"):
            token = self._signer.issue(user_id, user.roles, now, session_id, epoch)
        session = Session(session_id, epoch, _label(device), _network(address), now.timestamp())
        await self._store.begin(user_id, session, proven, source)
        return token

    async def list(self, caller: Caller) -> list[Session]:
        """Return the caller's sessions that have not ended, newest first."""
        found = await self._store.find_all(caller.user_id, datetime.now(UTC).timestamp())
        has_ended = self._feed.known.has_ended
        return [one for one in found if not has_ended(caller.user_id, one.id, one.epoch)]

    async def end(self, caller: Caller) -> None:
        """End this session: its token is refused from now on, by every service within a second."""
        await self._feed.publish(ended_session(caller.session_id))
        note("session_ended", user=caller.user_id)

    async def end_all(self, caller: Caller) -> None:
        """End all sessions of the caller, this one too."""
        await self._end_older(caller.user_id, but="")

    async def end_others(self, caller: Caller) -> None:
        """End all sessions of the caller but this one."""
        await self._end_older(caller.user_id, but=caller.session_id)

    async def _end_older(self, user_id: UUID, *, but: str) -> int:
        epoch = await self._users.begin_epoch(user_id)
        await self._feed.publish(ended_sessions(user_id, epoch, but))
        note("sessions_ended", user=user_id)
        return epoch


def _label(device: str) -> str:
    return _UNPRINTABLE.sub("", device)[:_LONGEST_DEVICE] or "unknown"


def _network(address: str | None) -> str:
    """Return roughly where an address is: its first 16 bits of IPv4, or 32 of IPv6."""
    try:
        parsed = ip_address(address or "")
    except ValueError:
        return "unknown"
    return str(ip_network((parsed, 16 if parsed.version == 4 else 32), strict=False))
