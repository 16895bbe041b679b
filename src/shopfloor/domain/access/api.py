"""This room over HTTP: who I am, my organization, its projects and keys. Parse, call, shape."""

from __future__ import annotations

from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from shopfloor.base.errors import PreconditionFailed
from shopfloor.base.principal import Principal
from shopfloor.domain.access import api_keys, organizations, project_settings, projects
from shopfloor.domain.access.http import SIGNED_IN, Require, access_state
from shopfloor.domain.access.models import Organization, Project
from shopfloor.domain.access.schemas import (
    ApiKeyMade,
    ApiKeyNew,
    ApiKeyReply,
    Me,
    MyPermissions,
    OrganizationChange,
    OrganizationReply,
    ProjectChange,
    ProjectNew,
    ProjectReply,
    Status,
    key_made,
    project_reply,
)
from shopfloor.infra.tx import begin
from shopfloor.infra.web.etags import cache_headers, etag_of, not_modified, require_match
from shopfloor.infra.web.json_body import Body
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1")

_PROJECTS = Keyset("projects", UUID)
_KEYS = Keyset("api-keys", UUID)
_NO_STORE = {"Cache-Control": "no-store"}

Anybody = Annotated[Principal, Depends(Require(SIGNED_IN))]
ProjectReader = Annotated[Principal, Depends(Require("project.read"))]
ProjectEditor = Annotated[Principal, Depends(Require("project.edit"))]
ProjectMaker = Annotated[Principal, Depends(Require("project.edit", whole_organization=True))]
OrganizationReader = Annotated[Principal, Depends(Require("organization.read"))]
OrganizationEditor = Annotated[Principal, Depends(Require("organization.edit", whole_organization=True))]
KeyEditor = Annotated[Principal, Depends(Require("key.edit"))]
ProjectName = Annotated[str, Path(min_length=1, max_length=64, description="Its id or slug.")]


@router.get("/me", tags=["me"])
async def get_me(principal: Anybody) -> Me:
    """Who this request's key speaks for."""
    return Me(
        kind=principal.kind,
        id=principal.id,
        name=principal.name,
        organization_id=principal.organization_id,
        project_ids=_sorted(principal.project_ids),
    )


@router.get("/me/permissions", tags=["me"])
async def get_my_permissions(principal: Anybody) -> MyPermissions:
    """What this request's key may do, and where."""
    return MyPermissions(permissions=sorted(principal.permissions), project_ids=_sorted(principal.project_ids))


@router.get("/organizations/current", tags=["organizations"], response_model=OrganizationReply)
async def get_organization(request: Request, response: Response, principal: OrganizationReader) -> Any:
    """The organization this request's key belongs to."""
    async with begin(access_state(request).store, principal) as tx:
        organization = await organizations.find_organization(tx)
    return _versioned(request, response, organization, OrganizationReply.model_validate(organization))


@router.patch("/organizations/current", tags=["organizations"], responses=problems(PreconditionFailed))
async def patch_organization(
    request: Request, response: Response, change: OrganizationChange, principal: OrganizationEditor
) -> OrganizationReply:
    """Change its name or how many jobs may run at once. With `If-Match`: only if nobody changed it since."""
    async with begin(access_state(request).store, principal) as tx:
        organization = await organizations.find_organization(tx)
        require_match(request, _tag(organization), optional=True)
        changed = await organizations.change_organization(tx, organization, _given(change))
    response.headers.update(cache_headers(_tag(changed)))
    return OrganizationReply.model_validate(changed)


