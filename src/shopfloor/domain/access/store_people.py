"""Every query about members, roles and teams, inside the organization of the transaction's principal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString
from uuid import UUID

from shopfloor.domain.access.models import Member, Role, Team, TeamMember
from shopfloor.infra.tx import Tx

_MEMBER: LiteralString = "id, email, name, kind, role, disabled_at, version, created_at, updated_at"
_ROLE: LiteralString = "id, name, description, base, permissions, version, created_at, updated_at"
_TEAM: LiteralString = "id, slug, name, description, role, version, created_at, updated_at"


async def member(tx: Tx, user_id: UUID, *, lock: bool = False) -> Member | None:
    """By id; with `lock` nobody changes it before the commit."""
    last: LiteralString = " for no key update" if lock else ""
    row = await tx.one(f"select {_MEMBER} from users where id = %s{last}", (user_id,))
    return Member(**row) if row else None


async def role_of(tx: Tx, user_id: UUID) -> str:
    """What they have in the organization; empty for nobody."""
    row = await tx.one("select role from users where id = %s", (user_id,))
    return row["role"] if row else ""


async def members(tx: Tx, *, filters: dict[str, Any], after: UUID | None, limit: int) -> list[Member]:
    """Oldest first. Filters: role, kind, active (whether they are not disabled)."""
    where: LiteralString = "organization_id = %(organization)s and (%(after)s::uuid is null or id > %(after)s)"
    for name, clause in _MEMBER_FILTERS.items():
        if filters.get(name) is not None:
            where += clause
    rows = await tx.all(
        f"select {_MEMBER} from users where {where} order by id limit %(limit)s",
        {**filters, "organization": tx.organization_id, "after": after, "limit": limit},
    )
    return [Member(**row) for row in rows]


_MEMBER_FILTERS: dict[str, LiteralString] = {
    "role": " and role = %(role)s",
    "kind": " and kind = %(kind)s",
    "active": " and (disabled_at is null) = %(active)s",
}


async def add_member(tx: Tx, user_id: UUID, *, email: str, name: str, kind: str, role: str) -> bool:
    """False when the e-mail address is taken."""
    added = await tx.execute(
        "insert into users (id, organization_id, email, name, kind, role) values (%s, %s, %s, %s, %s, %s) "
        "on conflict (organization_id, email) do nothing",
        (user_id, tx.organization_id, email, name, kind, role),
    )
    return added == 1


async def add_first_owner(tx: Tx, user_id: UUID, organization_id: UUID, *, email: str) -> None:
    """Of an organization that is being made."""
    await tx.execute(
        "insert into users (id, organization_id, email, name, role) values (%s, %s, %s, 'Owner', 'owner')",
        (user_id, organization_id, email),
    )


async def change_member(tx: Tx, user_id: UUID, *, name: str, role: str) -> None:
    """The caller holds the row's lock."""
    await tx.execute(
        "update users set name = %s, role = %s, version = version + 1, updated_at = now() where id = %s",
        (name, role, user_id),
    )


async def set_disabled(tx: Tx, user_id: UUID, *, disabled: bool) -> None:
    """From the commit on no credential of theirs passes; or keys again. Sessions end for good: who is back signs in."""
    await tx.execute(
        "update users set disabled_at = case when %s then now() end, version = version + 1, updated_at = now() "
        "where id = %s",
        (disabled, user_id),
    )
    await tx.execute(
        "update sessions set revoked_at = now(), revoked_for = 'disabled' "
        "where organization_id = %s and user_id = %s and revoked_at is null and %s",
        (tx.organization_id, user_id, disabled),
    )


async def has_jobs(tx: Tx, user_id: UUID) -> bool:
    """Whether a job names the person as who submitted it."""
    row = await tx.one(
        "select 1 from jobs where organization_id = %s and created_by = %s limit 1", (tx.organization_id, user_id)
    )
    return row is not None


