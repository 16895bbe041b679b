"""What a person may do today, and where: asked at every request, so that a change counts from its commit on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, LiteralString
from uuid import UUID

from shopfloor.domain.access.permissions import IN_PROJECTS, OF_THE_OPERATOR, PROJECT_OWNER_ROLE, permissions_of
from shopfloor.infra.tx import Tx

Via = Literal["role", "grant", "team", "owner"]


@dataclass(frozen=True, slots=True)
class Rights:
    """Of one user: in the whole organization, and in single projects beyond that."""

    permissions: frozenset[str]
    project_permissions: Mapping[UUID, frozenset[str]] = field(default_factory=dict[UUID, frozenset[str]])


@dataclass(frozen=True, slots=True)
class Held:
    """One reason for rights: a role that somebody has, where, and through what."""

    project_id: UUID | None  # None: in the whole organization
    role: str
    via: Via
    team_id: UUID | None
    permissions: frozenset[str]


async def rights_of(tx: Tx, user_id: UUID, role: str) -> Rights:
    """The rights of a user whose role in the organization is `role`; `tx` may be the system's."""
    return _together(await held_by(tx, user_id, role))


def rights_from(found: list[dict[str, Any]]) -> Rights:
    """Of what `RIGHTS` selected."""
    return _together([_held({**row, "project_id": row["project_id"] and UUID(row["project_id"])}) for row in found])


def _together(every: list[Held]) -> Rights:
    everywhere: frozenset[str] = frozenset()
    places: dict[UUID, frozenset[str]] = {}
    for held in every:
        if held.project_id is None:
            everywhere |= held.permissions
        else:
            places[held.project_id] = places.get(held.project_id, frozenset()) | held.permissions
    return Rights(everywhere, places)


async def held_by(tx: Tx, user_id: UUID, role: str) -> list[Held]:
    """Every role that the user has, with where it comes from; the one in the organization first."""
    rows = await tx.all(_HELD, {"user": user_id, "role": role, "owner_role": PROJECT_OWNER_ROLE})
    return [_held(row) for row in rows]


def _held(row: dict[str, Any]) -> Held:
    held = permissions_of(row["role"], row["permissions"])
    if row["project_id"] is not None:
        held &= IN_PROJECTS
    elif not row["operator"]:
        held -= OF_THE_OPERATOR
    return Held(row["project_id"], row["role"], row["via"], row["team_id"], held)


# Each branch through an index of its own. Runs at every request.
_ROLES: LiteralString = """
select held.project_id, held.role, held.via, held.team_id, r.permissions, o.operator
from users u join organizations o on o.id = u.organization_id
cross join lateral (
  select null::uuid as project_id, {role} as role, 'role' as via, null::uuid as team_id
  union all
  select g.project_id, g.role, 'grant', null from project_grants g
  where g.organization_id = u.organization_id and g.user_id = u.id
  union all
  select g.project_id, g.role, 'team', g.team_id
  from team_members m join project_grants g on g.organization_id = m.organization_id and g.team_id = m.team_id
  where m.organization_id = u.organization_id and m.user_id = u.id
  union all
  select p.id, case m.team_role when 'lead' then {owner_role} else t.role end, 'team', t.id
  from team_members m join teams t on t.organization_id = m.organization_id and t.id = m.team_id
  join projects p on p.organization_id = t.organization_id and p.team_id = t.id
  where m.organization_id = u.organization_id and m.user_id = u.id
  union all
  select p.id, {owner_role}, 'owner', null from projects p
  where p.organization_id = u.organization_id and p.owner_id = u.id
) held
left join roles r on r.organization_id = u.organization_id and r.name = held.role
where u.id = {user}
"""
_HELD: LiteralString = _ROLES.format(role="%(role)s::text", user="%(user)s", owner_role="%(owner_role)s")
# The same as one column, for a statement that has the user as `person`: it saves a round trip at every request.
RIGHTS: LiteralString = "(select jsonb_agg(to_jsonb(each)) from ({}) each) as rights".format(
    _ROLES.format(role="person.role", user="person.id", owner_role=f"'{PROJECT_OWNER_ROLE}'")
)
