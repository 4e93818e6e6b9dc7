"""Verifying tokens: by anyone with the public keys, offline."""

import hashlib
import json
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from uuid import UUID

from joserfc import jws, jwt
from joserfc.errors import JoseError

from earlybird.access.permissions import Caller
from earlybird.access.public_keys import Keys
from earlybird.errors import InvalidToken

TOKEN_TYPE = "at+jwt"  # noqa: S105  # the type of a token, no password


_LONGEST_TOKEN = 4096
LEEWAY_SECONDS = 5  # by which the clocks of signer and verifier may differ, both ways


class TokenVerifier:
    """Verifies access tokens offline and remembers the verified ones, by digest, until they expire.

    All are forgotten when the keys change: one may be withdrawn, and what it signed with it.
    """

    def __init__(
        self,
        keys: Keys,
        issuer: str,
        audience: str,
        *,
        memory: int,
        check_caller: Callable[[Caller], None] = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._memory = memory
        self._check_caller = check_caller  # raises for a session that has ended
        self._remembered: dict[bytes, Caller] = {}
        self._generation = keys.generation
        self._now = now
        self._claims = jwt.JWTClaimsRegistry(
            now=lambda: int(now()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            sub={"essential": True},
            iat={"essential": True},
            exp={"essential": True},
            jti={"essential": True},
        )

    async def verify(self, token: str) -> Caller:
        """Return the caller. Raises InvalidToken; Unavailable when the keys were never reached."""
        if self._generation != self._keys.generation:
            self._generation = self._keys.generation
            self._remembered.clear()
        digest = hashlib.sha256(token.encode()).digest()
        caller = self._remembered.get(digest)
        if caller is None:
            caller = await self._check(token)
            self._remember(digest, caller)
        elif caller.expires_at + LEEWAY_SECONDS <= self._now():
            del self._remembered[digest]
            raise _expired()
        self._check_caller(caller)
        return caller

    async def _check(self, token: str) -> Caller:
        if len(token) > _LONGEST_TOKEN:
            raise InvalidToken("The token is not one of ours.")
        try:
            header = jws.extract_compact(token.encode()).headers()
            key = await self._keys.find(str(header.get("kid")))
            if key is None or header.get("typ") not in {TOKEN_TYPE, f"application/{TOKEN_TYPE}"}:
                raise InvalidToken("The token is not one of ours.")
            claims = jwt.decode(token, key, algorithms=["RS256"]).claims
            _each_once(token)
            self._claims.validate(claims)
            return Caller(
                UUID(claims["sub"]),
                tuple(claims.get("roles", ())),
                int(claims["exp"]),
                str(claims["jti"]),
                int(claims.get("epoch", 0)),
                str(header["kid"]),
            )
        except JoseError as error:
            raise (
                _expired()
                if error.error == "expired_token"
                else InvalidToken(
                    "The token is not valid.", "forged" if error.error == "bad_signature" else "malformed"
                )
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise InvalidToken("The token is not valid.") from error

    def _remember(self, digest: bytes, caller: Caller) -> None:
        if self._memory:
            if len(self._remembered) >= self._memory:
                del self._remembered[next(iter(self._remembered))]  # the oldest
            self._remembered[digest] = caller


def _each_once(token: str) -> None:
    """Refuse a header or claim that stands twice (RFC 8725, 2.4). Raises ValueError."""
    for part in token.split(".")[:2]:
        json.loads(urlsafe_b64decode(part + "=="), object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _expired() -> InvalidToken:
    return InvalidToken("The token has expired: log in again.", "expired")
