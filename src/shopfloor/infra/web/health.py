"""Health: alive, ready, and how each component does. The details need a key; the two bare answers hold none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import structlog
from fastapi import APIRouter, Depends, FastAPI
from starlette.responses import JSONResponse, Response

from shopfloor.base.clock import Clock, SystemClock
from shopfloor.infra import metrics
from shopfloor.infra.redaction import REDACTOR
from shopfloor.infra.web.json_body import Reply

Status = Literal["ok", "degraded", "down"]
_WORST: tuple[Status, ...] = ("ok", "degraded", "down")
_MAX_DETAIL_CHARS = 300

COMPONENT_UP = metrics.gauge("shopfloor_component_up_ratio", "1 ok, 0.5 degraded, 0 down.", ["component"])
_UP: dict[Status, float] = {"ok": 1.0, "degraded": 0.5, "down": 0.0}

log = structlog.get_logger(__name__)


class ComponentHealth(Reply):
    """How one component does."""

    status: Status
    since: datetime  # when it took this status, as far as this process saw
    detail: str = ""
    needed: bool = True  # down means not ready; else the service is only degraded


class HealthReport(Reply):
    """The worst of its components, and each of them by name."""

    status: Status
    version: str
    components: dict[str, ComponentHealth]


class Degraded(Exception):
    """A check raises it: the component answers, but not as it should. Its text is the detail."""


@dataclass(frozen=True, slots=True)
class _Component:
    check: Callable[[], Awaitable[str | None]]
    needed: bool
    timeout_s: float


class Health:
    """The components of one process. Checks run side by side, each within its time, at most once a second."""

    def __init__(self, version: str, *, clock: Clock | None = None, fresh_s: float = 1.0) -> None:
        self.version = version
        self._clock = clock or SystemClock()
        self._fresh_s = fresh_s
        self._components: dict[str, _Component] = {}
        self._known: dict[str, ComponentHealth] = {}
        self._checked_at = float("-inf")
        self._one_at_a_time = asyncio.Lock()
        self._stopping = False

    def register(
        self, name: str, check: Callable[[], Awaitable[str | None]], *, needed: bool = True, timeout_s: float = 2.0
    ) -> None:
        """`check` returns a detail or None; it raises Degraded, or anything else to say that it is down."""
        self._components[name] = _Component(check, needed, timeout_s)

    def stop(self) -> None:
        """From now on not ready, so that no new traffic comes while the last requests are answered."""
        self._stopping = True

    async def report(self) -> HealthReport:
        """Every component's health, at most `fresh_s` old."""
        async with self._one_at_a_time:
            if self._clock.monotonic() - self._checked_at >= self._fresh_s:
                names = list(self._components)
                found = await asyncio.gather(*(self._checked(name) for name in names))
                self._known = dict(zip(names, found, strict=True))
                self._checked_at = self._clock.monotonic()
            known = self._known
        statuses: list[Status] = ["ok", *(_effective(each) for each in known.values())]
        worst = max(statuses, key=_WORST.index)
        return HealthReport(status=worst, version=self.version, components=known)

    async def ready(self) -> bool:
        """Whether requests may come: nothing needed is down and nobody asked us to stop."""
        return not self._stopping and (await self.report()).status != "down"

    async def _checked(self, name: str) -> ComponentHealth:
        component = self._components[name]
        status: Status
        status, detail = await _ask(component)
        COMPONENT_UP.labels(name).set(_UP[status])
        before = self._known.get(name)
        same = before is not None and before.status == status
        if not same:
            log.info("component.changed", component=name, status=status, detail=detail)
        since = before.since if same and before else self._clock.now()
        return ComponentHealth(status=status, since=since, detail=detail, needed=component.needed)


async def _ask(component: _Component) -> tuple[Status, str]:
    try:
        async with asyncio.timeout(component.timeout_s):
            return "ok", _short(await component.check() or "")
    except Degraded as error:
        return "degraded", _short(str(error))
    except TimeoutError:
        return "down", f"no answer within {component.timeout_s:g} s"
    except Exception as error:  # noqa: BLE001 (whatever a component throws, it is what we came to find out)
        return "down", _short(f"{type(error).__name__}: {error}")


def health_router(health: Health, app: FastAPI, *, authorize: Callable[..., Any]) -> APIRouter:
    """`/livez`, `/readyz` for everybody; `/healthz`, `/metrics`, `/openapi.json` behind the dependency `authorize`.

    Make `app` with `openapi_url=None, docs_url=None, redoc_url=None`: no route is open.
    """
    router = APIRouter(tags=["system"])
    guarded = [Depends(authorize)]

    @router.get("/livez", summary="Whether the process runs", operation_id="livez")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    not_now: dict[int | str, dict[str, Any]] = {503: {"description": "Not now.", "model": dict[str, str]}}

    @router.get("/readyz", summary="Whether requests may come", operation_id="readyz", responses=not_now)
    async def readyz() -> Response:
        ready = await health.ready()
        return JSONResponse({"status": "ok" if ready else "down"}, 200 if ready else 503)

    @router.get(
        "/healthz",
        summary="How each component does",
        operation_id="healthz",
        dependencies=guarded,
        responses={503: {"description": "A needed component is down.", "model": HealthReport}},
    )
    async def healthz(response: Response) -> HealthReport:
        report = await health.report()
        response.status_code = 503 if report.status == "down" else 200
        return report

    metrics_text: dict[int | str, dict[str, Any]] = {
        200: {"description": "In Prometheus' text format.", "content": {"text/plain": {}}}
    }

    @router.get(
        "/metrics",
        summary="Prometheus metrics",
        operation_id="metrics",
        dependencies=guarded,
        response_class=Response,
        responses=metrics_text,
    )
    async def prometheus() -> Response:
        body, content_type = metrics.render()
        return Response(body, headers={"Content-Type": content_type})

    @router.get("/openapi.json", include_in_schema=False, dependencies=guarded)
    async def openapi() -> JSONResponse:
        return JSONResponse(app.openapi())

    _ = (livez, readyz, healthz, prometheus, openapi)  # registered by their decorators
    return router


def _effective(component: ComponentHealth) -> Status:
    return "degraded" if component.status == "down" and not component.needed else component.status


def _short(text: str) -> str:
    return REDACTOR.text(text)[:_MAX_DETAIL_CHARS]
