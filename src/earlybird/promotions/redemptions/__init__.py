"""Redemptions: how vouchers are spent."""
