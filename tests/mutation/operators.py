"""Mutants that mutmut does not make: one part is left out of a text, a list, a set, a tuple or a dictionary.

A request's fingerprint without its currency is of this kind, and so is a list of fields without one of them.
"""

from collections.abc import Iterable
from typing import Any, cast

import libcst as cst
from mutmut.mutation import mutators

_PARTS = {cst.FormattedString: "parts", cst.Tuple: "elements", cst.List: "elements", cst.Set: "elements"}


def leave_out_a_part(node: cst.CSTNode) -> Iterable[cst.CSTNode]:
    """Yield the node without each of its parts; literal text of an f-string is left to mutmut's own operators."""
    name = "elements" if isinstance(node, cst.Dict) else _PARTS[type(node)]
    parts = getattr(node, name)
    for i, part in enumerate(parts):
        if len(parts) > 1 and not isinstance(part, cst.FormattedStringText):
            yield node.with_changes(**{name: [*parts[:i], *parts[i + 1 :]]})


def add_operators() -> None:
    """Have mutmut make these mutants too."""
    made: list[Any] = cast("list[Any]", mutators.mutation_operators)
    made.extend((kind, leave_out_a_part) for kind in (*_PARTS, cst.Dict))
