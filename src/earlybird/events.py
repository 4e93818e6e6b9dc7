"""FirstLogin: the only contract between the two services, as a CloudEvents 1.0 JSON document.

It carries no personal data: a number, a user id and a time. See docs/asyncapi.yaml once other events join.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

STREAM = "first-logins"
SUBJECT = "earlybird.identity.first_login.v1"
_SOURCE = "/earlybird/identity"


class MalformedEvent(ValueError):
    """The bytes are no first-login event of a version we know."""


@dataclass(frozen=True, slots=True, order=True)
class FirstLogin:
    """User `user_id` logged in for the first time ever, as the `n`-th of all (1, 2, 3, … without a hole)."""

    n: int
    user_id: UUID
    first_login_at: datetime  # UTC, as MongoDB recorded it, to the millisecond

    def to_json(self) -> bytes:
        """Give the event as it lies in the stream: equal events are equal bytes."""
        event = {
            "specversion": "1.0",
            "id": str(self.n),
            "source": _SOURCE,
            "type": SUBJECT,
            "subject": str(self.user_id),
            "time": self.first_login_at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "datacontenttype": "application/json",
            "data": {
                "n": self.n,
                "first_login_at": self.first_login_at.astimezone(UTC).isoformat(timespec="milliseconds"),
            },
        }
        return json.dumps(event, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, payload: bytes) -> "FirstLogin":
        """Read an event back. Raises MalformedEvent."""
        try:
            event = json.loads(payload)
            if event["type"] != SUBJECT:
                raise MalformedEvent(f"the event's type is not {SUBJECT}")
            data = event["data"]
            first_login_at = datetime.fromisoformat(data["first_login_at"])
            return cls(n=int(data["n"]), user_id=UUID(event["subject"]), first_login_at=first_login_at)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MalformedEvent(f"not a first-login event: {type(error).__name__}") from error
