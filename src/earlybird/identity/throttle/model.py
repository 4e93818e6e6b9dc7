"""How long a guess has to wait, and whose guesses are counted together. Pure: no I/O, no clock.

The numbers follow OWASP ASVS 5.0, 6.3.1, and NIST SP 800-63B-4, 3.2.2.
"""

import hashlib
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from uuid import UUID

from earlybird.errors import Refusal

FREE_FAILURES = 10  # in a row, before the first wait: people mistype, and log in on several devices at once
LONGEST_WAIT_SECONDS = 900
LOCKED_AFTER = 100  # failures in a row (NIST: at most 100)
DEVICE_FAILURES = 10  # in a row, after which a known device is a stranger again
REMEMBERED_SECONDS = 7 * 24 * 3600  # after the last guess
_IPV6_CUSTOMER = 64  # bits of the prefix that one customer of a network gets


@dataclass(frozen=True, slots=True)
class Bucket:
    """Guesses that are counted together: those of strangers on one account, or those of one known device."""

    key: str
    is_device: bool = False


def wait_seconds(failures: int) -> int:
    """Return how long the next guess has to wait after so many failures in a row: 1, 2, 4, … seconds."""
    beyond = failures - FREE_FAILURES
    return 0 if beyond < 0 else min(2 ** min(beyond, 10), LONGEST_WAIT_SECONDS)


def strangers(user_id: UUID | None, login: str) -> Bucket:
    """Return the bucket of an account; of a login that is nobody's, in the form in which it was typed."""
    typed = login.casefold().encode("utf-8", "surrogatepass")
    return Bucket(f"guesses:{user_id or hashlib.sha256(typed).hexdigest()[:32]}")


def device(user_id: UUID, device_id: str) -> Bucket:
    """Return the bucket of a device on which this account has logged in before."""
    return Bucket(f"guesses:{user_id}:{device_id}", is_device=True)


def source(address: str | None) -> str | None:
    """Return whose requests an address stands for: itself, or its IPv6 network of 64 bits.

    None for an address that is not counted: our own machine, or none.
    """
    if address is None:
        return None
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is None:
            return None if parsed.is_loopback else str(ip_network((parsed, _IPV6_CUSTOMER), strict=False))
        parsed = parsed.ipv4_mapped
    return None if parsed.is_loopback else str(parsed)


def too_many(what: str, limit: int, seconds: float) -> Refusal:
    """Return the refusal of an attempt that came too soon, with the `RateLimit` fields of the IETF's draft."""
    wait = max(1, round(seconds + 0.5))
    return Refusal(
        "too_many_attempts",
        f"Too many attempts. Try again in {wait} s.",
        {
            "Retry-After": str(wait),
            "RateLimit": f'"{what}";r=0;t={wait}',
            "RateLimit-Policy": f'"{what}";q={limit}',
        },
    )
