"""The ledger: the order of first logins, and its way to the stream."""
