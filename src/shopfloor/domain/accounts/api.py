"""Signing in over HTTP. Parse, call, shape. The routes marked open ask for nobody: they are how one gets in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Request, Response

from shopfloor.base.principal import Principal
from shopfloor.domain.access.cookies import csrf_token, refuse_foreign, session_secret
from shopfloor.domain.access.http import SIGNED_IN, Require
from shopfloor.domain.access.tokens import ALGORITHM, jwk_of
from shopfloor.domain.accounts import by_password, invitations, new_password, one_time, refresh, set_up
from shopfloor.domain.accounts.answers import forget_cookie, opened_reply, sign_in_reply
from shopfloor.domain.accounts.api_factors import router as factors
from shopfloor.domain.accounts.api_oidc import router as identity
from shopfloor.domain.accounts.api_people import router as people
from shopfloor.domain.accounts.desk import accounts_state, base_url, factor_desk
from shopfloor.domain.accounts.errors import (
    EmailTaken,
    FreshSignInNeeded,
    LinkNotValid,
    PasswordTooWeak,
    RefreshRaced,
    SessionUnknown,
    SignInRefused,
    TooManyAttempts,
)
from shopfloor.domain.accounts.schemas import (
    CsrfReply,
    Done,
    EmailVerify,
    InvitationAccept,
    PasswordChange,
    PasswordForgot,
    PasswordReset,
    RefreshRequest,
    SecondFactor,
    SessionOpened,
    SessionsEnded,
    SetUp,
    SignIn,
    SignInReply,
    TicketReply,
    VerificationReply,
)
from shopfloor.domain.accounts.sessions import end_session, end_sessions
from shopfloor.domain.accounts.sign_in import finish_second_factor
from shopfloor.infra.tx import begin
from shopfloor.infra.web.json_body import Reply
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.rate_limiting import sign_in_limit

router = APIRouter(prefix="/api/v1/auth", tags=["auth"])
well_known = APIRouter(tags=["auth"])
__all__ = ["factors", "identity", "people", "router", "well_known"]

Anybody = Annotated[Principal, Depends(Require(SIGNED_IN))]
Restricted = Annotated[Principal, Depends(Require(SIGNED_IN, while_restricted=True))]


async def _from_here(request: Request) -> None:
    """Another site's page signs nobody in and resets nothing. Raises: RequestForged."""
    refuse_foreign(request.headers, accounts_state(request).edge.allowed_origins)


FROM_HERE = [Depends(_from_here), Depends(sign_in_limit)]
_GUESSED = problems(SignInRefused, TooManyAttempts, LinkNotValid)
_CHOSEN = problems(LinkNotValid, PasswordTooWeak, EmailTaken)


@router.post("/setup", dependencies=FROM_HERE, responses=_CHOSEN, summary="Set up the first owner")
async def post_setup(request: Request, response: Response, new: SetUp) -> SignInReply:
    """Open: with the token of the set-up link. Name, address and password of the owner, who is signed in then."""
    result = await set_up.set_up(
        accounts_state(request).accounts, new.token.get_secret_value(),
        name=new.name, email=new.email, password=new.password.get_secret_value(), kind=new.kind,
    )  # fmt: skip
    return await sign_in_reply(request, response, result)


@router.post("/sign-in", dependencies=FROM_HERE, responses=_GUESSED, summary="Sign in with a password")
async def post_sign_in(request: Request, response: Response, who: SignIn) -> SignInReply:
    """Open. A session, or the challenge for a second factor; the same refusal whatever was wrong."""
    result = await by_password.sign_in(
        accounts_state(request).accounts, who.email, who.password.get_secret_value(),
        organization_id=who.organization, kind=who.kind,
    )  # fmt: skip
    return await sign_in_reply(request, response, result)


@router.post("/second-factor", dependencies=FROM_HERE, responses=_GUESSED, summary="Prove the second factor")
async def post_second_factor(request: Request, response: Response, proof: SecondFactor) -> SignInReply:
    """Open: with the challenge of a sign-in, five tries in five minutes."""
    shown = proof.model_dump(exclude={"challenge"}, exclude_none=True)
    store, challenge = accounts_state(request).store, proof.challenge.get_secret_value()
    return await sign_in_reply(
        request, response, await finish_second_factor(store, factor_desk(request), challenge, shown)
    )


@router.post("/token/refresh", dependencies=FROM_HERE, responses=problems(RefreshRaced), summary="Refresh a token")
async def post_refresh(request: Request, response: Response, sent: RefreshRequest) -> SessionOpened:
    """Open: with the newest refresh token, which is used up. One used twice ends its session."""
    opened = await refresh.refresh(accounts_state(request).accounts, sent.refresh_token.get_secret_value())
    response.headers["Cache-Control"] = "no-store"
    return await opened_reply(request, response, opened)


@router.post(
    "/password/forgot", status_code=202, dependencies=FROM_HERE, responses=problems(TooManyAttempts),
    summary="Ask for a new password",
)  # fmt: skip
async def post_forgot(request: Request, later: BackgroundTasks, who: PasswordForgot) -> Done:
    """Open. Always the same answer, at once: whether there is such an account is told to its mailbox alone."""
    desk = accounts_state(request).accounts
    await new_password.count_request(desk, who.email)
    later.add_task(new_password.forget_password, desk, who.email, base_url=base_url(request))
    return Done()


