"""The outermost ring of HTTP: request id, host check, security headers, access log, metrics. A pure ASGI middleware."""

from __future__ import annotations

import re
import time
from typing import Any, cast
from urllib.parse import urlsplit

import structlog
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shopfloor.base.ids import new_id
from shopfloor.infra import metrics
from shopfloor.infra.origin import Origin, coming_from
from shopfloor.infra.telemetry import bind
from shopfloor.infra.web.errors import MalformedRequest
from shopfloor.infra.web.problems import problem_response, unexpected_problem

REQUEST_ID_HEADER = "X-Request-Id"
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{8,128}$")
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\[\]:@/\s]+)(:[0-9]{0,5})?")  # RFC 9110, section 7.2
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
_YEAR_S = 31_536_000
_MOST_AGENT_CHARS = 200

REQUESTS = metrics.counter("shopfloor_http_requests_total", "Requests answered.", ["method", "route", "status"])
SECONDS = metrics.histogram("shopfloor_http_request_seconds", "From request to end of answer.", ["method", "route"])
IN_FLIGHT = metrics.gauge("shopfloor_http_requests_in_flight", "Requests being answered, streams included.", ["type"])

log = structlog.get_logger(__name__)


class EdgeSettings(BaseModel):
    """What this installation is called from outside."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Host names answered to, without ports; `*.example.com` takes one name in front, `*` any (development only).
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    allowed_origins: tuple[str, ...] = ()  # of WebSockets, beside the own host: `https://app.example.com`
    https: bool = False  # TLS ends in front of us: send HSTS
    hsts_s: int = Field(default=_YEAR_S, ge=0)


class Edge:
    """Everything that holds for each request whatever its route."""

    def __init__(self, app: ASGIApp, settings: EdgeSettings | None = None) -> None:
        self.app = app
        self.settings = settings or EdgeSettings()
        self._headers = _security_headers(self.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or WebSocket; a defect below becomes a problem, logged once."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = accepted_request_id(headers.get(REQUEST_ID_HEADER))
        scope["shopfloor.request_id"] = request_id
        scope["shopfloor.send"] = send  # streams write their frames past the rings that only watch the start
        answer = _Answer(send, request_id, self._headers)
        started_s = time.perf_counter()
        in_flight = IN_FLIGHT.labels(scope["type"])
        in_flight.inc()
        client = scope.get("client") or ("",)
        here = Origin(request_id, str(client[0]), headers.get("user-agent", "")[:_MOST_AGENT_CHARS])
        with bind(request_id=request_id), coming_from(here):
            try:
                await self._guarded(scope, receive, answer, headers)
            finally:
                in_flight.dec()
                _record(scope, answer, time.perf_counter() - started_s)

    async def _guarded(self, scope: Scope, receive: Receive, answer: _Answer, headers: Headers) -> None:
        if not host_allowed(headers.getlist("host"), self.settings.allowed_hosts):
            error = MalformedRequest(
                "this server is not known by the host name of the request. "
                "Its operator can add the name to the setting `allowed_hosts`."
            )
            await problem_response(error, request_id=answer.request_id)(scope, receive, answer.send)
            return
        try:
            await self.app(scope, receive, answer.send)
        except Exception as error:  # noqa: BLE001 (the last ring: else the server's own text answers)
            if scope.get("shopfloor.crashed"):
                return
            response = unexpected_problem(error, answer.request_id)
            if not answer.status:
                await response(scope, receive, answer.send)


def accepted_request_id(sent: str | None) -> str:
    """The caller's id if it is one we can log as it stands, else a new one."""
    return sent if sent and _REQUEST_ID.match(sent) else str(new_id())


def host_allowed(sent: list[str], allowed: tuple[str, ...]) -> bool:
    """Whether exactly one Host header was sent and names one of `allowed`."""
    if "*" in allowed:
        return True
    if len(sent) != 1:
        return False
    parts = _HOST.fullmatch(sent[0].lower())
    if parts is None:
        return False
    name = parts["name"]
    return any(name == known or (known.startswith("*.") and name.partition(".")[2] == known[2:]) for known in allowed)


def origin_allowed(headers: Headers, allowed: tuple[str, ...]) -> bool:
    """Whether a WebSocket may be opened from where it comes: no browser, our own host, or one of `allowed`."""
    origin = headers.get("origin")
    if origin is None:
        return True  # only browsers send it, and only they carry somebody else's cookies
    return origin in allowed or (bool(host := headers.get("host")) and urlsplit(origin).netloc == host)


def route_of(scope: Scope) -> str:
    """The route's template (`/api/v1/jobs/{job_id}`), for metrics: bounded whatever clients ask for."""
    context = cast("dict[str, Any]", scope.get("fastapi") or {}).get("effective_route_context")
    path = getattr(context, "path", None) or getattr(scope.get("route"), "path", None)
    return str(path) if path else "unmatched"


class _Answer:
    """Watches one answer start, and puts the headers on it."""

    __slots__ = ("_headers", "_send", "request_id", "status")

    def __init__(self, send: Send, request_id: str, headers: tuple[tuple[str, str], ...]) -> None:
        self._send = send
        self._headers = headers
        self.request_id = request_id
        self.status = 0  # not answered yet

    async def send(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            message.setdefault("headers", [])
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID_HEADER] = self.request_id
            for name, value in self._headers:
                headers.setdefault(name, value)
        elif message["type"] == "websocket.accept":
            self.status = 101
        elif message["type"] == "websocket.close" and not self.status:
            self.status = 403
        await self._send(message)


def _security_headers(settings: EdgeSettings) -> tuple[tuple[str, str], ...]:
    """Defaults: a page of the web app sets its own policy. Source: OWASP REST Security Cheat Sheet."""
    headers = (
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
        ("X-Frame-Options", "DENY"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cache-Control", "no-store"),
    )
    if settings.https and settings.hsts_s:
        return (*headers, ("Strict-Transport-Security", f"max-age={settings.hsts_s}; includeSubDomains"))
    return headers


def _record(scope: Scope, answer: _Answer, elapsed_s: float) -> None:
    websocket = scope["type"] == "websocket"
    method = "WEBSOCKET" if websocket else scope["method"]
    if not websocket and method not in _METHODS:
        method = "OTHER"
    route = route_of(scope)
    REQUESTS.labels(method, route, str(answer.status)).inc()
    SECONDS.labels(method, route).observe(elapsed_s)
    tell = log.debug if scope["path"] in _QUIET_PATHS else log.info
    tell(
        "http.request",
        method=method,
        route=route,
        path=scope["path"][:200],
        status=answer.status or None,
        duration_ms=round(elapsed_s * 1000, 2),
        client=(scope.get("client") or [None])[0],
    )
