"""A seeded simulation: the production workers on models of MongoDB, JetStream and Valkey, in virtual time.

`python -m simulation --help` with `tests` on the path, or `make simulate`, runs many histories.
"""
