"""Every crash point of the source, by name: those written out, and the two around each transaction's commit."""

import re
from pathlib import Path

import earlybird

_SOURCE = Path(earlybird.__file__).parent
_TEXT = "\n".join(file.read_text() for file in _SOURCE.rglob("*.py"))
_TRANSACTIONS = set(re.findall(r'in_transaction\(\s*"(\w+)"', _TEXT))
CRASH_POINTS = sorted(
    set(re.findall(r'crash_point\("([^"]+)"\)', _TEXT))
    | {f"{name}.{moment}_commit" for name in _TRANSACTIONS for moment in ("before", "after")}
)
