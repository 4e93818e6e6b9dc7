"""Who is calling: tokens verified offline, identity's public keys, roles."""
