"""Throttle: how often somebody may guess a password or make an account."""
