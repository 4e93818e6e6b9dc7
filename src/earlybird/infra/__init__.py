"""The technologies: HTTP, MongoDB, NATS, Valkey, logs. Nothing here knows either service."""
