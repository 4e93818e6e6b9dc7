"""Vouchers, as their owners see them."""
