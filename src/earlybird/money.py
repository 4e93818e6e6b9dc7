"""Money: whole minor units (ISO 4217) of a currency, such as cents of a euro or whole dong."""

from iso4217 import Currency

LARGEST_AMOUNT = 2**53 - 1  # the largest whole number that every JSON reader keeps (RFC 7493)


# ISO 4217, without what has no minor unit at all: precious metals, units of account, test codes.
CURRENCIES = tuple(sorted(currency.code for currency in Currency if currency.exponent is not None))
