"""This room over HTTP: who I am, and keys; people and places stand beside it. Parse, call, shape."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from shopfloor.base.principal import Principal
from shopfloor.domain.access import api_keys, grants
from shopfloor.domain.access import store_people as people
from shopfloor.domain.access.api_organizations import router as organizations_router
from shopfloor.domain.access.api_people import router as people_router
from shopfloor.domain.access.api_projects import router as projects_router
from shopfloor.domain.access.api_teams import router as teams_router
from shopfloor.domain.access.grants import Held
from shopfloor.domain.access.http import SIGNED_IN, Require, access_state
from shopfloor.domain.access.schemas import (
    ApiKeyMade,
    ApiKeyNew,
    ApiKeyReply,
    ApiKeyRotate,
    Me,
    MyPermissions,
    PermissionSource,
    ProjectPermissions,
    key_made,
    key_reply,
)
from shopfloor.infra.tx import begin
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1")
ROUTERS = (router, organizations_router, people_router, teams_router, projects_router)  # the whole room

_KEYS = Keyset("api-keys", UUID)
_NO_STORE = {"Cache-Control": "no-store"}

Anybody = Annotated[Principal, Depends(Require(SIGNED_IN))]
KeyEditor = Annotated[Principal, Depends(Require("key.edit"))]


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
async def get_my_permissions(request: Request, principal: Anybody) -> MyPermissions:
    """What this request may do, where, and through what: a role, a grant, a team, owning a project."""
    held = await _why(request, principal)
    return MyPermissions(
        permissions=sorted(principal.permissions),
        project_ids=_sorted(principal.project_ids),
        sources=_sources(held, None),
        projects=[
            ProjectPermissions(project_id=place, permissions=sorted(may), sources=_sources(held, place))
            for place, may in sorted(principal.project_permissions.items())
            if principal.project_ids is None or place in principal.project_ids
        ],
    )


@router.get("/api-keys", tags=["api-keys"])
async def list_api_keys(
    request: Request, principal: KeyEditor, limit: Limit = 50, cursor: CursorText = None
) -> Page[ApiKeyReply]:
    """The organization's keys without their secrets, oldest first; revoked ones stay in the list."""
    keys = _KEYS.read(cursor)
    async with begin(access_state(request).store, principal) as tx:
        rows = await api_keys.list_keys(tx, after=_after(keys), limit=limit + 1)
    items, following = _KEYS.page(rows, limit, keys=lambda row: (row.id,))
    now = access_state(request).store.services.clock.now()
    return Page(items=[key_reply(row, now) for row in items], next_cursor=following)


@router.post("/api-keys", tags=["api-keys"], status_code=201)
async def post_api_key(request: Request, response: Response, new: ApiKeyNew, principal: KeyEditor) -> ApiKeyMade:
    """Make a key. Keep `key` from the answer: it is shown this once."""
    state = access_state(request)
    wanted = api_keys.NewKey(
        name=new.name,
        permissions=frozenset(new.permissions),
        project_ids=None if new.project_ids is None else frozenset(new.project_ids),
        expires_at=new.expires_at,
        ip_ranges=None if new.ip_ranges is None else tuple(new.ip_ranges),
        user_id=new.user_id,
    )
    async with begin(state.store, principal) as tx:
        key, text = await api_keys.create_key(tx, state.sealer, wanted)
    response.headers.update({"Location": f"/api/v1/api-keys/{key.id}", **_NO_STORE})
    return key_made(key, text, state.store.services.clock.now())


@router.post("/api-keys/{key_id}/rotate", tags=["api-keys"], responses=problems(api_keys.KeyOver))
async def post_rotate_key(
    request: Request, response: Response, key_id: UUID, how: ApiKeyRotate, principal: KeyEditor
) -> ApiKeyMade:
    """Another secret for a key, shown this once; the present one is good for the overlap, so nothing stands still."""
    state = access_state(request)
    async with begin(state.store, principal) as tx:
        overlap = timedelta(seconds=how.overlap_s)
        key, text = await api_keys.rotate_key(tx, state.sealer, key_id, overlap=overlap)
    response.headers.update(_NO_STORE)
    return key_made(key, text, state.store.services.clock.now())


@router.get("/api-keys/{key_id}", tags=["api-keys"])
async def get_api_key(request: Request, key_id: UUID, principal: KeyEditor) -> ApiKeyReply:
    """One key without its secret."""
    async with begin(access_state(request).store, principal) as tx:
        return key_reply(await api_keys.find_key(tx, key_id), tx.clock.now())


@router.delete("/api-keys/{key_id}", tags=["api-keys"], status_code=204)
async def delete_api_key(request: Request, key_id: UUID, principal: KeyEditor) -> None:
    """Revoke a key for good: the next request with it is refused. Its row stays, for the record."""
    async with begin(access_state(request).store, principal) as tx:
        await api_keys.revoke_key(tx, key_id)


async def _why(request: Request, principal: Principal) -> list[Held]:
    """The roles behind what the principal may, with where they come from."""
    if principal.user_id is None:
        return []
    async with begin(access_state(request).store, principal) as tx:
        return await grants.held_by(tx, principal.user_id, await people.role_of(tx, principal.user_id))


def _sources(held: list[Held], project_id: UUID | None) -> list[PermissionSource]:
    return [
        PermissionSource(kind=each.via, role=each.role, team_id=each.team_id)
        for each in held
        if each.project_id == project_id
    ]


def _after(keys: tuple[Any, ...] | None) -> UUID | None:
    return cast("UUID", keys[0]) if keys else None


def _sorted(ids: frozenset[UUID] | None) -> list[UUID] | None:
    return None if ids is None else sorted(ids)
