"""What operators run against the data: audit, backup, the list of winners, repair."""
