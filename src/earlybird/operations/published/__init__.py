"""The published list of a campaign: written from the databases, and verified without them (docs/seals.md)."""
