"""Granting: the order of first logins becomes vouchers."""
