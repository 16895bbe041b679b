"""Owns what jobs leave behind: named byte streams, kept in the blob store, found again by a row.

The jobs room saves them, people and programs list and download them. Publishes nothing.
"""
