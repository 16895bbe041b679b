"""Serves the web app beside the API: files by name, else the app's page for a browser that asks for a page.

Only what stands in the table of built files is ever sent, so no address can lead out of the folder.
Sources: W3C Content Security Policy Level 3 (nonces); RFC 9110, 12.5.3 (Accept-Encoding); RFC 8246 (immutable).
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from shopfloor.apps.webui.files import NONCE_MARK, Asset, WebFiles

_OF_THE_API: Final = ("/api", "/livez", "/readyz", "/healthz", "/metrics", "/openapi.json", "/.well-known", "/assets")
_YEAR_S: Final = 31_536_000
_NOT_BUILT: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Shopfloor: the web app is not built</title></head>
<body><h1>The web app is not built</h1>
<p>This server has the API alone: its installation came without the built pages.</p>
<p>From a checkout, run <code>make web</code> and start again. A released package has them already.</p>
<p>The command line works as it is: <code>shopfloor job list</code>.</p></body></html>
"""


@dataclass(frozen=True, slots=True)
class _Route:
    """What the access log and the metrics call these answers by."""

    path: str


class WebUi:
    """A pure ASGI ring: answers GET and HEAD for pages and built files, and leaves everything else to the API."""

    def __init__(self, app: ASGIApp, files: WebFiles | None) -> None:
        self.app = app
        self.files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass it on."""
        response = self._response(scope) if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else None
        if response is None:
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            response.body = b""
        await response(scope, receive, send)

    def _response(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        asset = self.files.assets.get(scope["path"]) if self.files else None
        if asset is not None:
            scope["route"] = _Route("/{web-file}")
            return _file(asset, headers)
        if not _is_page(scope["path"]) or not _wants_page(headers):
            return None
        scope["route"] = _Route("/{web-page}")
        return _page(self.files.page) if self.files else _not_built()


def _is_page(path: str) -> bool:
    return not any(path == prefix or path.startswith(f"{prefix}/") for prefix in _OF_THE_API)


def _wants_page(headers: Headers) -> bool:
    """A browser names HTML when it opens an address; programs that send `*/*` get the API's own 404."""
    kinds = headers.get("accept", "")[:1_024].split(",")
    return any(kind.partition(";")[0].strip().lower() == "text/html" for kind in kinds)


def _file(asset: Asset, headers: Headers) -> Response:
    tag = f'"{hashlib.sha256(asset.content).hexdigest()[:32]}"'
    encoding = next((each for each in asset.twins if each in _accepted(headers)), None)
    sent = {
        "Content-Type": asset.kind,
        "Cache-Control": f"public, max-age={_YEAR_S}, immutable" if asset.hashed else "no-cache",
        "ETag": tag,
        "Vary": "Accept-Encoding",
    }
    if tag in headers.get("if-none-match", ""):
        return Response(status_code=304, headers=sent)
    if encoding is None:
        return Response(asset.content, headers=sent)
    return Response(asset.twins[encoding], headers={**sent, "Content-Encoding": encoding})


def _accepted(headers: Headers) -> set[str]:
    """The encodings that the client takes; `br;q=0` is a refusal."""
    found: set[str] = set()
    for part in headers.get("accept-encoding", "")[:512].lower().split(","):
        name, _, weight = part.partition(";")
        if weight.replace(" ", "").rstrip("0.") != "q=":
            found.add(name.strip())
    return found


def _page(page: str) -> Response:
    """The same page for each address, with a nonce of its own: only what carries it may run or style."""
    nonce = secrets.token_urlsafe(18)
    return _html(page.replace(NONCE_MARK, nonce), 200, nonce)


def _not_built() -> Response:
    return _html(_NOT_BUILT, 503, None)


def _html(text: str, status: int, nonce: str | None) -> Response:
    allowed = f" 'nonce-{nonce}'" if nonce else ""
    policy = (
        f"default-src 'none'; script-src 'self'{allowed}; style-src 'self'{allowed}; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-cache",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    }
    return Response(text, status, headers, "text/html")
