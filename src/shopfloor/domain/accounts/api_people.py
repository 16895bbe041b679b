"""Sessions, profiles and invitations over HTTP. Parse, call, shape."""

from __future__ import annotations

from typing import Annotated, Any, cast
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from shopfloor.base.errors import PermissionDenied
from shopfloor.base.principal import Principal
from shopfloor.domain.access.errors import MemberUnknown, TeamUnknown
from shopfloor.domain.access.http import SIGNED_IN, Require
from shopfloor.domain.accounts import hand_over, invitations, profile
from shopfloor.domain.accounts.desk import accounts_state, base_url
from shopfloor.domain.accounts.errors import (
    EmailTaken,
    InvitationUnknown,
    OrganizationInUse,
    OrganizationUnknown,
    RoleTooHigh,
    SessionUnknown,
)
from shopfloor.domain.accounts.models import Person, Session
from shopfloor.domain.accounts.schemas import (
    InvitationMade,
    InvitationNew,
    InvitationReply,
    LinkReply,
    OwnerLinkNew,
    Profile,
    ProfileChange,
    SessionReply,
    SessionsEnded,
)
from shopfloor.domain.accounts.sessions import end_member_sessions, end_session, list_sessions
from shopfloor.infra.tx import begin
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.pages import CursorText, Keyset, Limit, Page

router = APIRouter(prefix="/api/v1")

_SESSIONS = Keyset("sessions", UUID)
_INVITATIONS = Keyset("invitations", UUID)

Anybody = Annotated[Principal, Depends(Require(SIGNED_IN))]
Restricted = Annotated[Principal, Depends(Require(SIGNED_IN, while_restricted=True))]
Inviter = Annotated[Principal, Depends(Require("member.edit", whole_organization=True))]
Operator = Annotated[Principal, Depends(Require("organization.create", whole_organization=True))]
SessionEditor = Annotated[Principal, Depends(Require("session.edit", whole_organization=True))]


@router.get("/me/profile", tags=["me"])
async def get_profile(request: Request, principal: Restricted) -> Profile:
    """The account behind this session or key."""
    async with begin(accounts_state(request).store, principal) as tx:
        return _profile(await profile.own(tx))


@router.patch("/me", tags=["me"])
async def patch_me(request: Request, change: ProfileChange, principal: Anybody) -> Profile:
    """Change your own name. A key can't: sign in as a person."""
    _refuse_key(principal)
    async with begin(accounts_state(request).store, principal) as tx:
        return _profile(await profile.change(tx, name=change.name or None))


@router.get("/me/sessions", tags=["me"])
async def get_sessions(
    request: Request, principal: Restricted, limit: Limit = 50, cursor: CursorText = None
) -> Page[SessionReply]:
    """Where you are signed in, oldest first."""
    user_id = _refuse_key(principal)
    keys = _SESSIONS.read(cursor)
    async with begin(accounts_state(request).store, principal) as tx:
        rows = await list_sessions(tx, user_id, after=_after(keys), limit=limit + 1)
    items, following = _SESSIONS.page(rows, limit, keys=lambda row: (row.id,))
    return Page(items=[_session(row, principal) for row in items], next_cursor=following)


@router.delete("/me/sessions/{session_id}", tags=["me"], status_code=204, responses=problems(SessionUnknown))
async def delete_session(request: Request, session_id: UUID, principal: Restricted) -> None:
    """End one of your sessions, in every process at once."""
    user_id = _refuse_key(principal)
    async with begin(accounts_state(request).store, principal) as tx:
        await end_session(tx, session_id, user_id=user_id, why="ended by its person")


@router.delete("/members/{user_id}/sessions", tags=["members"], responses=problems(SessionUnknown))
async def delete_member_sessions(request: Request, user_id: UUID, principal: SessionEditor) -> SessionsEnded:
    """End every session of somebody of your organization. Their keys go on."""
    async with begin(accounts_state(request).store, principal) as tx:
        return SessionsEnded(ended=await end_member_sessions(tx, user_id))


