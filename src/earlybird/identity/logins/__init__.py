"""Logins: how people prove who they are."""
