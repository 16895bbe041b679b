"""Declared roles and the loop that runs them; each turn goes through the journal."""
