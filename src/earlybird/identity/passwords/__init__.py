"""Passwords: hashing, in a bounded pool."""
