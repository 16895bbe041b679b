"""Teams over HTTP. Parse, call, shape."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from shopfloor.base.errors import PreconditionFailed
from shopfloor.base.principal import Principal
from shopfloor.domain.access import teams
from shopfloor.domain.access.errors import MemberUnknown, NameTaken, TeamInUse
from shopfloor.domain.access.http import Require, access_state
from shopfloor.domain.access.replies import TeamName, after_id, given, versioned
from shopfloor.domain.access.schemas_people import TeamChange, TeamMemberPut, TeamMemberReply, TeamNew, TeamReply
from shopfloor.infra.tx import begin
from shopfloor.infra.web.etags import cache_headers, etag_of, require_match
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1/teams", tags=["teams"])

_TEAMS = Keyset("teams", UUID)
_MEMBERS = Keyset("team members", UUID)

Reader = Annotated[Principal, Depends(Require("team.read", whole_organization=True))]
Editor = Annotated[Principal, Depends(Require("team.edit", whole_organization=True))]


@router.get("")
async def list_teams(
    request: Request, principal: Reader, limit: Limit = 50, cursor: CursorText = None
) -> Page[TeamReply]:
    """Every team, oldest first."""
    keys = _TEAMS.read(cursor)
    async with begin(access_state(request).store, principal) as tx:
        rows = await teams.list_teams(tx, after=after_id(keys), limit=limit + 1)
    items, following = _TEAMS.page(rows, limit, keys=lambda row: (row.id,))
    return Page(items=[TeamReply.model_validate(row) for row in items], next_cursor=following)


@router.post("", status_code=201, responses=problems(NameTaken))
async def post_team(request: Request, response: Response, new: TeamNew, principal: Editor) -> TeamReply:
    """Make a team, without anybody in it."""
    async with begin(access_state(request).store, principal) as tx:
        team = await teams.create_team(tx, slug=new.slug, name=new.name, description=new.description, role=new.role)
    response.headers.update({"Location": f"/api/v1/teams/{team.id}", **cache_headers(etag_of(team.version))})
    return TeamReply.model_validate(team)


@router.get("/{team}", response_model=TeamReply)
async def get_team(request: Request, response: Response, team: TeamName, principal: Reader) -> Any:
    """One team."""
    async with begin(access_state(request).store, principal) as tx:
        found = await teams.find_team(tx, team)
    return versioned(request, response, found.version, TeamReply.model_validate(found))


@router.patch("/{team}", responses=problems(PreconditionFailed))
async def patch_team(
    request: Request, response: Response, team: TeamName, change: TeamChange, principal: Editor
) -> TeamReply:
    """Change a team. With `If-Match`: only if nobody changed it since."""
    async with begin(access_state(request).store, principal) as tx:
        found = await teams.find_team(tx, team)
        require_match(request, etag_of(found.version), optional=True)
        changed = await teams.change_team(tx, found, given(change))
    response.headers.update(cache_headers(etag_of(changed.version)))
    return TeamReply.model_validate(changed)


@router.delete("/{team}", status_code=204, responses=problems(TeamInUse))
async def delete_team(request: Request, team: TeamName, principal: Editor) -> None:
    """Remove a team that owns no project; what its members had through it ends."""
    async with begin(access_state(request).store, principal) as tx:
        await teams.remove_team(tx, await teams.find_team(tx, team))


@router.get("/{team}/members", summary="Who is in it")
async def list_team_members(
    request: Request, team: TeamName, principal: Reader, limit: Limit = 50, cursor: CursorText = None
) -> Page[TeamMemberReply]:
    """Who is in the team."""
    filters = {"team": team}
    keys = _MEMBERS.read(cursor, filters=filters)
    async with begin(access_state(request).store, principal) as tx:
        found = await teams.find_team(tx, team)
        rows = await teams.list_team_members(tx, found, after=after_id(keys), limit=limit + 1)
    items, following = _MEMBERS.page(rows, limit, keys=lambda row: (row.user_id,), filters=filters)
    return Page(items=[TeamMemberReply.model_validate(row) for row in items], next_cursor=following)


@router.put("/{team}/members/{user_id}", summary="Put somebody into it", responses=problems(MemberUnknown))
async def put_team_member(
    request: Request, team: TeamName, user_id: UUID, new: TeamMemberPut, principal: Editor
) -> TeamMemberReply:
    """Into the team, as a lead or a member; at most with what you may yourself."""
    async with begin(access_state(request).store, principal) as tx:
        found = await teams.find_team(tx, team)
        return TeamMemberReply.model_validate(await teams.put_team_member(tx, found, user_id, new.team_role))


@router.delete("/{team}/members/{user_id}", status_code=204, summary="Take somebody out")
async def delete_team_member(request: Request, team: TeamName, user_id: UUID, principal: Editor) -> None:
    """What they had through the team ends with it."""
    async with begin(access_state(request).store, principal) as tx:
        await teams.remove_team_member(tx, await teams.find_team(tx, team), user_id)
