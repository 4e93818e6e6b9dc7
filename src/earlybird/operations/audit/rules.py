"""What the audit decides, apart from reading: numbers, owners, terms and holds that must agree. No I/O."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from earlybird.events import FirstLogin
from earlybird.identity.ledger.seals import seal_each
from earlybird.operations.audit.findings import Difference
from earlybird.promotions.campaigns.model import Campaign
from earlybird.promotions.redemptions.model import Redemption, RedemptionState, discount_amount
from earlybird.promotions.vouchers.model import Voucher

Document = Mapping[str, Any]


def next_number(last: int, entry: FirstLogin) -> int:
    """Return the number of the entry that comes after `last`. Raises Difference unless it is the next."""
    if entry.n != last + 1:
        raise Difference(f"ledger: after {last} comes {entry.n}, not {last + 1}")
    return entry.n


def next_seal(secret: bytes, before: bytes, entry: FirstLogin, found: bytes | None) -> bytes:
    """Return the entry's seal, which follows from the one before it. Raises Difference unless it was found."""
    [expected] = seal_each(secret, before, [entry])
    if found is None:
        raise Difference(f"ledger: entry {entry.n} has no seal: the sequencer seals it when it starts")
    if found != expected:
        raise Difference(f"ledger: the seal of entry {entry.n} does not fit the entries up to it")
    return expected


def is_entered(user: Document, entry: Document | None) -> bool:
    """Tell whether this is the entry of this user; if not, the user has none. Both come in order of user id.

    Raises Difference where user and entry contradict each other, or the entry is of nobody.
    """
    user_id: UUID = user["_id"]
    if user.get("first_login_at") is None or user["is_first_login"] != 0:
        raise Difference(f"users: {user_id} has is_first_login and first_login_at that contradict each other")
    if entry is None or entry["user_id"].bytes > user_id.bytes:
        return False
    if entry["user_id"] != user_id:
        raise Difference(f"ledger: entry {entry['_id']} is of {entry['user_id']}, who never logged in")
    if entry["first_login_at"] != user["first_login_at"]:
        raise Difference(f"ledger: entry {entry['_id']} is dated otherwise than its user {user_id}")
    return True


def check_voucher(campaign: Campaign, expected: Voucher, found: Voucher | None) -> None:
    """Compare the voucher at a position with the one that was earned. Raises Difference."""
    where = f"campaign “{campaign.name}”, position {expected.position}"
    if found is None:
        raise Difference(f"{where}: {expected.user_id} earned a voucher and holds none")
    if found.user_id != expected.user_id:
        raise Difference(f"{where}: {expected.user_id} earned the voucher, {found.user_id} holds it")
    if found != expected:
        raise Difference(f"{where}: the voucher is not on the campaign's terms")


def withdrawn_position(voucher: Document) -> int:
    """Return the position of a withdrawn voucher. Raises Difference if it could be used all the same."""
    where = f"voucher {voucher['_id']}: it is withdrawn, and"
    if voucher["is_available"]:
        raise Difference(f"{where} available")
    if voucher.get("held_by") is not None or voucher.get("held_until") is not None:
        raise Difference(f"{where} held")
    position: int = voucher["position"]
    return position


def check_replacements(campaign: Campaign, withdrawn: Collection[int]) -> None:
    """See that each replacement is of a withdrawn voucher, and no two of the same. Raises Difference."""
    left = set(withdrawn)
    for step in campaign.raises:
        if step.replaces is None:
            continue
        if step.replaces not in left:
            why = "replaced twice" if step.replaces in withdrawn else "replaced, and was not withdrawn"
            raise Difference(f"campaign “{campaign.name}”: position {step.replaces} is {why}")
        left.remove(step.replaces)


def check_withdrawal_noted(voucher: Document, noted: Document) -> None:
    """Compare a withdrawn voucher with what the log says of it. Raises Difference."""
    for name in ("withdrawn_at", "withdrawn_by", "withdrawn_reason"):
        if noted.get(name) != voucher.get(name):
            raise Difference(f"voucher {voucher['_id']}: {name} is not what the audit log says")


@dataclass(slots=True)
class Tally:
    """What the redemptions come to, added one by one in the order of their vouchers."""

    spent: int = 0
    held: int = 0
    discounts: dict[str, int] = field(default_factory=dict)  # minor units, by currency
    _last_spent: UUID | None = None

    def add(self, redemption: Redemption, document: Document, voucher: Voucher) -> None:
        """Count a redemption; `document` is its voucher as it is stored. Raises Difference."""
        _check_terms(redemption, voucher)
        _check_withdrawn(redemption, document)
        self.held += _holds(redemption, document)
        if redemption.state is not RedemptionState.REDEEMED:
            return
        if redemption.voucher_id == self._last_spent:
            raise Difference(f"voucher {redemption.voucher_id}: it was spent twice")
        if document["is_available"]:
            raise Difference(f"voucher {redemption.voucher_id}: it is available, and redeemed")
        self._last_spent = redemption.voucher_id
        self.spent += 1
        so_far = self.discounts.get(redemption.currency, 0)
        self.discounts[redemption.currency] = so_far + redemption.discount_amount


def _check_terms(redemption: Redemption, voucher: Voucher) -> None:
    where = f"redemption {redemption.id}"
    if (redemption.user_id, redemption.campaign_id) != (voucher.user_id, voucher.campaign_id):
        raise Difference(f"{where}: it is not of its voucher's owner and campaign")
    if redemption.discount_amount != discount_amount(voucher, redemption.amount):
        raise Difference(f"{where}: the discount is not the voucher's")
    if redemption.payable_amount != redemption.amount - redemption.discount_amount:
        raise Difference(f"{where}: amount, discount and payable amount do not add up")
    if voucher.currency not in {None, redemption.currency} or redemption.amount < (voucher.min_amount or 0):
        raise Difference(f"{where}: the voucher is not for such a purchase")


def _check_withdrawn(redemption: Redemption, voucher: Document) -> None:
    is_withdrawn = voucher.get("withdrawn_at") is not None
    if is_withdrawn and redemption.state is RedemptionState.REDEEMED:
        raise Difference(f"voucher {redemption.voucher_id}: it is withdrawn, and redeemed")
    if not is_withdrawn and redemption.state is RedemptionState.WITHDRAWN:
        raise Difference(f"redemption {redemption.id}: it ended with its voucher, which was not withdrawn")


def _holds(redemption: Redemption, voucher: Document) -> bool:
    """Tell whether this is the reservation that holds the voucher."""
    if voucher.get("held_by") != redemption.id:
        return False
    if redemption.state is not RedemptionState.RESERVED or voucher.get("held_until") != redemption.reserved_until:
        raise Difference(
            f"voucher {redemption.voucher_id}: it is held by {redemption.id}, which is {redemption.state}"
        )
    return True
