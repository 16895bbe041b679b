"""Members, service accounts and roles over HTTP. Parse, call, shape."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from shopfloor.base.errors import PreconditionFailed
from shopfloor.base.principal import Principal
from shopfloor.domain.access import people, project_grants, projects, roles
from shopfloor.domain.access.errors import LastOwner, MemberInUse, NameTaken, RoleInUse
from shopfloor.domain.access.http import Require, access_state
from shopfloor.domain.access.permissions import PERMISSIONS, ROLES
from shopfloor.domain.access.replies import after_id, given, versioned
from shopfloor.domain.access.schemas_people import (
    Kind,
    MemberChange,
    MemberReply,
    PermissionReply,
    PermissionsReply,
    RoleChange,
    RoleNew,
    RoleReply,
    RolesReply,
    ServiceAccountNew,
    built_in_role_reply,
    member_reply,
    role_reply,
)
from shopfloor.infra.tx import begin
from shopfloor.infra.web.etags import cache_headers, etag_of, require_match
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1")

_MEMBERS = Keyset("members", UUID)

MemberReader = Annotated[Principal, Depends(Require("member.read", whole_organization=True))]
MemberEditor = Annotated[Principal, Depends(Require("member.edit", whole_organization=True))]
RoleReader = Annotated[Principal, Depends(Require("role.read"))]
RoleEditor = Annotated[Principal, Depends(Require("role.edit", whole_organization=True))]
RoleInPath = Annotated[str, Path(min_length=1, max_length=64, description="Its name.")]


@router.get("/members", tags=["members"], summary="List members")
async def list_members(
    request: Request,
    principal: MemberReader,
    role: Annotated[str | None, Query(max_length=64, description="Only with this role in the organization.")] = None,
    status: Annotated[Literal["active", "disabled"] | None, Query(description="Only these.")] = None,
    kind: Annotated[Kind | None, Query(description="Only these.")] = None,
    limit: Limit = 50,
    cursor: CursorText = None,
) -> Page[MemberReply]:
    """People and service accounts, oldest first."""
    active = None if status is None else status == "active"
    return await _page(request, principal, {"role": role, "active": active, "kind": kind}, limit, cursor)


@router.get("/members/{user_id}", tags=["members"], response_model=MemberReply, summary="One member")
async def get_member(request: Request, response: Response, user_id: UUID, principal: MemberReader) -> Any:
    """One person or service account."""
    async with begin(access_state(request).store, principal) as tx:
        member = await people.find_member(tx, user_id)
    return versioned(request, response, member.version, member_reply(member))


@router.patch(
    "/members/{user_id}", tags=["members"], summary="Change a member", responses=problems(LastOwner, PreconditionFailed)
)
async def patch_member(
    request: Request, response: Response, user_id: UUID, change: MemberChange, principal: MemberEditor
) -> MemberReply:
    """Another name or role; never one that holds more than you do. With `If-Match`: only if nobody changed it since."""
    async with begin(access_state(request).store, principal) as tx:
        if request.headers.get("if-match") is not None:
            require_match(request, etag_of((await people.find_member(tx, user_id)).version))
        member = await people.change_member(tx, user_id, given(change))
    response.headers.update(cache_headers(etag_of(member.version)))
    return member_reply(member)


@router.post("/members/{user_id}/disable", tags=["members"], summary="Disable a member", responses=problems(LastOwner))
async def post_disable(request: Request, user_id: UUID, principal: MemberEditor) -> MemberReply:
    """From now on they may nothing: sessions and keys end, their jobs are cancelled."""
    async with begin(access_state(request).store, principal) as tx:
        return member_reply(await people.disable_member(tx, user_id))


@router.post("/members/{user_id}/enable", tags=["members"], summary="Enable a member")
async def post_enable(request: Request, user_id: UUID, principal: MemberEditor) -> MemberReply:
    """They may again what they might before."""
    async with begin(access_state(request).store, principal) as tx:
        return member_reply(await people.enable_member(tx, user_id))


@router.delete(
    "/members/{user_id}",
    tags=["members"],
    status_code=204,
    summary="Remove a member",
    responses=problems(MemberInUse, LastOwner),
)
async def delete_member(request: Request, user_id: UUID, principal: MemberEditor) -> None:
    """Remove somebody whom no job, key or project names; others are disabled."""
    async with begin(access_state(request).store, principal) as tx:
        await people.remove_member(tx, user_id)


@router.get("/service-accounts", tags=["members"], summary="List service accounts")
async def list_service_accounts(
    request: Request, principal: MemberReader, limit: Limit = 50, cursor: CursorText = None
) -> Page[MemberReply]:
    """Accounts of programs, oldest first."""
    return await _page(request, principal, {"role": None, "active": None, "kind": "service"}, limit, cursor)


@router.post("/service-accounts", tags=["members"], status_code=201, summary="Make a service account")
async def post_service_account(
    request: Request, response: Response, new: ServiceAccountNew, principal: MemberEditor
) -> MemberReply:
    """Make an account for programs, at most with your own permissions. It can't sign in: make keys for it."""
    async with begin(access_state(request).store, principal) as tx:
        member = await people.create_service_account(tx, name=new.name, role=new.role)
        for grant in new.grants:
            project = await projects.find_project(tx, grant.project)
            await project_grants.put_grant(tx, project, member.id, grant.role)
    response.headers["Location"] = f"/api/v1/members/{member.id}"
    return member_reply(member)