@router.get("/projects", tags=["projects"])
async def list_projects(
    request: Request,
    principal: ProjectReader,
    status: Annotated[Status | None, Query(description="Only these.")] = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Page[ProjectReply]:
    """The projects you may see, oldest first."""
    filters = {"status": status}
    keys = _PROJECTS.read(cursor, filters=filters)
    async with begin(access_state(request).store, principal) as tx:
        rows = await projects.list_projects(tx, after=_after(keys), limit=limit + 1, status=status)
    items, following = _PROJECTS.page(rows, limit, keys=lambda row: (row.id,), filters=filters)
    return Page(items=[project_reply(row) for row in items], next_cursor=following)


@router.post("/projects", tags=["projects"], status_code=201, responses=problems(projects.ProjectNameTaken))
async def post_project(request: Request, response: Response, new: ProjectNew, principal: ProjectMaker) -> ProjectReply:
    """Make a project."""
    fields = {
        "priority": new.priority,
        "max_running_jobs": new.max_running_jobs,
        "settings": project_settings.stored(new.settings),
    }
    async with begin(access_state(request).store, principal) as tx:
        project = await projects.create_project(tx, slug=new.slug, name=new.name, fields=fields)
    response.headers.update({"Location": f"/api/v1/projects/{project.id}", **cache_headers(_tag(project))})
    return project_reply(project)


@router.get("/projects/{project}", tags=["projects"], response_model=ProjectReply)
async def get_project(request: Request, response: Response, project: ProjectName, principal: ProjectReader) -> Any:
    """One project."""
    async with begin(access_state(request).store, principal) as tx:
        found = await projects.find_project(tx, project)
    return _versioned(request, response, found, project_reply(found))


@router.patch("/projects/{project}", tags=["projects"], responses=problems(PreconditionFailed))
async def patch_project(
    request: Request, response: Response, project: ProjectName, change: ProjectChange, principal: ProjectEditor
) -> ProjectReply:
    """Change a project. With `If-Match`: only if nobody changed it since."""
    fields = _given(change)
    if "settings" in fields:
        fields["settings"] = project_settings.stored(change.settings)
    async with begin(access_state(request).store, principal) as tx:
        found = await projects.find_project(tx, project)
        require_match(request, _tag(found), optional=True)
        changed = await projects.change_project(tx, found, fields)
    response.headers.update(cache_headers(_tag(changed)))
    return project_reply(changed)


@router.delete(
    "/projects/{project}",
    tags=["projects"],
    status_code=204,
    responses=problems(projects.ProjectInUse, PreconditionFailed),
)
async def delete_project(request: Request, project: ProjectName, principal: ProjectEditor) -> None:
    """Remove a project that never had a job; others are archived with PATCH."""
    async with begin(access_state(request).store, principal) as tx:
        found = await projects.find_project(tx, project)
        require_match(request, _tag(found), optional=True)
        await projects.remove_project(tx, found)


@router.get("/api-keys", tags=["api-keys"])
async def list_api_keys(
    request: Request, principal: KeyEditor, limit: Limit = 50, cursor: CursorText = None
) -> Page[ApiKeyReply]:
    """The organization's keys without their secrets, oldest first; revoked ones stay in the list."""
    keys = _KEYS.read(cursor)
    async with begin(access_state(request).store, principal) as tx:
        rows = await api_keys.list_keys(tx, after=_after(keys), limit=limit + 1)
    items, following = _KEYS.page(rows, limit, keys=lambda row: (row.id,))
    return Page(items=[ApiKeyReply.model_validate(row) for row in items], next_cursor=following)


@router.post("/api-keys", tags=["api-keys"], status_code=201)
async def post_api_key(request: Request, response: Response, new: ApiKeyNew, principal: KeyEditor) -> ApiKeyMade:
    """Make a key. Keep `key` from the answer: it is shown this once."""
    state = access_state(request)
    wanted = api_keys.NewKey(
        name=new.name,
        permissions=frozenset(new.permissions),
        project_ids=None if new.project_ids is None else frozenset(new.project_ids),
        expires_at=new.expires_at,
    )
    async with begin(state.store, principal) as tx:
        key, text = await api_keys.create_key(tx, state.sealer, wanted)
    response.headers.update({"Location": f"/api/v1/api-keys/{key.id}", **_NO_STORE})
    return key_made(key, text)


@router.get("/api-keys/{key_id}", tags=["api-keys"])
async def get_api_key(request: Request, key_id: UUID, principal: KeyEditor) -> ApiKeyReply:
    """One key without its secret."""
    async with begin(access_state(request).store, principal) as tx:
        return ApiKeyReply.model_validate(await api_keys.find_key(tx, key_id))


@router.delete("/api-keys/{key_id}", tags=["api-keys"], status_code=204)
async def delete_api_key(request: Request, key_id: UUID, principal: KeyEditor) -> None:
    """Revoke a key for good: the next request with it is refused. Its row stays, for the record."""
    async with begin(access_state(request).store, principal) as tx:
        await api_keys.revoke_key(tx, key_id)


def _given(change: Body) -> dict[str, Any]:
    """Only the fields that the client sent."""
    return {name: getattr(change, name) for name in change.model_fields_set}


def _tag(row: Organization | Project) -> str:
    """With its id: `/organizations/current` and `/projects/<slug>` are one address for every organization."""
    return etag_of(row.version, variant=row.id.hex[-12:])


def _versioned(request: Request, response: Response, row: Organization | Project, reply: Any) -> Any:
    """The reply with its ETag, or 304 for a client whose copy is the newest."""
    etag = _tag(row)
    response.headers.update(cache_headers(etag))
    return not_modified(request, etag) or reply


def _after(keys: tuple[Any, ...] | None) -> UUID | None:
    return cast("UUID", keys[0]) if keys else None


def _sorted(ids: frozenset[UUID] | None) -> list[UUID] | None:
    return None if ids is None else sorted(ids)