async def delete_member(tx: Tx, user_id: UUID) -> None:
    """With their teams and grants. Raises: psycopg.errors.ForeignKeyViolation when something else names them."""
    await tx.execute("delete from users where id = %s", (user_id,))


async def lock_owners(tx: Tx) -> set[UUID]:
    """The people who are owners now; none of them changes before the commit."""
    rows = await tx.all(
        "select id from users where organization_id = %s and role = 'owner' and kind = 'person' "
        "and disabled_at is null order by id for no key update",
        (tx.organization_id,),
    )
    return {row["id"] for row in rows}


async def holders(tx: Tx, roles: list[str], *, limit: int) -> list[str]:
    """Names of people who have one of these roles in the organization and are not disabled, oldest first."""
    rows = await tx.all(
        "select name from users where organization_id = %s and role = any(%s) and kind = 'person' "
        "and disabled_at is null order by id limit %s",
        (tx.organization_id, roles, limit),
    )
    return [row["name"] for row in rows]


async def role(tx: Tx, name: str, *, lock: bool = False) -> Role | None:
    """One of the organization's own; with `lock` it isn't removed before the commit."""
    last: LiteralString = " for key share" if lock else ""
    row = await tx.one(
        f"select {_ROLE} from roles where organization_id = %s and name = %s{last}", (tx.organization_id, name)
    )
    return Role(**row) if row else None


async def roles(tx: Tx) -> list[Role]:
    """All of the organization's own, by name; `MOST_ROLES` bounds them."""
    rows = await tx.all(f"select {_ROLE} from roles where organization_id = %s order by name", (tx.organization_id,))
    return [Role(**row) for row in rows]


async def add_role(tx: Tx, role_id: UUID, *, name: str, fields: dict[str, Any]) -> bool:
    """False when the name is taken."""
    added = await tx.execute(
        "insert into roles (id, organization_id, name, description, base, permissions) values (%s, %s, %s, %s, %s, %s) "
        "on conflict (organization_id, name) do nothing",
        (role_id, tx.organization_id, name, fields["description"], fields["base"], fields["permissions"]),
    )
    return added == 1


async def change_role(tx: Tx, role: Role, *, description: str, permissions: list[str]) -> bool:
    """False when it has changed since `role` was read."""
    changed = await tx.execute(
        "update roles set description = %s, permissions = %s, version = version + 1, updated_at = now() "
        "where id = %s and version = %s",
        (description, permissions, role.id, role.version),
    )
    return changed == 1


async def lock_role(tx: Tx, role_id: UUID) -> None:
    """Nobody gives it to anybody before the commit."""
    await tx.execute("select 1 from roles where id = %s for update", (role_id,))


async def uses_of_role(tx: Tx, name: str) -> int:
    """How many people, teams and grants have it."""
    row = await tx.one(
        "select (select count(*) from users where organization_id = %(organization)s and role = %(name)s) "
        "+ (select count(*) from teams where organization_id = %(organization)s and role = %(name)s) "
        "+ (select count(*) from project_grants where organization_id = %(organization)s and role = %(name)s) as n",
        {"organization": tx.organization_id, "name": name},
    )
    assert row is not None
    return int(row["n"])


async def delete_role(tx: Tx, role_id: UUID) -> None:
    """The caller has seen that nobody has it."""
    await tx.execute("delete from roles where id = %s", (role_id,))


async def team_by(tx: Tx, name_or_id: str | UUID) -> Team | None:
    """By slug or id."""
    if isinstance(name_or_id, UUID):
        row = await tx.one(f"select {_TEAM} from teams where id = %s", (name_or_id,))
    else:
        row = await tx.one(
            f"select {_TEAM} from teams where organization_id = %s and slug = %s", (tx.organization_id, name_or_id)
        )
    return Team(**row) if row else None


async def teams(tx: Tx, *, after: UUID | None, limit: int) -> list[Team]:
    """Oldest first."""
    rows = await tx.all(
        f"select {_TEAM} from teams where organization_id = %s and (%s::uuid is null or id > %s) order by id limit %s",
        (tx.organization_id, after, after, limit),
    )
    return [Team(**row) for row in rows]


