"""Owns who may do what, and where: organizations, projects, users, API keys.

Every room above calls it: `http.Require("...")` on each route, `projects.find_project` for the project a request names.
It publishes nothing yet.
"""
