"""The outermost ring of HTTP: request id, host check, security headers, access log, metrics. A pure ASGI middleware."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any, cast
from urllib.parse import urlsplit

from prometheus_client import Counter, Gauge, Histogram
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shopfloor.base.ids import new_id
from shopfloor.infra import metrics
from shopfloor.infra.client_address import client_address
from shopfloor.infra.origin import Origin, coming_from
from shopfloor.infra.telemetry import bind, tell
from shopfloor.infra.web.errors import MalformedRequest
from shopfloor.infra.web.problems import problem_response, unexpected_problem
from shopfloor.infra.web.rate_limiting import RawHeaders, RequestLimits, Tally

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


class EdgeSettings(BaseModel):
    """What this installation is called from outside."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Host names answered to, without ports; `*.example.com` takes one name in front, `*` any (development only).
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    allowed_origins: tuple[str, ...] = ()  # of WebSockets, beside the own host: `https://app.example.com`
    https: bool = False  # TLS ends in front of us: send HSTS
    hsts_s: int = Field(default=_YEAR_S, ge=0)
    # Proxies whose X-Forwarded-For or Forwarded is believed: `10.0.0.0/8`. Of nobody else's.
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(slots=True)
class _Sent:
    """What the edge reads of a request's headers."""

    hosts: list[str] = field(default_factory=list[str])
    forwarded_for: list[str] = field(default_factory=list[str])
    forwarded: list[str] = field(default_factory=list[str])
    request_id: str | None = None
    agent: str = ""


class Edge:
    """Everything that holds for each request whatever its route."""

    def __init__(self, app: ASGIApp, settings: EdgeSettings | None = None, limits: RequestLimits | None = None) -> None:
        self.app = app
        self.settings = settings or EdgeSettings()
        self.limits = limits
        self._headers = _security_headers(self.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or WebSocket; a defect below becomes a problem, logged once."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        sent = _read(scope)
        request_id = accepted_request_id(sent.request_id)
        peer = str((scope.get("client") or ("",))[0])
        address = client_address(peer, sent.forwarded_for, sent.forwarded, self.settings.trusted_proxies)
        tally = Tally(self.limits) if self.limits is not None else None
        scope["shopfloor.request_id"] = request_id
        scope["shopfloor.tally"] = tally
        scope["shopfloor.send"] = send  # streams write their frames past the rings that only watch the start
        answer = _Answer(send, request_id, self._headers, tally)
        started_s = time.perf_counter()
        in_flight = _in_flight(scope["type"])
        in_flight.inc()
        with bind(request_id=request_id), coming_from(Origin(request_id, address, sent.agent)):
            try:
                await self._guarded(scope, receive, answer, sent.hosts)
            finally:
                in_flight.dec()
                own_id = request_id != sent.request_id
                _record(scope, answer, address, time.perf_counter() - started_s, own_id=own_id)

    async def _guarded(self, scope: Scope, receive: Receive, answer: _Answer, hosts: list[str]) -> None:
        if not host_allowed(hosts, self.settings.allowed_hosts):
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


def _read(scope: Scope) -> _Sent:
    """One pass over the headers, whose names the server has put into lower case."""
    found = _Sent()
    for name, value in cast("RawHeaders", scope["headers"]):
        match name:
            case b"host":
                found.hosts.append(value.decode("latin-1"))
            case b"user-agent":
                found.agent = found.agent or value.decode("latin-1")[:_MOST_AGENT_CHARS]
            case b"x-forwarded-for":
                found.forwarded_for.append(value.decode("latin-1"))
            case b"forwarded":
                found.forwarded.append(value.decode("latin-1"))
            case b"x-request-id":
                found.request_id = found.request_id or value.decode("latin-1")
            case _:
                pass
    return found


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

    __slots__ = ("_headers", "_send", "_tally", "request_id", "status")

    def __init__(self, send: Send, request_id: str, headers: RawHeaders, tally: Tally | None) -> None:
        self._send = send
        self._headers = headers
        self._tally = tally
        self.request_id = request_id
        self.status = 0  # not answered yet

    async def send(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            message["headers"] = self._completed(message.get("headers", ()))
        elif message["type"] == "websocket.accept":
            self.status = 101
            message["headers"] = [*message.get("headers", ()), *self._counted()]
        elif message["type"] == "websocket.close" and not self.status:
            self.status = 403
        await self._send(message)

    def _completed(self, own: RawHeaders) -> RawHeaders:
        """What the route set, and the defaults it didn't set."""
        names = {name for name, _ in own}
        defaults = [pair for pair in self._headers if pair[0] not in names]
        return [*own, *defaults, *self._counted(), (b"x-request-id", self.request_id.encode("latin-1"))]

    def _counted(self) -> RawHeaders:
        return (self._tally.headers if self._tally is not None else None) or []


def _security_headers(settings: EdgeSettings) -> RawHeaders:
    """Defaults: a page of the web app sets its own policy. Source: OWASP REST Security Cheat Sheet."""
    headers: RawHeaders = [
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
        (b"x-frame-options", b"DENY"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    ]
    if settings.https and settings.hsts_s:
        headers.append((b"strict-transport-security", f"max-age={settings.hsts_s}; includeSubDomains".encode()))
    return headers


def _record(scope: Scope, answer: _Answer, address: str, elapsed_s: float, *, own_id: bool) -> None:
    websocket = scope["type"] == "websocket"
    method = "WEBSOCKET" if websocket else scope["method"]
    if not websocket and method not in _METHODS:
        method = "OTHER"
    route = route_of(scope)
    requests, seconds = _meters(method, route, str(answer.status))
    requests.inc()
    seconds.observe(elapsed_s)
    path, ids = scope["path"][:200], {"request_id": answer.request_id}
    tell(
        "http.request",
        "debug" if path in _QUIET_PATHS else "info",
        sent={"path": path} if own_id else {"path": path, **ids},
        **(ids if own_id else {}),
        method=method,
        route=route,
        status=answer.status or None,
        duration_ms=round(elapsed_s * 1000, 2),
        client=address or None,
    )


@lru_cache(maxsize=4_096)
def _meters(method: str, route: str, status: str) -> tuple[Counter, Histogram]:
    """The two series of an answer: all three labels are bounded, and looking them up anew costs more than counting."""
    return REQUESTS.labels(method, route, status), SECONDS.labels(method, route)


@lru_cache
def _in_flight(kind: str) -> Gauge:
    return IN_FLIGHT.labels(kind)
