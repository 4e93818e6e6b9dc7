"""The events, as CloudEvents 1.0 JSON documents: what the services tell each other, and everybody else.

FirstLogin is the only contract between the two services. The voucher events are for other systems. None carries
personal data: ids, numbers and times. docs/asyncapi.yaml describes all of them.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeGuard
from uuid import UUID, uuid5

STREAM = "first-logins"
SUBJECT = "earlybird.identity.first_login.v1"
VOUCHER_STREAM = "vouchers"
VOUCHER_SUBJECTS = "earlybird.promotions.voucher.>"
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context, version 00
_IDENTITY, _PROMOTIONS = "/earlybird/identity", "/earlybird/promotions"


class MalformedEvent(ValueError):
    """The bytes are no first-login event of a version we know."""


@dataclass(frozen=True, slots=True, order=True)
class FirstLogin:
    """User `user_id` logged in for the first time ever, as the `n`-th of all (1, 2, 3, … without a hole).

    `traceparent` says in which trace it came about, if that was sampled. It is no part of what happened: events
    that differ in it alone are equal.
    """

    n: int
    user_id: UUID
    first_login_at: datetime  # UTC, as MongoDB recorded it, to the millisecond
    traceparent: str | None = field(default=None, compare=False)

    def to_json(self) -> bytes:
        """Return the event as it lies in the stream: equal events of one trace are equal bytes."""
        data = {"n": self.n, "first_login_at": self.first_login_at}
        at = self.first_login_at
        return _cloud_event(SUBJECT, str(self.n), _IDENTITY, self.user_id, at, data, self.traceparent)

    def is_told_by(self, payload: bytes | None) -> bool:
        """Tell whether these bytes are this event, in whatever trace."""
        if payload == self.to_json():
            return True
        try:
            told, own = json.loads(payload or b""), json.loads(self.to_json())
        except ValueError:
            return False
        if not isinstance(told, dict):
            return False
        own.pop("traceparent", None)
        told.pop("traceparent", None)
        return _dumped(told) == _dumped(own)

    @classmethod
    def from_json(cls, payload: bytes) -> "FirstLogin":
        """Read an event back. Raises MalformedEvent."""
        try:
            event = json.loads(payload.decode())  # of bytes, json would have to guess the encoding
            if event["type"] != SUBJECT:
                raise MalformedEvent(f"the event's type is not {SUBJECT}")
            data = event["data"]
            first_login_at = datetime.fromisoformat(data["first_login_at"])
            sent = event.get("traceparent")
            return cls(
                n=int(data["n"]),
                user_id=UUID(event["subject"]),
                first_login_at=first_login_at,
                traceparent=sent if is_traceparent(sent) else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MalformedEvent(f"not a first-login event: {type(error).__name__}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class VoucherEvent:
    """Something that happened to a voucher of `user_id`. It may be delivered twice, with the same id."""

    type: ClassVar[str]
    voucher_id: UUID
    user_id: UUID
    campaign_id: UUID
    time: datetime

    @property
    def id(self) -> str:
        """The event's id: the same however often it is sent."""
        raise NotImplementedError

    def to_json(self) -> bytes:
        """Return the event as it lies in the stream."""
        data = {field.name: getattr(self, field.name) for field in fields(self)}
        user_id, time = data.pop("user_id"), data.pop("time")
        return _cloud_event(self.type, self.id, _PROMOTIONS, user_id, time, data)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoucherGranted(VoucherEvent):
    """A first login earned a voucher."""

    type = "earlybird.promotions.voucher.granted.v1"
    position: int
    discount: int  # percent
    expire_at: datetime

    @property
    def id(self) -> str:
        """The event's id: the same however often it is sent, another if the same voucher is granted otherwise.

        After a restore somebody may win again, in another place. A consumer that knows the first id must keep it.
        """
        terms = f"{self.position} {self.discount} {_plain(self.expire_at)}"
        return f"{uuid5(self.voucher_id, terms)}.granted"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoucherRedeemed(VoucherEvent):
    """A voucher was spent on an order. Amounts are in minor units of the currency (ISO 4217)."""

    type = "earlybird.promotions.voucher.redeemed.v1"
    redemption_id: UUID
    order_id: str
    amount: int
    discount_amount: int
    payable_amount: int
    currency: str

    @property
    def id(self) -> str:
        """The event's id: the same however often it is sent."""
        return f"{self.redemption_id}.redeemed"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoucherRefunded(VoucherRedeemed):
    """A redemption was taken back; the voucher can be used again if it was `voucher_returned`."""

    type = "earlybird.promotions.voucher.refunded.v1"
    voucher_returned: bool

    @property
    def id(self) -> str:
        """The event's id: the same however often it is sent."""
        return f"{self.redemption_id}.refunded"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoucherWithdrawn(VoucherEvent):
    """A voucher was taken from its owner for good. Whoever gets one in its place has a position of their own."""

    type = "earlybird.promotions.voucher.withdrawn.v1"
    position: int

    @property
    def id(self) -> str:
        """The event's id: the same however often it is sent, another if the same voucher is withdrawn again.

        That can be after a restore alone: see VoucherGranted.
        """
        return f"{uuid5(self.voucher_id, f'{self.position} {_plain(self.time)}')}.withdrawn"


def _cloud_event(
    type_: str,
    id_: str,
    source: str,
    user_id: UUID,
    time: datetime,
    data: Mapping[str, Any],
    traceparent: str | None = None,
) -> bytes:
    event = {
        "specversion": "1.0",
        "id": id_,
        "source": source,
        "type": type_,
        "subject": str(user_id),
        "time": _plain(time),
        "datacontenttype": "application/json",
        **({"traceparent": traceparent} if traceparent else {}),  # CloudEvents: distributed tracing extension
        "data": {name: _plain(value) for name, value in data.items()},
    }
    return _dumped(event)


def is_traceparent(value: object) -> TypeGuard[str]:
    """Tell whether this has the form of a W3C trace context."""
    return isinstance(value, str) and _TRACEPARENT.fullmatch(value) is not None


def _dumped(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    return str(value) if isinstance(value, UUID) else value
