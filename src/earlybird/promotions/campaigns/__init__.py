"""Campaigns: the terms under which first logins are rewarded."""
