"""What goes in and out over HTTP about members, roles, teams and grants."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints

from shopfloor.domain.access.models import Member, Role
from shopfloor.domain.access.permissions import ROLE_DESCRIPTIONS, ROLES
from shopfloor.domain.access.schemas import Name, Permission, Slug
from shopfloor.infra.web.json_body import Body, Reply
from shopfloor.infra.web.wording import worded

_ROLE = "Write 1 to 63 lower-case letters, digits and hyphens, with a letter first, e.g. release-manager."
RoleName = Annotated[str, StringConstraints(pattern=worded(r"^[a-z][a-z0-9-]{0,62}$", _ROLE))]
Description = Annotated[str, StringConstraints(max_length=1_000, strip_whitespace=True)]
Kind = Literal["person", "service"]
TeamRole = Literal["lead", "member"]


class MemberReply(Reply):
    """A person or a service account."""

    id: UUID
    kind: Kind
    name: str
    email: str | None = Field(description="Null: a service account has none.")
    role: str = Field(description="Built-in or the organization's own.")
    status: Literal["active", "disabled"]
    version: int
    created_at: datetime
    updated_at: datetime


class MemberChange(Body):
    """What to change. What is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "developer"}]})

    name: Name = ""
    role: RoleName = ""


class ProjectGrant(Body):
    """A role in one project."""

    project: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(description="Id or slug.")
    role: RoleName


class ServiceAccountNew(Body):
    """An account for programs; make keys for it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "ci", "grants": [{"project": "shop", "role": "developer"}]}]}
    )

    name: Name
    role: RoleName = Field(default="member", description="`member`: what everybody may; the rest by grants.")
    grants: list[ProjectGrant] = Field(default=[], max_length=50)


class RoleReply(Reply):
    """A role: what whoever has it may."""

    name: str
    description: str
    built_in: bool
    base: str | None = Field(description="The built-in role it was made from.")
    permissions: list[str]
    version: int = Field(description="0: built in.")


class RolesReply(Reply):
    """Every role that can be given, the built-in ones first."""

    items: list[RoleReply]


class RoleNew(Body):
    """A role to make. It may at most what its maker may."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "releaser", "base": "viewer", "permissions": ["delivery.edit"]}]}
    )

    name: RoleName = Field(description="It never changes.")
    description: Description = ""
    base: RoleName | None = Field(default=None, description="A built-in role whose permissions it starts with.")
    permissions: list[Permission] = Field(default=[], max_length=100)


class RoleChange(Body):
    """What to change. What is left out stays; `permissions` is replaced as a whole."""

    description: Description = ""
    permissions: list[Permission] = Field(default=[], max_length=100)


class PermissionReply(Reply):
    """Something that may be allowed."""

    name: str
    scope: Literal["organization", "project"] = Field(description="`project`: can be given in single projects too.")
    description: str


class PermissionsReply(Reply):
    """The whole table."""

    items: list[PermissionReply]


class TeamNew(Body):
    """A team to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"slug": "web", "name": "Web", "role": "developer"}]})

    slug: Slug = Field(description="Its name in addresses and commands; it never changes.")
    name: Name
    description: Description = ""
    role: RoleName = Field(default="developer", description="Of its members in each project the team owns.")


class TeamChange(Body):
    """What to change. What is left out stays."""

    name: Name = ""
    description: Description = ""
    role: RoleName = ""


class TeamReply(Reply):
    """People who get the same rights in projects together."""

    id: UUID
    slug: str
    name: str
    description: str
    role: str
    version: int
    created_at: datetime
    updated_at: datetime


class TeamMemberPut(Body):
    """How somebody is in a team."""

    team_role: TeamRole = Field(default="member", description="`lead`: manages the projects that the team owns.")


class TeamMemberReply(Reply):
    """Somebody in a team."""

    team_id: UUID
    user_id: UUID
    name: str
    team_role: TeamRole
    created_at: datetime


class GrantPut(Body):
    """The role to give in the project."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "developer"}]})

    role: RoleName


class GrantReply(Reply):
    """A role that a person or a team has in a project."""

    project_id: UUID
    user_id: UUID | None
    team_id: UUID | None
    role: str
    created_at: datetime


def member_reply(member: Member) -> MemberReply:
    """As HTTP shows it."""
    return MemberReply.model_validate(
        {name: getattr(member, name) for name in MemberReply.model_fields if hasattr(member, name)}
        | {
            "email": member.email if member.kind == "person" else None,
            "status": "active" if member.disabled_at is None else "disabled",
        }
    )


def role_reply(role: Role) -> RoleReply:
    """As HTTP shows it."""
    return RoleReply(
        name=role.name, description=role.description, built_in=False, base=role.base, permissions=role.permissions,
        version=role.version,
    )  # fmt: skip


def built_in_role_reply(name: str) -> RoleReply:
    """As HTTP shows it."""
    return RoleReply(
        name=name, description=ROLE_DESCRIPTIONS[name], built_in=True, base=None, permissions=sorted(ROLES[name]),
        version=0,
    )  # fmt: skip
