"""The session's cookie: its name, how it is read, and what a request that carries one has to prove.

Sources: RFC 6265bis (`__Host-`), OWASP Cross-Site Request Forgery Prevention Cheat Sheet, W3C Fetch Metadata.
"""

from __future__ import annotations

import hmac
from typing import Final

from starlette.datastructures import Headers

from shopfloor.base.errors import NotSignedIn, PermissionDenied
from shopfloor.domain.access.secret_text import hash_of, looks_like_one
from shopfloor.infra.web.edge import origin_allowed

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER: Final = "X-CSRF-Token"
_NAME: Final = "shopfloor"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
_MAX_COOKIE_CHARS = 16_384


class RequestForged(PermissionDenied):
    """A page of another origin may have made this request in the name of who is signed in."""

    title = "The request does not prove where it comes from"


def is_development(headers: Headers, *, https: bool) -> bool:
    """Whether this is plain HTTP on the machine itself, where a browser keeps no `Secure` cookie."""
    host = headers.get("host", "").lower()
    name = host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return not https and name in _LOOPBACK


def cookie_name(headers: Headers, *, https: bool) -> str:
    """`__Host-` binds it to this host, to HTTPS and to every path: a sibling domain can't set it."""
    return _NAME if is_development(headers, https=https) else f"__Host-{_NAME}"


def session_secret(headers: Headers, *, https: bool) -> str | None:
    """What the session's cookie holds; None: no such cookie.

    Raises: NotSignedIn when it stands there twice: one of them was tossed in by somebody else.
    """
    wanted = cookie_name(headers, https=https)
    found: list[str] = []
    for line in headers.getlist("cookie"):
        for pair in line[:_MAX_COOKIE_CHARS].split(";"):
            name, equals, value = pair.partition("=")
            if equals and name.strip() == wanted:
                found.append(value.strip())
    if len(found) > 1:
        raise NotSignedIn(
            f"This request carries the cookie {wanted} {len(found)} times, so one of them is not ours. Delete this "
            "site's cookies in the browser, then sign in again."
        )
    return found[0] if found and looks_like_one(found[0]) else None


def csrf_token(secret: str) -> str:
    """The token that belongs to a session's secret: a page of our origin can ask for it, no other can read it."""
    return hmac.new(secret.encode(), b"shopfloor csrf", "sha256").hexdigest()


def refuse_forged(headers: Headers, method: str, *, secret: str, allowed: tuple[str, ...]) -> None:
    """For a request that a cookie signs: all three marks have to be there. Raises: RequestForged."""
    if method in SAFE_METHODS:
        return
    refuse_foreign(headers, allowed)
    if "sec-fetch-site" not in headers and "origin" not in headers:
        raise RequestForged(
            "A request with the session's cookie names its Origin. Send it from a page of this server, or use an API "
            "key instead of the cookie."
        )
    sent = headers.getlist(CSRF_HEADER)
    if len(sent) != 1 or not hmac.compare_digest(hash_of(sent[0]), hash_of(csrf_token(secret))):
        raise RequestForged(
            f"The header {CSRF_HEADER} is missing or belongs to another session. GET /api/v1/auth/csrf has it."
        )


def refuse_foreign(headers: Headers, allowed: tuple[str, ...]) -> None:
    """Where a browser says that another site sent this. Raises: RequestForged."""
    sites, origins = headers.getlist("sec-fetch-site"), headers.getlist("origin")
    foreign = any(site != "same-origin" for site in sites)
    if len(sites) > 1 or len(origins) > 1 or (foreign and not _listed(origins, allowed)):
        raise RequestForged("Another site's page sent this request. Open this server's own page and do it there.")
    if not origin_allowed(headers, allowed):
        raise RequestForged("The Origin of this request is not this server. Open this server's own page.")


def _listed(origins: list[str], allowed: tuple[str, ...]) -> bool:
    return len(origins) == 1 and origins[0] in allowed
