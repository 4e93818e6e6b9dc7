"""Roles, and who sent a request."""

from dataclasses import dataclass
from uuid import UUID

CUSTOMER, CAMPAIGN_MANAGER, SUPPORT = ROLES = ("customer", "campaign_manager", "support")
VIEWERS = frozenset({CAMPAIGN_MANAGER, SUPPORT})  # who may look at campaigns and people


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, as the verified token says."""

    user_id: UUID
    roles: tuple[str, ...]
    expires_at: int  # Unix seconds
    session_id: str = ""  # `jti`
    epoch: int = 0  # how often all sessions of this person had been ended when this one began
    key_id: str = ""  # of the key that signed the token
