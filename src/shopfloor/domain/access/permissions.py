"""The one table of roles and permissions. Whoever is not in it may nothing."""

from __future__ import annotations

from typing import Final

_READ: Final = {
    "organization.read",
    "project.read",
    "job.read",
    "artifact.read",
    "agent.read",
    "provider.read",
    "price.read",
    "system.read",
    "secret.read",
}
_WORK: Final = {"job.submit", "job.cancel", "job.retry", "job.approve"}
_MANAGE: Final = {"project.edit", "provider.edit", "price.edit", "budget.edit", "secret.edit"}
_ADMIN: Final = {"key.edit", "member.edit", "organization.edit"}

ROLES: Final[dict[str, frozenset[str]]] = {
    "owner": frozenset(_READ | _WORK | _MANAGE | _ADMIN | {"audit.read"}),
    "admin": frozenset(_READ | _WORK | _MANAGE | _ADMIN | {"audit.read"}),
    "manager": frozenset(_READ | _WORK | _MANAGE),
    "developer": frozenset(_READ | _WORK),
    "viewer": frozenset(_READ),
    "auditor": frozenset(_READ | {"audit.read"}),
}
EVERY: Final[frozenset[str]] = frozenset(permission for role in ROLES.values() for permission in role)
