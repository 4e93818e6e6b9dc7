"""Journeys: what clients and operators live through, on the whole stack behind Envoy.

A package, unlike its neighbours, so that its conftest does not have the name of the one above.
"""
