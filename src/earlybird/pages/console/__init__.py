"""The console: campaigns, people and the system, for managers and support."""
