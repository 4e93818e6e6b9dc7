"""Reports: what those see who run a campaign, or answer questions about it. Nothing is written."""
