"""Projects: make, find, change, remove. What a key limited to other projects may not see does not exist for it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg

from shopfloor.base.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from shopfloor.base.ids import new_id, parse_id
from shopfloor.domain.access import store
from shopfloor.domain.access.models import Project
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
    """A new project; `fields`: `priority`, `max_running_jobs`, `settings`. Raises: ProjectNameTaken, InvalidInput."""
    tx.require("project.edit")
    if parse_id(slug) is not None:
        raise InvalidInput("A slug can't be written like an id: both name projects in addresses.", slug=slug)
    project_id = new_id()
    if not await store.add_project(tx, project_id, slug=slug, name=name, fields=fields):
        raise ProjectNameTaken(f"There is a project {slug!r} already. Choose another slug, or change that one.")
    project = await store.project_by(tx, project_id)
    assert project is not None
    made = {"slug": slug, "name": name, **fields}
    await tx.record("project.created", "project", project_id, after=made, project_id=project_id)
    return project


async def change_project(tx: Tx, project: Project, fields: dict[str, Any]) -> Project:
    """`project` with these fields changed. Raises: PermissionDenied, PreconditionFailed if somebody was faster."""
    tx.require("project.edit", project.id)
    if fields and not await store.change_project(tx, project, fields=fields):
        raise PreconditionFailed("Somebody changed the project at the same moment. Read it again, then repeat this.")
    before = {name: getattr(project, name) for name in fields}
    if fields:
        await tx.record("project.changed", "project", project.id, before=before, after=fields, project_id=project.id)
    return await find_project(tx, str(project.id))


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