@router.post(
    "/members/{user_id}/setup-link", tags=["members"], status_code=201, responses=problems(MemberUnknown, RoleTooHigh)
)
async def post_member_link(request: Request, response: Response, user_id: UUID, principal: Inviter) -> LinkReply:
    """A link with which a member who gets no mail chooses a new password; for whom one may as much as."""
    async with begin(accounts_state(request).store, principal) as tx:
        made = await hand_over.link_for_member(tx, user_id, base_url=base_url(request))
    return _link(response, made)


@router.post(
    "/organizations/setup-link", tags=["organizations"], status_code=201,
    responses=problems(OrganizationUnknown, OrganizationInUse),
)  # fmt: skip
async def post_owner_link(request: Request, response: Response, asked: OwnerLinkNew, principal: Operator) -> LinkReply:
    """The set-up link for the owner of another organization, where nobody has signed in yet."""
    async with begin(accounts_state(request).store, principal) as tx:
        made = await hand_over.link_for_owner(tx, asked.organization_id, base_url=base_url(request))
    return _link(response, made)


@router.get("/invitations", tags=["members"])
async def get_invitations(
    request: Request, principal: Inviter, limit: Limit = 50, cursor: CursorText = None
) -> Page[InvitationReply]:
    """Who was invited, oldest first; accepted and withdrawn ones stay in the list."""
    keys = _INVITATIONS.read(cursor)
    async with begin(accounts_state(request).store, principal) as tx:
        rows = await invitations.list_invitations(tx, after=_after(keys), limit=limit + 1)
    items, following = _INVITATIONS.page(rows, limit, keys=lambda row: (row.id,))
    return Page(items=[InvitationReply.model_validate(row) for row in items], next_cursor=following)


@router.post(
    "/invitations", tags=["members"], status_code=201, responses=problems(RoleTooHigh, EmailTaken, TeamUnknown)
)
async def post_invitation(request: Request, new: InvitationNew, principal: Inviter) -> InvitationMade:
    """Invite somebody, with a role that is not above yours; by mail, or with a link to pass on where none is set up."""
    desk = accounts_state(request).accounts
    async with begin(desk.store, principal) as tx:
        made = await invitations.invite(
            tx, desk, email=new.email, role=new.role, teams=new.teams, base_url=base_url(request)
        )
    shown = InvitationReply.model_validate(made.invitation)
    return InvitationMade(**shown.model_dump(), link=made.link)


@router.delete("/invitations/{invitation_id}", tags=["members"], status_code=204, responses=problems(InvitationUnknown))
async def delete_invitation(request: Request, invitation_id: UUID, principal: Inviter) -> None:
    """Withdraw an invitation: its link is void."""
    async with begin(accounts_state(request).store, principal) as tx:
        await invitations.withdraw_invitation(tx, invitation_id)


def _link(response: Response, made: hand_over.HandedOver) -> LinkReply:
    response.headers["Cache-Control"] = "no-store"
    return LinkReply(link=made.link, expires_at=made.expires_at)


def _refuse_key(principal: Principal) -> UUID:
    """The person. Raises: PermissionDenied for a key: what is a person's own wants that person."""
    if principal.kind != "user" or principal.user_id is None:
        raise PermissionDenied(
            "This is for a person who signed in; a key can't do it. Sign in with `shopfloor login` or POST "
            "/api/v1/auth/sign-in."
        )
    return principal.user_id


def _profile(person: Person) -> Profile:
    return Profile(
        id=person.id, organization_id=person.organization_id, email=person.email, name=person.name, role=person.role,
        has_password=person.password_hash is not None, email_verified_at=person.email_verified_at,
        created_at=person.created_at,
    )  # fmt: skip


def _session(row: Session, principal: Principal) -> SessionReply:
    fields: dict[str, Any] = {name: getattr(row, name) for name in Session.__slots__ if name != "user_id"}
    return SessionReply(**fields, current=row.id == principal.session_id)


def _after(keys: tuple[Any, ...] | None) -> UUID | None:
    return cast("UUID", keys[0]) if keys else None
