"""What is told to whom, how it is signed, and when it is tried again. Pure: no I/O, no clock.

An endpoint is an address that is told of some events. An event for it waits in a queue: one queue for each
endpoint and subject (a voucher, a campaign), in which one event is delivered before the next one is tried.
"""

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit
from uuid import UUID

from earlybird.errors import Refusal

MOST_ENDPOINTS = 20
URL_CHARACTERS = 500
OVERLAP = timedelta(hours=24)  # in which the secret before a rotation still signs
# From each failure to the next attempt: the schedule that Standard Webhooks recommends. Then an event is dead.
_PAUSES = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
ATTEMPTS = len(_PAUSES) + 1
_LONGEST_PAUSE = timedelta(days=1)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address is within
_MAIL = re.compile(r"[^@\s]+@[^@\s]+")
Network = IPv4Network | IPv6Network


class Kind(StrEnum):
    """What an endpoint understands."""

    WEBHOOK = "webhook"  # CloudEvents in JSON, signed after Standard Webhooks
    SLACK = "slack"  # `{"text": …}`, as Slack's incoming webhooks and many others take it
    MAIL = "mail"


class Topic(StrEnum):
    """What an endpoint can be told of."""

    VOUCHER_GRANTED = "voucher.granted"
    VOUCHER_REDEEMED = "voucher.redeemed"
    VOUCHER_REFUNDED = "voucher.refunded"
    VOUCHER_WITHDRAWN = "voucher.withdrawn"
    CAMPAIGN_OPENED = "campaign.opened"
    CAMPAIGN_NEARLY_SOLD_OUT = "campaign.nearly_sold_out"  # four fifths are granted
    CAMPAIGN_SOLD_OUT = "campaign.sold_out"
    CAMPAIGN_CLOSED = "campaign.closed"
    ALARM_RAISED = "alarm.raised"
    ALARM_ENDED = "alarm.ended"
    TEST = "webhook.tested"  # when a person asks for it; every endpoint gets it


VOUCHERS = tuple(topic for topic in Topic if topic.startswith("voucher."))
NOTICES = tuple(topic for topic in Topic if topic.startswith(("campaign.", "alarm.")))  # for people


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who is told of what, and where. `address` may be a secret itself (Slack's are), so it is never logged."""

    id: UUID
    kind: Kind
    address: str = field(repr=False)
    topics: tuple[Topic, ...]
    description: str
    is_paused: bool
    paused_because: str | None
    secret_number: int  # 1, 2, 3, …: one for each rotation
    rotated_at: datetime | None
    created_at: datetime

    @property
    def host(self) -> str:
        """What of the address may be shown in a log."""
        return self.address.rpartition("@")[2] if self.kind is Kind.MAIL else urlsplit(self.address).hostname or ""

    def signing_numbers(self, now: datetime) -> tuple[int, ...]:
        """Return which secrets sign now: the newest, and for a day after a rotation the one before."""
        overlaps = self.rotated_at is not None and now < self.rotated_at + OVERLAP
        return (self.secret_number, self.secret_number - 1) if overlaps else (self.secret_number,)


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell, as a CloudEvents document."""

    id: str
    topic: Topic
    subject: str  # what it is about: events of one subject are delivered in order
    payload: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """The first event of a queue, claimed by this process alone until its lease ends."""

    queue: str
    lease: UUID
    endpoint: Endpoint
    event: Event
    attempts: int  # before this one


def secret_of(key: bytes, endpoint_id: UUID, number: int) -> str:
    """Return what an endpoint's deliveries are signed with: `whsec_` and 32 bytes in base64 (Standard Webhooks).

    It follows from the deployment's key (HMAC-SHA-256), so that no database and no backup holds it.
    """
    derived = hmac.digest(key, b"webhook\0" + endpoint_id.bytes + number.to_bytes(4, "big"), hashlib.sha256)
    return f"whsec_{b64encode(derived).decode()}"


def next_attempt(now: datetime, attempts: int, asked_for: timedelta | None, spread: float) -> datetime | None:
    """Return when to try again after so many failures; None: never, the event is dead.

    `asked_for` is what the receiver's `Retry-After` says. `spread` (0 to 1) adds up to a tenth, so that queues
    that failed together do not come back together.
    """
    if attempts >= ATTEMPTS:
        return None
    pause = max(_PAUSES[attempts - 1] * (1 + spread / 10), min(asked_for or timedelta(), _LONGEST_PAUSE))
    return now + pause


def networks(text: str) -> tuple[Network, ...]:
    """Read networks, separated by commas, such as `10.1.0.0/16,fd00::/8`. Raises ValueError."""
    return tuple(ip_network(one.strip()) for one in text.split(",") if one.strip())


def may_reach(address: str, allowed: Sequence[Network]) -> bool:
    """Tell whether an IP address may be sent to: any of the public internet, and what is allowed besides.

    So nobody makes us ask the services that stand beside us (server-side request forgery, OWASP ASVS 5.0, 1.3.6).
    """
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        translated = IPv4Address(int(ip) & 0xFFFF_FFFF) if ip in _NAT64 else None
        ip = ip.ipv4_mapped or ip.sixtofour or translated or ip
    if any(ip in network for network in allowed if network.version == ip.version):
        return True
    return ip.is_global and not ip.is_multicast


def check_address(kind: Kind, address: str, allowed: Sequence[Network]) -> str:
    """Return an address that may be kept. What its name leads to is judged at each delivery. Raises Refusal."""
    if len(address) > URL_CHARACTERS or not address.isprintable() or " " in address:
        raise Refusal("invalid_field", f"address: give at most {URL_CHARACTERS} characters, without spaces.")
    if kind is Kind.MAIL:
        if not _MAIL.fullmatch(address) or not address.isascii():
            raise Refusal("invalid_field", "address: give an e-mail address.")
        return address
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise Refusal("invalid_field", "address: this is no URL.") from None
    if parts.scheme not in {"https", "http"} or not host or parts.fragment:
        raise Refusal("invalid_field", "address: give a URL such as https://shop.example/hooks.")
    if parts.username is not None or parts.password is not None:
        raise Refusal(
            "invalid_field", "address: a URL with a user or a password is not taken; deliveries are signed."
        )
    if parts.scheme == "http" and not allowed:
        raise Refusal("invalid_field", "address: give an https URL.")
    try:
        is_reachable = may_reach(host, allowed)
    except ValueError:  # a name
        is_reachable = True
    if not is_reachable:
        raise Refusal(
            "invalid_field", "address: this is an address of a private network, which is not allowed here."
        )
    return address
