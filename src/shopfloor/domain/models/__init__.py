"""Owns which model providers an organization uses, with which keys, and what their models cost.

The jobs room asks `candidates.check_models` at submission and `candidates.candidates` when a run begins. A key leaves
the database only as a `Credentials` in memory; no answer, log or error ever holds one. Publishes nothing.
"""
