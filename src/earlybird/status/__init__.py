"""Status: what the processes say of themselves by `/metrics` and `/readyz`, and what is wrong by that."""
