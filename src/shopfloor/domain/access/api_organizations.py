"""Organizations over HTTP: one's own, and for the operator the others. Parse, call, shape."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from shopfloor.base.errors import PreconditionFailed
from shopfloor.base.principal import Principal
from shopfloor.domain.access import organizations
from shopfloor.domain.access.errors import NameTaken
from shopfloor.domain.access.http import Require, access_state
from shopfloor.domain.access.replies import after_id, given, tag_of, versioned
from shopfloor.domain.access.schemas import (
    OrganizationChange,
    OrganizationMade,
    OrganizationNew,
    OrganizationReply,
)
from shopfloor.infra.tx import begin, begin_system
from shopfloor.infra.web.etags import cache_headers, require_match
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1/organizations", tags=["organizations"])

_ORGANIZATIONS = Keyset("organizations", UUID)

Reader = Annotated[Principal, Depends(Require("organization.read"))]
Editor = Annotated[Principal, Depends(Require("organization.edit", whole_organization=True))]
Operator = Annotated[Principal, Depends(Require("organization.create", whole_organization=True))]


@router.get("")
async def list_organizations(
    request: Request, principal: Operator, limit: Limit = 50, cursor: CursorText = None
) -> Page[OrganizationReply]:
    """Every organization of this installation, oldest first; for owners of the operator's organization."""
    keys = _ORGANIZATIONS.read(cursor)
    del principal
    async with begin_system(access_state(request).store) as tx:
        rows = await organizations.list_organizations(tx, after=after_id(keys), limit=limit + 1)
    items, following = _ORGANIZATIONS.page(rows, limit, keys=lambda row: (row.id,))
    return Page(items=[OrganizationReply.model_validate(row) for row in items], next_cursor=following)


@router.post("", status_code=201, responses=problems(NameTaken))
async def post_organization(request: Request, new: OrganizationNew, principal: Operator) -> OrganizationMade:
    """Make another organization, with one owner and nothing else."""
    async with begin(access_state(request).store, principal) as tx:
        made, owner = await organizations.create_organization(tx, new.name, new.slug, new.owner_email)
    return OrganizationMade(**{name: getattr(made, name) for name in OrganizationReply.model_fields}, owner_id=owner.id)


@router.get("/current", response_model=OrganizationReply)
async def get_organization(request: Request, response: Response, principal: Reader) -> Any:
    """The organization this request's key belongs to."""
    async with begin(access_state(request).store, principal) as tx:
        organization = await organizations.find_organization(tx)
    return versioned(request, response, organization, OrganizationReply.model_validate(organization))


@router.patch("/current", responses=problems(PreconditionFailed))
async def patch_organization(
    request: Request, response: Response, change: OrganizationChange, principal: Editor
) -> OrganizationReply:
    """Change its name, time zone or running jobs. With `If-Match`: only if nobody changed it since."""
    async with begin(access_state(request).store, principal) as tx:
        organization = await organizations.find_organization(tx)
        require_match(request, tag_of(organization), optional=True)
        changed = await organizations.change_organization(tx, organization, given(change))
    response.headers.update(cache_headers(tag_of(changed)))
    return OrganizationReply.model_validate(changed)
