"""How a sign-in is answered: a cookie for browsers, tokens for programs, a challenge where a factor is missing."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from shopfloor.domain.access.cookies import cookie_name, csrf_token, is_development
from shopfloor.domain.accounts import factors
from shopfloor.domain.accounts.desk import accounts_state, factor_desk
from shopfloor.domain.accounts.models import OpenedSession, Pending, Signed
from shopfloor.domain.accounts.one_time import find
from shopfloor.domain.accounts.people import acting_as
from shopfloor.domain.accounts.schemas import SecondFactorAsked, SessionOpened, SignInReply
from shopfloor.domain.accounts.signing import access_token
from shopfloor.infra.tx import begin


async def sign_in_reply(request: Request, response: Response, result: Signed | Pending) -> SignInReply:
    """The body; the cookie goes onto `response`."""
    response.headers["Cache-Control"] = "no-store"
    if isinstance(result, Pending):
        return SignInReply(session=None, second_factor=await _asked(request, result))
    return SignInReply(session=await opened_reply(request, response, result.session), second_factor=None)


async def opened_reply(request: Request, response: Response, opened: OpenedSession) -> SessionOpened:
    """A session with what its kind carries."""
    is_browser = opened.kind == "browser"
    desk = accounts_state(request).accounts
    access = None
    if is_browser:
        set_cookie(request, response, opened)
    else:
        access = await access_token(
            desk.store, desk.sealer, session_id=opened.id, user_id=opened.user_id, life_s=desk.settings.access_token_s
        )
    return SessionOpened(
        id=opened.id, user_id=opened.user_id, organization_id=opened.organization_id, restricted=opened.restricted,
        ends_at=opened.ends_at, csrf_token=csrf_token(opened.secret) if is_browser else None, access_token=access,
        expires_in_s=desk.settings.access_token_s if access else None, refresh_token=opened.refresh_token,
    )  # fmt: skip


def set_cookie(request: Request, response: Response, opened: OpenedSession) -> None:
    """For this host alone, out of reach of scripts. Source: OWASP ASVS 5.0, 3.3."""
    state = accounts_state(request)
    now = state.store.services.clock.now()
    response.set_cookie(
        cookie_name(request.headers, https=state.edge.https),
        opened.secret,
        max_age=int((opened.ends_at - now).total_seconds()),
        path="/",
        secure=not is_development(request.headers, https=state.edge.https),
        httponly=True,
        samesite="lax",
    )


def forget_cookie(request: Request, response: Response) -> None:
    """The browser drops it."""
    https = accounts_state(request).edge.https
    secure = not is_development(request.headers, https=https)
    response.delete_cookie(
        cookie_name(request.headers, https=https), path="/", secure=secure, httponly=True, samesite="lax"
    )


async def _asked(request: Request, pending: Pending) -> SecondFactorAsked:
    options = None
    if "passkey" in pending.kinds:
        store = accounts_state(request).store
        token = await find(store, "second-factor", pending.challenge)
        async with begin(store, acting_as(token.organization_id, token.user_id)) as tx:
            options = await factors.passkey_request(tx, factor_desk(request), token.user_id)
    return SecondFactorAsked(
        challenge=pending.challenge, kinds=list(pending.kinds), expires_at=pending.expires_at, passkey=options
    )
