"""Owns who may do what, and where: organizations, projects, users, API keys.

Called by every room above; publishes nothing yet.
"""
