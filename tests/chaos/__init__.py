"""Chaos: a generator of work, a nemesis that breaks what it runs on, a history of both, and a checker of the history.

Read it in this order: run (the story) > ground (what is broken) > nemesis > generator > history > checker.
"""
