"""What other systems and people are told of, at an address of their own: signed, in order, and not lost."""
