"""Who acts: a user, a service account, a key, a worker or the system itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from shopfloor.base.errors import PermissionDenied

PrincipalKind = Literal["user", "service", "key", "worker", "system"]
_NONE: Mapping[UUID, frozenset[str]] = {}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts, for which organization, with which permissions, and where.

    A permission holds in the whole organization (`permissions`) or in single projects (`project_permissions`);
    `project_ids` limits both to some projects, as a key's binding does.
    """

    kind: PrincipalKind
    id: UUID  # of the user, the key, the worker
    organization_id: UUID
    permissions: frozenset[str] = field(default_factory=frozenset[str])
    project_ids: frozenset[UUID] | None = None  # None: not limited to some projects
    name: str = ""  # for people: "key ci", "worker host-1"
    project_permissions: Mapping[UUID, frozenset[str]] = field(default_factory=lambda: _NONE)
    user_id: UUID | None = None  # the person or service account behind a key or session; None: a worker, the system
    session_id: UUID | None = None  # of a person who signed in; None: a key
    signed_in_at: datetime | None = None  # when this session last proved who it is; None: a key, this machine's owner
    restricted: bool = False  # may only set up the second factor that the organization requires

    def allows(self, permission: str, project_id: UUID | None = None) -> bool:
        """Whether this principal may do `permission`, in `project_id` if one is named, else in the organization."""
        if project_id is None:
            return permission in self.permissions or "*" in self.permissions
        if self.project_ids is not None and project_id not in self.project_ids:
            return False
        return (
            permission in self.permissions
            or "*" in self.permissions
            or permission in self.project_permissions.get(project_id, ())
        )

    def allows_somewhere(self, permission: str) -> bool:
        """Whether there is a place where this principal may do `permission`."""
        places = self.projects_where(permission)
        return places is None or bool(places) or self.allows(permission)

    def projects_where(self, permission: str) -> frozenset[UUID] | None:
        """The projects in which this principal may do `permission`; None: in every one of the organization."""
        if permission in self.permissions or "*" in self.permissions:
            return self.project_ids
        granted = frozenset(place for place, held in self.project_permissions.items() if permission in held)
        return granted if self.project_ids is None else granted & self.project_ids

    def require(self, permission: str, project_id: UUID | None = None) -> None:
        """Raises: PermissionDenied that names the missing permission."""
        if not self.allows(permission, project_id):
            raise missing(self, permission, project_id)


def missing(principal: Principal, permission: str, project_id: UUID | None = None) -> PermissionDenied:
    """The refusal that names the permission and who can give it."""
    where = {} if project_id is None else {"project_id": str(project_id)}
    return PermissionDenied(
        f"{principal.name or principal.kind} may not do this: the permission {permission!r} is missing. "
        "An owner or admin of the organization can give it.",
        permission=permission,
        **where,
    )
