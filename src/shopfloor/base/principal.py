"""Who acts: a user, a key, a worker or the system itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from shopfloor.base.errors import PermissionDenied

PrincipalKind = Literal["user", "key", "worker", "system"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts, for which organization, with which permissions."""

    kind: PrincipalKind
    id: UUID
    organization_id: UUID
    permissions: frozenset[str] = field(default_factory=frozenset[str])
    project_ids: frozenset[UUID] | None = None  # None: every project of the organization
    name: str = ""  # for people: "key ci", "worker host-1"

    def allows(self, permission: str, project_id: UUID | None = None) -> bool:
        """Whether this principal may do `permission`, in `project_id` if one is named."""
        if self.project_ids is not None and project_id is not None and project_id not in self.project_ids:
            return False
        return permission in self.permissions or "*" in self.permissions

    def require(self, permission: str, project_id: UUID | None = None) -> None:
        """Raises: PermissionDenied that names the missing permission."""
        if not self.allows(permission, project_id):
            raise PermissionDenied(
                f"{self.name or self.kind} may not do this: the permission {permission!r} is missing. "
                "An owner or admin of the organization can give it.",
                permission=permission,
            )
