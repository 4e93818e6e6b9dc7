"""Mutation testing: the code that decides is changed, one place at a time, and a test must fail for each change.

`python -m mutation` with `tests` on the path, or `make mutants`; `make mutants ARGS=--help`. The mutation tester
is mutmut. Here is what it lacks: mutants that leave out one part of a whole, the list of survivors with their
reasons, and a sample for `make test`.
"""
