"""The state diagrams of ARCHITECTURE.md, as they are drawn."""

import re
from pathlib import Path

_PAGE = Path(__file__).parents[2] / "ARCHITECTURE.md"


def drawn_steps(state: str) -> set[tuple[str, str, str]]:
    """Return (state, next state, event) for each arrow of the diagram that has this state; `[*]` is the
    beginning."""
    for block in re.findall(r"^stateDiagram-v2\n(.*?)^```", _PAGE.read_text(), re.MULTILINE | re.DOTALL):
        steps = set(re.findall(r"^\s*(\S+) --> (\S+): (.+)$", block, re.MULTILINE))
        if any(state in step[:2] for step in steps):
            return steps
    raise AssertionError(f"ARCHITECTURE.md has no state diagram with {state}")
