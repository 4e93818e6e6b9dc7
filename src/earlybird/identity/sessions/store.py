"""Where people are logged in: in Valkey, for as long as a token lives. The list decides nothing.

While Valkey is away, sessions go on; they only cannot be listed.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from earlybird.errors import Unavailable
from earlybird.identity.sessions.key_plan import TOKEN_TTL_SECONDS
from earlybird.identity.throttle.guesses import Throttle
from earlybird.identity.throttle.model import Bucket

log = structlog.get_logger()
_LISTED = 100  # sessions of one person, at most; the oldest are dropped from the list


_BEGIN = """
redis.call('DEL', KEYS[1])
if KEYS[3] then redis.call('DECR', KEYS[3]) end
redis.call('ZADD', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[1] - ARGV[3])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[3])
"""


@dataclass(frozen=True, slots=True)
class Session:
    """One login: where and when."""

    id: str  # `jti` of its token
    epoch: int
    device: str  # what the client says of itself, shortened
    network: str  # the first half of its address
    started_at: float  # Unix seconds


_FIELDS = tuple(field.name for field in fields(Session))


class SessionStore:
    """The sessions of people."""

    def __init__(self, valkey: Redis, throttle: Throttle) -> None:
        self._valkey = valkey
        self._begin = valkey.register_script(_BEGIN)
        self._throttle = throttle

    async def begin(self, user_id: UUID, session: Session, proven: Bucket, source: str | None) -> None:
        """Note a session, and take back the guess that has proven right, in one round trip.

        While Valkey is away, the guess is taken back in this process, and the session is not listed.
        """
        keys = [proven.key, _key(user_id), *self._throttle.failure_keys(source)]
        arguments = (session.started_at, json.dumps(asdict(session)), TOKEN_TTL_SECONDS, -_LISTED - 1)
        try:
            await self._begin(keys=keys, args=arguments)
        except (RedisError, OSError, TimeoutError) as error:
            await self._throttle.forget_locally(proven, source)
            log.warning("session_not_listed", error=type(error).__name__)

    async def find_all(self, user_id: UUID, now: float) -> list[Session]:
        """Return the sessions that began within the life of a token, newest first. Raises Unavailable."""
        try:
            found = await self._valkey.zrange(
                _key(user_id), "+inf", now - TOKEN_TTL_SECONDS, desc=True, byscore=True
            )
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable("Your sessions cannot be listed right now. Try again in a moment.") from error
        entries: list[Any] = list(found)
        return [_session(json.loads(entry)) for entry in entries]


def _session(entry: Mapping[str, Any]) -> Session:
    """Read an entry. A later version, which may run beside this one, may have noted more of it."""
    return Session(**{name: entry[name] for name in _FIELDS})


def _key(user_id: UUID) -> str:
    return f"sessions:{user_id}"
