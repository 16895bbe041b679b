"""Owns who may do what, and where: organizations, people, roles, teams, grants, projects, API keys.

Every room above calls it: `http.Require("...")` on each route, `projects.find_project` for the project a request names.
What a person may *do* is asked of `tx.principal`; what of projects they may *touch* at all, PostgreSQL itself holds.
Publishes MemberDisabled.

Read it in this order: permissions (the table) > grants (who has what) > ceiling (who may give it) > people, teams,
roles, projects > http, why_not.
"""
