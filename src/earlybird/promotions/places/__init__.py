"""Places: everybody's number among the first logins that a campaign counted."""
