"""Which browser this is, before anybody is signed in: a cookie that binds the way back to the way there."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from shopfloor.domain.access.cookies import cookie_name, is_development, refuse_foreign
from shopfloor.domain.access.secret_text import looks_like_one, new_secret
from shopfloor.domain.accounts.desk import accounts_state
from shopfloor.infra.web.rate_limiting import sign_in_limit

_LIFE: Final = timedelta(minutes=10)


def browser_of(request: Request) -> str | None:
    """The secret in its cookie, if it has one of ours."""
    text = request.cookies.get(_name(request), "")
    return text if looks_like_one(text) else None


def known_browser(request: Request, response: Response, secret: str | None = None) -> str:
    """The secret of this browser, a new one where there is none; its cookie holds for ten more minutes."""
    secret = secret or browser_of(request) or new_secret()
    response.set_cookie(
        _name(request),
        secret,
        max_age=int(_LIFE.total_seconds()),
        path="/",
        secure=not is_development(request.headers, https=accounts_state(request).edge.https),
        httponly=True,
        samesite="lax",  # it comes along when a provider sends the browser back, and with no request of another page
    )
    return secret


async def _from_here(request: Request) -> None:
    """Another site's page signs nobody in. Raises: RequestForged."""
    refuse_foreign(request.headers, accounts_state(request).edge.allowed_origins)


FROM_HERE = [Depends(_from_here), Depends(sign_in_limit)]


def _name(request: Request) -> str:
    return f"{cookie_name(request.headers, https=accounts_state(request).edge.https)}-browser"
