"""identity's public keys, which travel as a JWKS (RFC 7517)."""

import asyncio
import time
from typing import Protocol

import httpx2
import structlog
from joserfc.jwk import RSAKey

from earlybird.access.jwks import usable_keys
from earlybird.errors import Unavailable

log = structlog.get_logger()


# A key that identity has withdrawn is trusted until the keys are fetched again: for a token not seen before, if it
# names a key that is not known, or if they are older than this. Sooner than the entry that ends a stolen key is
# forgotten (revocation_feed.LIFETIME_SECONDS): whoever has the key signs tokens that never expire.
_REFRESH_SECONDS = 300
_RETRY_SECONDS = 0.25


class Keys(Protocol):
    """Where a verifier finds the key that a token names."""

    @property
    def generation(self) -> int:
        """How often the keys have changed."""

    async def find(self, kid: str) -> RSAKey | None:
        """Return the key with this id, or None."""


class PublicKeys:
    """identity's public keys: fetched when first needed, kept, fetched again for an unknown key id.

    Once it has keys it never needs identity again, but to learn of new ones.
    """

    def __init__(self, url: str, cooldown_seconds: float, http: httpx2.AsyncClient) -> None:
        self._url = url
        self._cooldown_seconds = cooldown_seconds
        self._http = http
        self._keys: dict[str, RSAKey] = {}
        self.generation = 0
        self._fetched_at = -float("inf")
        self._next_fetch_at = -float("inf")
        self._fetching = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> RSAKey | None:
        """Return the key with this id, or None if identity has none. Raises Unavailable if it was never
        reached."""
        # Within the cool-down a key that is not known is not ours. It is no outage: otherwise a stranger's token
        # would make us answer 503, and the holder of a token of a withdrawn key would wait instead of logging in
        # again.
        if kid not in self._keys:
            await self._fetch_after_cooldown()
        elif time.monotonic() > self._fetched_at + _REFRESH_SECONDS and self._refreshing is None:
            self._refreshing = asyncio.create_task(self._fetch_after_cooldown())
            self._refreshing.add_done_callback(self._refreshed)
        return self._keys.get(kid)

    async def check(self) -> None:
        """Return once there are keys; raise Unavailable if there are none to be had. A readiness check."""
        if not self._keys:
            await self._fetch_after_cooldown()

    def _refreshed(self, _: asyncio.Task[None]) -> None:
        self._refreshing = None

    async def _fetch_after_cooldown(self) -> None:
        async with self._fetching:
            if time.monotonic() >= self._next_fetch_at:
                await self._fetch()
        if not self._keys:
            raise Unavailable("Tokens cannot be checked right now. Try again in a moment.")

    async def _fetch(self) -> None:
        self._next_fetch_at = time.monotonic() + _RETRY_SECONDS
        try:
            response = await self._http.get(self._url, timeout=2)
            response.raise_for_status()
            keys = usable_keys(response.json())
        except (httpx2.HTTPError, ValueError) as error:
            log.warning("jwks_fetch_failed", error=type(error).__name__)
            return
        if not keys:  # never in place of keys that worked
            log.warning("jwks_fetch_failed", error="no usable key")
            return
        if self._keys and keys.keys() != self._keys.keys():
            self.generation += 1
        self._keys = keys
        self._fetched_at = time.monotonic()
        self._next_fetch_at = self._fetched_at + self._cooldown_seconds
