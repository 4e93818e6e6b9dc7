"""`earlybird verify`: check a published list and receipts, with no database and no network."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from earlybird.cli.deployment import plain_console
from earlybird.errors import Failure

if TYPE_CHECKING:
    from earlybird.operations.published.verifying import Checked, Verified

_LONGEST_RECEIPT = 100_000  # bytes


def verify(
    file: Annotated[Path, Parameter(help="the list, as `earlybird campaign publish` writes it")],
    *,
    receipt: Annotated[
        list[Path] | None,
        Parameter(negative="", help="what GET /place or GET /seals/latest answered, in a file; may be repeated"),
    ] = None,
    key: Annotated[
        list[Path] | None,
        Parameter(
            negative="",
            help="the public key (JWK) in a file, if you have it from elsewhere; several, if it was replaced",
        ),
    ] = None,
) -> None:
    """Recompute a campaign's chain and winners from its published list; name the first difference (exit 1).

    A receipt is checked against the list: your number, your time, and that nobody before you was changed since.
    """
    from earlybird.operations.published.verifying import verify as verified

    signed = [_signed(path) for path in receipt or ()]
    _print(verified(file, signed, [_key(path) for path in key or ()]), key_is_known=bool(key))


def _key(path: Path) -> Any:  # noqa: ANN401 - whatever stands in the file
    found = _json(path)
    if isinstance(found, dict) and "key" in found:  # the answer of GET /seals/latest
        return found["key"]
    return found


def _json(path: Path) -> Any:  # noqa: ANN401 - whatever stands in the file
    try:
        return json.loads(path.read_text("utf-8")[:_LONGEST_RECEIPT])
    except ValueError:
        raise Failure(f"{path}: this is no JSON") from None


def _signed(path: Path) -> str:
    """Return the signed text, by itself or within an answer of ours."""
    text = path.read_bytes()[:_LONGEST_RECEIPT].decode("utf-8", "replace").strip()
    if not text.startswith("{"):
        return text
    found = _json(path)
    for name in ("place", "receipt", "jws"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    if not isinstance(found, str):
        raise Failure(f"{path}: there is no receipt and no seal in it")
    return found


def _print(found: "Verified", *, key_is_known: bool) -> None:
    head, console = found.head, plain_console(soft_wrap=True)
    entries = head.last_n - head.campaign.first_n + 1
    proofs = [
        f"chain: {entries} entries, each sealed with all before it, up to the signed seal of entry {head.last_n}",
        f"winners: of {found.counted} counted, the first {len(head.winners)} of at most {head.capacity}",
        *([f"withdrawn: {len(head.withdrawals)}"] if head.withdrawals else []),
        *map(_told, found.checked),
    ]
    for proof in proofs:
        console.print(Text.assemble(("  ✓ ", "green"), proof))
    console.print(Text.assemble(("Verified", "green"), f": “{head.campaign.name}” is as it was sealed."))
    if not key_is_known:
        console.print(
            f"By the key in the file, {found.key}: compare it with that of GET /seals/latest, or use --key."
        )


def _told(checked: "Checked") -> str:
    if not checked.signed.is_receipt:
        return f"earlier seal of entry {checked.signed.n}: nothing up to it has changed"
    came = datetime.fromisoformat(checked.signed.claims["at"]).astimezone(UTC)
    place = "not counted by this campaign" if checked.place is None else f"place {checked.place}"
    won = ", which won" if checked.has_won else ""
    return f"receipt of entry {checked.signed.n}, {came:%Y-%m-%d %H:%M:%S} UTC: {place}{won}"
