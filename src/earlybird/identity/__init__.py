"""identity owns users, passwords, tokens and the ledger: who logged in for the first time, in which order."""

DATABASE = "identity"  # where it keeps everything
