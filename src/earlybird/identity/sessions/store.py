"""Where people are logged in: in Valkey, for as long as a token lives. The list decides nothing.

While Valkey is away, sessions go on; they only cannot be listed.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from earlybird.errors import Unavailable
from earlybird.identity.sessions.signing_keys import TOKEN_TTL_SECONDS

log = structlog.get_logger()
_LISTED = 100  # sessions of one person, at most; the oldest are dropped from the list


@dataclass(frozen=True, slots=True)
class Session:
    """One login: where and when."""

    id: str  # `jti` of its token
    epoch: int
    device: str  # what the client says of itself, shortened
    network: str  # the first half of its address
    started_at: float  # Unix seconds


class SessionStore:
    """The sessions of people."""

    def __init__(self, valkey: Redis) -> None:
        self._valkey = valkey

    async def add(self, user_id: UUID, session: Session) -> None:
        """Note a session. Loses it, with a line in the log, while Valkey is away."""
        key, expired = f"sessions:{user_id}", session.started_at - TOKEN_TTL_SECONDS
        try:
            async with self._valkey.pipeline(transaction=False) as pipeline:
                pipeline.zadd(key, {json.dumps(asdict(session)): session.started_at})
                pipeline.zremrangebyscore(key, "-inf", expired)
                pipeline.zremrangebyrank(key, 0, -_LISTED - 1)
                pipeline.expire(key, TOKEN_TTL_SECONDS)
                await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("session_not_listed", error=type(error).__name__)

    async def find_all(self, user_id: UUID, now: float) -> list[Session]:
        """Return the sessions that began within the life of a token, newest first. Raises Unavailable."""
        try:
            found = await self._valkey.zrange(
                f"sessions:{user_id}", "+inf", now - TOKEN_TTL_SECONDS, desc=True, byscore=True
            )
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable("Your sessions cannot be listed right now. Try again in a moment.") from error
        entries: list[Any] = list(found)
        return [Session(**json.loads(entry)) for entry in entries]
