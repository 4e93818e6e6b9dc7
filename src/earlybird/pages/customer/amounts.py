"""Amounts as people type them: never rounded, cut or guessed at. Pure."""

import re
from decimal import Decimal

from babel.numbers import get_currency_precision

CURRENCIES = ("VND", "USD", "EUR")  # offered where the campaign names none
_LONGEST = 12


def minor_units(typed: str, currency: str) -> int | None:
    """Return an amount in minor units (ISO 4217); None for what is no amount of this currency.

    Digits, and a dot before the cents. A dot or comma between thousands means another thing elsewhere, so it is
    refused.
    """
    digits = get_currency_precision(currency)
    cents = rf"(\.[0-9]{{1,{digits}}})?" if digits else ""
    text = typed.strip()
    if len(text) > _LONGEST or not re.fullmatch(rf"[0-9]+{cents}", text):
        return None
    return int(Decimal(text).scaleb(digits)) or None
