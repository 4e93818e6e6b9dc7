"""Fault injection: a real cluster, real clients, one fault after another, and a checker of what everybody saw.

`python -m faults --help` with `tests` on the path, or `make faults`, runs the whole matrix.
"""
