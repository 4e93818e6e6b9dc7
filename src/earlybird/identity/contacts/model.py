"""What a code is, how long it lives, and how often it may be asked for and tried. Pure: no I/O, no clock.

The numbers follow NIST SP 800-63B-4, 3.1.3.2 (six digits, ten minutes, single use), and OWASP ASVS 5.0, 6.6.3.
`guess_probability` says what they leave to somebody who guesses.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from earlybird.identity.accounts.model import normalise_email, normalise_phone

Verify = Literal["nothing", "email", "phone", "email_and_phone"]
Channel = Literal["email", "phone"]

DIGITS = 6
CODE_LIFE = timedelta(minutes=10)
TRIES = 5  # for each code
CODES_PER_HOUR, CODES_PER_DAY = 5, 10  # for each contact, known or not
CONFIRMS_PER_DAY = 30  # for each account and contact, known or not
ACCOUNT_LIFE = timedelta(hours=24)  # of an account whose contacts nobody has confirmed

SEND_ATTEMPTS = 10
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1, 60
CLAIM = timedelta(seconds=30)  # how long a courier may take to send one message, before another tries it


@dataclass(frozen=True, slots=True)
class Contact:
    """An e-mail address or a phone number, in its normal form."""

    channel: Channel
    address: str

    def key(self, secret: bytes) -> str:
        """Return what stands for the contact where its text need not stand: a keyed digest."""
        return _digest(secret, "contact", self.channel, self.address).hex()


def required(verify: Verify) -> tuple[Channel, ...]:
    """Return which contacts of a new account must be confirmed."""
    channels: dict[Verify, tuple[Channel, ...]] = {
        "nothing": (),
        "email": ("email",),
        "phone": ("phone",),
        "email_and_phone": ("email", "phone"),
    }
    return channels[verify]


def read_contact(text: str, country: str) -> Contact:
    """Return the contact that somebody typed, as registration would keep it. Raises ValueError."""
    if "@" in text:
        return Contact("email", normalise_email(text))
    return Contact("phone", normalise_phone(text, country))


def make_code(random_below: Callable[[int], int]) -> str:
    """Return six digits; `random_below(n)` gives one of 0 … n-1, each as likely, that nobody can foretell."""
    return f"{random_below(10**DIGITS):0{DIGITS}}"


def code_digest(secret: bytes, contact: Contact, salt: bytes, code: str) -> bytes:
    """Return what is kept of a code. Without the secret a million guesses would tell the code from it."""
    return _digest(secret, "code", contact.channel, contact.address, salt.hex(), code)


def fits(digest: bytes, secret: bytes, contact: Contact, salt: bytes, code: str) -> bool:
    """Whether this is the code of the digest; takes as long for every code."""
    return hmac.compare_digest(digest, code_digest(secret, contact, salt, code))


def guess_probability(codes: int, tries_per_code: int = TRIES) -> float:
    """Return how likely somebody who uses every try on so many codes guesses one of them.

    Tries at one code differ from each other; the codes are independent.
    """
    missed: float = (1 - tries_per_code / 10**DIGITS) ** codes
    return 1 - missed


def next_attempt(now: datetime, attempts: int, expires_at: datetime) -> datetime | None:
    """Return when to send again after so many attempts that failed; None: give up.

    Waits 1, 2, 4, … seconds, at most a minute. Nothing is sent when its code is no longer good.
    """
    wait = min(_FIRST_WAIT_SECONDS * 2 ** (attempts - 1), _LONGEST_WAIT_SECONDS)
    at = now + timedelta(seconds=wait)
    return at if attempts < SEND_ATTEMPTS and at < expires_at else None


def _digest(secret: bytes, *parts: str) -> bytes:
    """HMAC-SHA256 over the parts, each with its length in front, so that no two lists give the same text."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hmac.new(secret, text.encode(), hashlib.sha256).digest()