@router.get("/roles", tags=["roles"], summary="List roles")
async def list_roles(request: Request, principal: RoleReader) -> RolesReply:
    """Every role: the built-in ones, then the organization's own."""
    async with begin(access_state(request).store, principal) as tx:
        own = await roles.list_roles(tx)
    return RolesReply(items=[*map(built_in_role_reply, ROLES), *map(role_reply, own)])


@router.get("/roles/permissions", tags=["roles"], summary="List permissions")
async def list_permissions(_: RoleReader) -> PermissionsReply:
    """Every permission there is, and what it allows."""
    return PermissionsReply(
        items=[PermissionReply(name=each.name, scope=each.scope, description=each.description) for each in PERMISSIONS]
    )


@router.post("/roles", tags=["roles"], status_code=201, summary="Make a role", responses=problems(NameTaken))
async def post_role(request: Request, response: Response, new: RoleNew, principal: RoleEditor) -> RoleReply:
    """Make a role of the organization's own. It may at most what you may."""
    async with begin(access_state(request).store, principal) as tx:
        role = await roles.create_role(
            tx, name=new.name, description=new.description, base=new.base, permissions=frozenset(new.permissions)
        )
    response.headers.update({"Location": f"/api/v1/roles/{role.name}", **cache_headers(etag_of(role.version))})
    return role_reply(role)


@router.get("/roles/{name}", tags=["roles"], response_model=RoleReply, summary="One role")
async def get_role(request: Request, response: Response, name: RoleInPath, principal: RoleReader) -> Any:
    """One role, built in or the organization's own."""
    if name in ROLES:
        return built_in_role_reply(name)
    async with begin(access_state(request).store, principal) as tx:
        role = await roles.find_role(tx, name)
    return versioned(request, response, role.version, role_reply(role))


@router.patch("/roles/{name}", tags=["roles"], summary="Change a role", responses=problems(PreconditionFailed))
async def patch_role(
    request: Request, response: Response, name: RoleInPath, change: RoleChange, principal: RoleEditor
) -> RoleReply:
    """Another description or other permissions, for all who have it. With `If-Match`: only if nobody changed it."""
    roles.refuse_built_in(name)
    async with begin(access_state(request).store, principal) as tx:
        role = await roles.find_role(tx, name)
        require_match(request, etag_of(role.version), optional=True)
        changed = await roles.change_role(tx, role, given(change))
    response.headers.update(cache_headers(etag_of(changed.version)))
    return role_reply(changed)


@router.delete("/roles/{name}", tags=["roles"], status_code=204, summary="Remove a role", responses=problems(RoleInUse))
async def delete_role(request: Request, name: RoleInPath, principal: RoleEditor) -> None:
    """Remove a role that nobody has."""
    roles.refuse_built_in(name)
    async with begin(access_state(request).store, principal) as tx:
        await roles.remove_role(tx, await roles.find_role(tx, name))


async def _page(
    request: Request, principal: Principal, filters: dict[str, Any], limit: int, cursor: str | None
) -> Page[MemberReply]:
    keys = _MEMBERS.read(cursor, filters=filters)
    async with begin(access_state(request).store, principal) as tx:
        rows = await people.list_members(tx, filters=filters, after=after_id(keys), limit=limit + 1)
    items, following = _MEMBERS.page(rows, limit, keys=lambda row: (row.id,), filters=filters)
    return Page(items=[member_reply(row) for row in items], next_cursor=following)