async def add_team(tx: Tx, team_id: UUID, *, slug: str, fields: dict[str, Any]) -> bool:
    """False when the slug is taken."""
    added = await tx.execute(
        "insert into teams (id, organization_id, slug, name, description, role) values (%s, %s, %s, %s, %s, %s) "
        "on conflict (organization_id, slug) do nothing",
        (team_id, tx.organization_id, slug, fields["name"], fields["description"], fields["role"]),
    )
    return added == 1


async def change_team(tx: Tx, team: Team, *, fields: dict[str, Any]) -> bool:
    """False when it has changed since `team` was read."""
    changed = await tx.execute(
        "update teams set name = %s, description = %s, role = %s, version = version + 1, updated_at = now() "
        "where id = %s and version = %s",
        (
            fields.get("name", team.name), fields.get("description", team.description), fields.get("role", team.role),
            team.id, team.version,
        ),
    )  # fmt: skip
    return changed == 1


async def delete_team(tx: Tx, team_id: UUID) -> None:
    """With its members and grants. Raises: psycopg.errors.ForeignKeyViolation when it owns projects."""
    await tx.execute("delete from teams where id = %s", (team_id,))


_TEAM_MEMBER: LiteralString = (
    "select m.team_id, m.user_id, u.name, m.team_role, m.created_at from team_members m join users u "
    "on u.organization_id = m.organization_id and u.id = m.user_id where m.organization_id = %s and m.team_id = %s"
)


async def team_members(tx: Tx, team_id: UUID, *, after: UUID | None, limit: int) -> list[TeamMember]:
    """By the members' ids."""
    rows = await tx.all(
        f"{_TEAM_MEMBER} and (%s::uuid is null or m.user_id > %s) order by m.user_id limit %s",
        (tx.organization_id, team_id, after, after, limit),
    )
    return [TeamMember(**row) for row in rows]


async def team_member(tx: Tx, team_id: UUID, user_id: UUID) -> TeamMember | None:
    """One."""
    row = await tx.one(f"{_TEAM_MEMBER} and m.user_id = %s", (tx.organization_id, team_id, user_id))
    return TeamMember(**row) if row else None


async def put_team_member(tx: Tx, team_id: UUID, user_id: UUID, team_role: str) -> None:
    """In the team from now on, in this role."""
    await tx.execute(
        "insert into team_members (organization_id, team_id, user_id, team_role) values (%s, %s, %s, %s) "
        "on conflict (organization_id, team_id, user_id) do update set team_role = excluded.team_role",
        (tx.organization_id, team_id, user_id, team_role),
    )


async def join_teams(tx: Tx, user_id: UUID, team_ids: Sequence[UUID]) -> list[UUID]:
    """A member of those of the teams that there are; the ones that are new."""
    rows = await tx.all(
        "insert into team_members (organization_id, team_id, user_id, team_role) "
        "select organization_id, id, %s, 'member' from teams where organization_id = %s and id = any(%s) "
        "on conflict do nothing returning team_id",
        (user_id, tx.organization_id, list(team_ids)),
    )
    return [row["team_id"] for row in rows]


async def delete_team_member(tx: Tx, team_id: UUID, user_id: UUID) -> bool:
    """False when they weren't in it."""
    gone = await tx.execute(
        "delete from team_members where organization_id = %s and team_id = %s and user_id = %s",
        (tx.organization_id, team_id, user_id),
    )
    return gone == 1


async def roles_through(tx: Tx, team_id: UUID) -> list[str]:
    """The roles that the team's members have through it: its own and those of its grants."""
    rows = await tx.all(
        "select role from teams where organization_id = %(organization)s and id = %(team)s union "
        "select role from project_grants where organization_id = %(organization)s and team_id = %(team)s",
        {"organization": tx.organization_id, "team": team_id},
    )
    return [row["role"] for row in rows]
