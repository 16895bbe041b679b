"""Projects: make, find, change, remove. What a key limited to other projects may not see does not exist for it."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

import psycopg

from shopfloor.base.errors import Conflict, InvalidInput, NotFound, PermissionDenied, PreconditionFailed
from shopfloor.base.ids import new_id, parse_id
from shopfloor.domain.access import store
from shopfloor.domain.access import store_people as people
from shopfloor.domain.access.ceiling import check_may_give
from shopfloor.domain.access.errors import OutOfOwnReach
from shopfloor.domain.access.models import Project
from shopfloor.domain.access.permissions import PROJECT_OWNER_ROLE
from shopfloor.infra.tx import Tx


class ProjectUnknown(NotFound):
    """No project of this name or id, or not for this principal."""

    title = "There is no such project"


class ProjectNameTaken(Conflict):
    """Another project has this slug."""

    title = "The name is taken"


class ProjectInUse(Conflict):
    """It has jobs, whose history would lose its place."""

    title = "The project has jobs"


async def find_project(tx: Tx, name_or_id: str) -> Project:
    """By slug or id. Raises: ProjectUnknown."""
    project = await store.project_by(tx, parse_id(name_or_id) or name_or_id)
    if project is None or not tx.principal.allows("project.read", project.id):
        raise ProjectUnknown(
            f"There is no project {name_or_id!r}, or none that you may see. GET /api/v1/projects lists yours."
        )
    return project


async def list_projects(tx: Tx, *, after: UUID | None, limit: int, status: str | None = None) -> list[Project]:
    """Oldest first, from the one behind `after`; those the principal may see."""
    return await store.projects(tx, after=after, limit=limit, status=status)


async def create_project(tx: Tx, *, slug: str, name: str, fields: dict[str, Any]) -> Project:
    """A new project; `fields` are further columns. Who makes it owns it, unless `fields` names another owner.

    Raises: ProjectNameTaken, InvalidInput, OutOfOwnReach, PermissionDenied.
    """
    tx.require("project.edit")
    if parse_id(slug) is not None:
        raise InvalidInput("A slug can't be written like an id: both name projects in addresses.", slug=slug)
    fields = {"owner_id": await _maker(tx), **fields, "name": name}
    await _check_holders(tx, fields, None)
    project_id = new_id()
    try:
        if not await store.add_project(tx, project_id, slug=slug, fields=fields):
            raise ProjectNameTaken(f"There is a project {slug!r} already. Choose another slug, or change that one.")
    except psycopg.errors.InsufficientPrivilege as error:
        raise _locked_out() from error
    told = _told({"slug": slug, **fields})
    await tx.record("project.created", "project", project_id, after=told, project_id=project_id)
    project = await store.project_by(tx, project_id)
    assert project is not None
    return project


async def change_project(tx: Tx, project: Project, fields: dict[str, Any]) -> Project:
    """`project` with these fields changed.

    Raises: PermissionDenied, OutOfOwnReach, InvalidInput, PreconditionFailed if somebody was faster.
    """
    tx.require("project.edit", project.id)
    before = {name: getattr(project, name) for name in fields}
    changes = {name: value for name, value in fields.items() if value != before[name]}
    if changes.keys() & _WHO_MAY:
        tx.require("project.grant", project.id)
        for holders in (before, changes):  # what one lacks is neither given nor taken
            await _check_holders(tx, {name: holders[name] for name in changes}, project.id)
    try:
        if fields and not await store.change_project(tx, project, fields=fields):
            raise PreconditionFailed(
                "Somebody changed the project at the same moment. Read it again, then repeat this."
            )
    except psycopg.errors.InsufficientPrivilege as error:
        raise _locked_out() from error
    await tx.record(
        "project.changed", "project", project.id, before=_told({name: before[name] for name in changes}),
        after=_told(changes), project_id=project.id,
    )  # fmt: skip
    return await find_project(tx, str(project.id))


async def unlock_project(tx: Tx, name_or_id: str) -> Project:
    """Lift a project's e-mail domains and address ranges: for an owner of the organization whom they keep out.

    `tx` is of nobody's reach (its principal has no `user_id`). Raises: ProjectUnknown, PermissionDenied.
    """
    tx.require("owner.edit")
    project = await find_project(tx, name_or_id)
    lifted: dict[str, Any] = {"email_domains": [], "ip_ranges": []}
    if project.email_domains or project.ip_ranges:
        await store.change_project(tx, project, fields=lifted)
        before = {name: getattr(project, name) for name in lifted}
        await tx.record("project.unlocked", "project", project.id, before=before, after=lifted, project_id=project.id)
    return await find_project(tx, str(project.id))


_WHO_MAY = frozenset({"owner_id", "team_id", "visibility", "email_domains", "ip_ranges"})


async def _maker(tx: Tx) -> UUID | None:
    """Who owns what the principal makes: the person behind it, if owning gives them nothing that it lacks itself."""
    try:
        await check_may_give(tx, PROJECT_OWNER_ROLE, in_projects=True)
    except PermissionDenied:
        return None
    return tx.principal.user_id


async def _check_holders(tx: Tx, fields: dict[str, Any], project_id: UUID | None) -> None:
    """An owner and a team that are there, and to whom the principal may give what goes with it."""
    if (owner_id := fields.get("owner_id")) is not None:
        if await people.member(tx, owner_id) is None:
            raise InvalidInput(f"There is no member {owner_id} who could own the project.", owner_id=str(owner_id))
        if owner_id != tx.principal.user_id:
            await check_may_give(tx, PROJECT_OWNER_ROLE, project_id, in_projects=True)
    if (team_id := fields.get("team_id")) is not None:
        if await people.team_by(tx, cast("UUID", team_id)) is None:
            raise InvalidInput(f"There is no team {team_id} that the project could belong to.", team_id=str(team_id))
        for role in (*await people.roles_through(tx, team_id), PROJECT_OWNER_ROLE):
            await check_may_give(tx, role, project_id, in_projects=True)


def _locked_out() -> OutOfOwnReach:
    return OutOfOwnReach(
        "With this you could not touch the project any more yourself. Keep your own e-mail domain and address in its "
        "lists, and yourself its owner, in its team or among those with a grant."
    )


def _told(fields: dict[str, Any]) -> dict[str, Any]:
    """As the record has it: JSON."""
    return {name: str(value) if isinstance(value, UUID) else value for name, value in fields.items()}


async def remove_project(tx: Tx, project: Project) -> None:
    """Remove a project that never had a job. Raises: PermissionDenied, ProjectInUse."""
    tx.require("project.edit", project.id)
    try:
        await store.delete_project(tx, project.id)
    except psycopg.errors.ForeignKeyViolation as error:
        raise ProjectInUse(
            f"The project {project.slug} has jobs, so it can't be deleted. Archive it: PATCH it with "
            '{"status": "archived"}.'
        ) from error
    gone = {"slug": project.slug, "name": project.name}
    await tx.record("project.removed", "project", project.id, before=gone, project_id=project.id)
