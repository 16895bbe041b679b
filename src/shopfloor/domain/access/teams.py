"""Teams: people who get the same rights in projects together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import psycopg

from shopfloor.base.errors import InvalidInput, PreconditionFailed
from shopfloor.base.ids import new_id, parse_id
from shopfloor.domain.access import store_people as store
from shopfloor.domain.access.ceiling import check_may_give
from shopfloor.domain.access.errors import MemberUnknown, NameTaken, TeamInUse, TeamUnknown
from shopfloor.domain.access.models import Team, TeamMember
from shopfloor.domain.access.permissions import PROJECT_OWNER_ROLE
from shopfloor.infra.tx import Tx


async def list_teams(tx: Tx, *, after: UUID | None, limit: int) -> list[Team]:
    """Oldest first."""
    tx.require("team.read")
    return await store.teams(tx, after=after, limit=limit)


async def find_team(tx: Tx, name_or_id: str) -> Team:
    """By slug or id. Raises: TeamUnknown, PermissionDenied."""
    tx.require("team.read")
    team = await store.team_by(tx, parse_id(name_or_id) or name_or_id)
    if team is None:
        raise TeamUnknown(f"There is no team {name_or_id!r}. GET /api/v1/teams lists them.")
    return team


async def create_team(tx: Tx, *, slug: str, name: str, description: str, role: str) -> Team:
    """A new team; `role` is what its members have in projects it owns. Raises: NameTaken, RoleUnknown, InvalidInput."""
    tx.require("team.edit")
    if parse_id(slug) is not None:
        raise InvalidInput("A slug can't be written like an id: both name teams in addresses.", slug=slug)
    await check_may_give(tx, role, in_projects=True)
    team_id = new_id()
    fields = {"name": name, "description": description, "role": role}
    if not await store.add_team(tx, team_id, slug=slug, fields=fields):
        raise NameTaken(f"There is a team {slug!r} already. Choose another slug, or change that one.")
    await tx.record("team.created", "team", team_id, after={"slug": slug, "role": role})
    return await find_team(tx, str(team_id))


async def change_team(tx: Tx, team: Team, fields: dict[str, Any]) -> Team:
    """Another `name`, `description` or `role`. Raises: RoleUnknown, PermissionDenied, PreconditionFailed."""
    tx.require("team.edit")
    role = fields.get("role", team.role)
    if role != team.role:
        await check_may_give(tx, team.role, in_projects=True)
        await check_may_give(tx, role, in_projects=True)
    if fields and not await store.change_team(tx, team, fields=fields):
        raise PreconditionFailed("Somebody changed the team at the same moment. Read it again, then repeat this.")
    before = {name: getattr(team, name) for name in fields}
    await tx.record("team.changed", "team", team.id, before=before, after=fields)
    return await find_team(tx, str(team.id))


async def remove_team(tx: Tx, team: Team) -> None:
    """Remove a team that owns no project; its members keep what they have otherwise. Raises: TeamInUse."""
    tx.require("team.edit")
    for role in await store.roles_through(tx, team.id):
        await check_may_give(tx, role, in_projects=True)
    try:
        await store.delete_team(tx, team.id)
    except psycopg.errors.ForeignKeyViolation as error:
        raise TeamInUse(
            f"The team {team.slug} owns projects. Give them another team first: PATCH each with another `team_id`."
        ) from error
    await tx.record("team.removed", "team", team.id, before={"slug": team.slug, "role": team.role})


async def list_team_members(tx: Tx, team: Team, *, after: UUID | None, limit: int) -> list[TeamMember]:
    """Those in the team."""
    tx.require("team.read")
    return await store.team_members(tx, team.id, after=after, limit=limit)


async def put_team_member(tx: Tx, team: Team, user_id: UUID, team_role: str) -> TeamMember:
    """Into the team, as a lead or a member; again with the same role changes nothing.

    Raises: MemberUnknown, PermissionDenied when the team gives more than one has.
    """
    tx.require("team.edit")
    if await store.member(tx, user_id) is None:
        raise MemberUnknown(f"There is no member {user_id}. GET /api/v1/members lists them.")
    await _check_may_add(tx, team, team_role)
    before = await store.team_member(tx, team.id, user_id)
    if before is None or before.team_role != team_role:
        await store.put_team_member(tx, team.id, user_id, team_role)
        after = {"user_id": str(user_id), "team_role": team_role}
        await tx.record("team.member-added", "team", team.id, after=after)
    found = await store.team_member(tx, team.id, user_id)
    assert found is not None
    return found


async def teams_to_join(tx: Tx, names_or_ids: Sequence[str]) -> list[UUID]:
    """The teams that the principal may put somebody into.

    Raises: TeamUnknown; PermissionDenied as `put_team_member`.
    """
    if names_or_ids:
        tx.require("team.edit")
    found = {team.id: team for team in [await find_team(tx, each) for each in names_or_ids]}
    for team in found.values():
        await _check_may_add(tx, team, "member")
    return list(found)


async def join_teams(tx: Tx, user_id: UUID, team_ids: Sequence[UUID]) -> None:
    """A new account becomes a member of them, as somebody who might decided before; of those that are still there."""
    for team_id in await store.join_teams(tx, user_id, team_ids):
        after = {"user_id": str(user_id), "team_role": "member"}
        await tx.record("team.member-added", "team", team_id, after=after)


async def _check_may_add(tx: Tx, team: Team, team_role: str) -> None:
    """Raises: PermissionDenied when the team gives more than one has."""
    through = {*await store.roles_through(tx, team.id), *([PROJECT_OWNER_ROLE] if team_role == "lead" else [])}
    for role in sorted(through):
        await check_may_give(tx, role, in_projects=True)


async def remove_team_member(tx: Tx, team: Team, user_id: UUID) -> None:
    """Out of the team. Raises: MemberUnknown when they aren't in it, PermissionDenied."""
    tx.require("team.edit")
    for role in await store.roles_through(tx, team.id):
        await check_may_give(tx, role, in_projects=True)
    if not await store.delete_team_member(tx, team.id, user_id):
        raise MemberUnknown(f"{user_id} is not in the team {team.slug}.")
    await tx.record("team.member-removed", "team", team.id, before={"user_id": str(user_id)})
