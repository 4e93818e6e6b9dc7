"""Who may be in the console. The API decides; the console only hides what would be refused."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Response

from earlybird.client import api
from earlybird.errors import Refusal
from earlybird.pages.customer.visitor import Visitor
from earlybird.pages.visits import Visit

MANAGER, SUPPORT = "campaign_manager", "support"


@dataclass(frozen=True, slots=True)
class Desk:
    """The visit of somebody who may look; `may_change` is for managers."""

    visit: Visit
    may_change: bool

    def page(self, template: str, status: int = 200, **values: Any) -> Response:  # noqa: ANN401  # what it shows
        """Return a page of the console."""
        return self.visit.page(f"console/{template}", status, may_change=self.may_change, **values)


async def _desk(visit: Visitor) -> Desk:
    visit.require_login()
    visit.language = "en"
    roles = (await visit.send(api.account())).roles
    if not {MANAGER, SUPPORT} & set(roles):
        raise Refusal("forbidden", "The console is for campaign managers and support.")
    return Desk(visit, MANAGER in roles)


Staff = Annotated[Desk, Depends(_desk)]
