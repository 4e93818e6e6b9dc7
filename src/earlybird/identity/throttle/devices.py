"""Devices: a cookie shows that an account has logged in on this device before (OWASP, device cookies).

Guesses from a known device are counted apart from those of strangers. So a stranger who guesses, even until the
account is locked, does not keep its owner out of a device that the owner has used. The cookie is no login: it only
chooses whose guesses are counted.
"""

import time
from uuid import UUID, uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

COOKIE = "earlybird_device"
LIFETIME_SECONDS = 180 * 24 * 3600
_TYPE = "device+jwt"


class Devices:
    """Makes and reads the cookies, with a secret that all identity processes share."""

    def __init__(self, secret: bytes) -> None:
        self._key = OctKey.import_key(secret)
        self._claims = jwt.JWTClaimsRegistry(exp={"essential": True}, sub={"essential": True})

    def issue(self, user_id: UUID) -> str:
        """Return the cookie of a device on which this account has just logged in."""
        claims = {"sub": str(user_id), "jti": uuid4().hex, "exp": int(time.time()) + LIFETIME_SECONDS}
        return jwt.encode({"alg": "HS256", "typ": _TYPE}, claims, self._key, ["HS256"])

    def find(self, cookie: str | None, user_id: UUID) -> str | None:
        """Return the id of the device if the cookie is ours, and is of this account; None otherwise."""
        if cookie is None or len(cookie) > 1024:
            return None
        try:
            token = jwt.decode(cookie, self._key, ["HS256"])
            self._claims.validate(token.claims)
        except (JoseError, ValueError, TypeError):
            return None
        is_ours = token.header.get("typ") == _TYPE and token.claims["sub"] == str(user_id)
        return str(token.claims.get("jti")) if is_ours else None
