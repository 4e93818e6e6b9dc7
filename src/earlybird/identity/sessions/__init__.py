"""Sessions: the tokens that people carry after they log in."""