@router.post(
    "/password/reset", status_code=204, dependencies=FROM_HERE, responses=_CHOSEN, summary="Choose a new password"
)
async def post_reset(request: Request, new: PasswordReset) -> None:
    """Open: with the token of the mail. Every session of the account is over; sign in with the new password."""
    desk = accounts_state(request).accounts
    await new_password.reset_password(desk, new.token.get_secret_value(), new.password.get_secret_value())


@router.post("/email/verify", status_code=204, dependencies=FROM_HERE, responses=_CHOSEN, summary="Confirm an address")
async def post_verify(request: Request, sent: EmailVerify) -> None:
    """Open: with the token of the mail."""
    await new_password.verify_email(accounts_state(request).accounts, sent.token.get_secret_value())


@router.post("/invitations/accept", dependencies=FROM_HERE, responses=_CHOSEN, summary="Accept an invitation")
async def post_accept(request: Request, response: Response, new: InvitationAccept) -> SignInReply:
    """Open: with the token of the invitation. The new account is signed in."""
    result = await invitations.accept_invitation(
        accounts_state(request).accounts, new.token.get_secret_value(),
        name=new.name, password=new.password.get_secret_value(), kind=new.kind,
    )  # fmt: skip
    return await sign_in_reply(request, response, result)


@router.post("/sign-out", status_code=204, responses=problems(SessionUnknown), summary="Sign out")
async def post_sign_out(request: Request, response: Response, principal: Restricted) -> None:
    """This session is over, in every process. A key isn't a session: revoke it instead."""
    if principal.session_id is None or principal.user_id is None:
        raise SessionUnknown("This request came with a key, not a session. DELETE /api/v1/api-keys/{id} revokes a key.")
    async with begin(accounts_state(request).store, principal) as tx:
        await end_session(tx, principal.session_id, user_id=principal.user_id)
    forget_cookie(request, response)


@router.post("/sign-out-everywhere", responses=problems(SessionUnknown), summary="Sign out everywhere")
async def post_sign_out_everywhere(request: Request, response: Response, principal: Restricted) -> SessionsEnded:
    """Every session of yours is over, this one included. Your keys go on."""
    if principal.session_id is None or principal.user_id is None:
        raise SessionUnknown("A key can't end its owner's sessions. Sign in as a person.")
    async with begin(accounts_state(request).store, principal) as tx:
        ended = await end_sessions(tx, principal.user_id, why="signed out everywhere")
    forget_cookie(request, response)
    return SessionsEnded(ended=ended)


@router.post(
    "/password", status_code=204,
    responses=problems(FreshSignInNeeded, SignInRefused, PasswordTooWeak, TooManyAttempts), summary="Change a password",
)  # fmt: skip
async def post_password(request: Request, change: PasswordChange, principal: Anybody) -> None:
    """Your own, within ten minutes of signing in. Your other sessions are over."""
    present = change.present.get_secret_value() if change.present else None
    new = change.new.get_secret_value()
    await new_password.change_password(accounts_state(request).accounts, principal, present=present, new=new)


@router.post(
    "/email/verification", status_code=202, responses=problems(TooManyAttempts), summary="Ask to confirm an address"
)
async def post_verification(request: Request, principal: Anybody) -> VerificationReply:
    """A mail to your own address, with a link that confirms it."""
    desk = accounts_state(request).accounts
    mailed = await new_password.request_verification(desk, principal, base_url=base_url(request))
    return VerificationReply(mailed=mailed)


@router.get("/csrf", responses=problems(SessionUnknown), summary="The token for changes")
async def get_csrf(request: Request, response: Response, principal: Restricted) -> CsrfReply:
    """For the header `X-CSRF-Token` of every change that the session's cookie signs."""
    secret = session_secret(request.headers, https=accounts_state(request).edge.https)
    if secret is None or principal.session_id is None:
        raise SessionUnknown("This request came without the session's cookie, so it needs no such token.")
    response.headers["Cache-Control"] = "no-store"
    return CsrfReply(csrf_token=csrf_token(secret))


@router.post("/ws-ticket", status_code=201, summary="A ticket for a WebSocket")
async def post_ticket(request: Request, response: Response, principal: Anybody) -> TicketReply:
    """Good once, for 30 seconds, for what asks: a browser's WebSocket sends no headers of its own."""
    async with begin(accounts_state(request).store, principal) as tx:
        text, ends = await one_time.issue_ticket(tx)
    response.headers["Cache-Control"] = "no-store"
    return TicketReply(ticket=text, expires_at=ends)


class Jwk(Reply):
    """A public key. Source: RFC 7517, RFC 8037."""

    kty: str
    crv: str
    x: str
    kid: str
    alg: str
    use: str


class Jwks(Reply):
    """The keys that sign access tokens: in use, next in use, and retired a moment ago."""

    keys: list[Jwk]


@well_known.get("/.well-known/jwks.json", summary="Public keys of access tokens")
async def get_jwks(request: Request, response: Response) -> Jwks:
    """Open: public keys alone."""
    response.headers["Cache-Control"] = "public, max-age=60"
    found = await accounts_state(request).ring.keys()
    keys = [Jwk(**_text(jwk_of(key.public_key)), kid=key.kid, alg=ALGORITHM, use="sig") for key in found]
    return Jwks(keys=keys)


def _text(jwk: dict[str, str | list[str]]) -> dict[str, str]:
    return {name: str(value) for name, value in jwk.items()}
