"""The security log: every login, failure, refusal, lock, change of a role or key, as one line of JSON each.

It goes where all logs go, marked `"log": "security"`. It names accounts by their id, and holds no secret and no
personal data.
"""

from typing import Literal
from uuid import UUID

import structlog

_log = structlog.get_logger()

Event = Literal[
    "access_refused",
    "account_ended",
    "account_locked",
    "code_given_up",
    "code_refused",
    "code_requested",
    "code_sent",
    "contact_confirmed",
    "keys_changed",
    "login_refused",
    "login_succeeded",
    "password_change_refused",
    "password_changed",
    "people_named",
    "person_viewed",
    "registered",
    "session_ended",
    "sessions_ended",
    "throttled",
    "token_refused",
]


def note(event: Event, *, user: UUID | None = None, **facts: str | int | bool | None) -> None:
    """Add a line. `facts` are codes and counts, never what a person typed."""
    _log.info(event, log="security", user=None if user is None else str(user), **facts)
