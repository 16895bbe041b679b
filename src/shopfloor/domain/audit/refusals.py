"""Refused attempts to change something: recorded in a transaction of their own, as well as that can be done.

The change's own transaction is rolled back, and its record with it. A flood of refusals must not become a flood of
entries, nor hold up answers: per principal a few a minute are kept, a few at a time, each within two seconds.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import cast
from uuid import UUID

import psycopg
import structlog
from starlette.requests import Request

from shopfloor.base.errors import PermissionDenied, ShopfloorError
from shopfloor.base.principal import Principal
from shopfloor.infra import metrics
from shopfloor.infra.tx import Store, begin
from shopfloor.infra.web.edge import route_of

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_A_MINUTE = 30  # entries of one principal
_WINDOW_S = 60.0
_MOST_PRINCIPALS = 10_000
_AT_ONCE = 2
_LONGEST_S = 2.0
_MOST_CHARS = 200

UNRECORDED = metrics.counter("shopfloor_audit_refusals_unrecorded_total", "Refusals that were not recorded.", ["why"])

log = structlog.get_logger(__name__)


class Refusals:
    """One an application."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._windows: OrderedDict[UUID, tuple[float, int]] = OrderedDict()

    async def record(self, request: Request, error: PermissionDenied) -> None:
        """Keep that `error` refused `request`, if that was to change something and somebody signed in asked it."""
        principal = cast("Principal | None", getattr(request.state, "principal", None))
        if principal is None or request.scope.get("method", "GET") in _SAFE:  # a WebSocket has none, and only reads
            return
        if self._slots.locked() or not self._fits(principal.id):
            UNRECORDED.labels("too-many").inc()
            return
        try:
            async with self._slots, asyncio.timeout(_LONGEST_S):
                await self._write(request, principal, error)
        except (ShopfloorError, psycopg.Error, TimeoutError) as failed:
            UNRECORDED.labels("failed").inc()
            log.warning("audit.refusal-unrecorded", why=str(failed)[:_MOST_CHARS])

    async def _write(self, request: Request, principal: Principal, error: PermissionDenied) -> None:
        told = {name: value for name, value in request.path_params.items() if isinstance(value, str)}
        facts = {"permission": error.facts.get("permission"), "path": told}
        async with begin(self._store, principal) as tx:
            await tx.record(
                "permission.refused",
                "route",
                f"{request.method} {route_of(request.scope)}",
                after=facts,
                result="refused",
            )

    def _fits(self, principal_id: UUID) -> bool:
        now = self._store.services.clock.monotonic()
        since, kept = self._windows.pop(principal_id, (now, 0))
        if now - since >= _WINDOW_S:
            since, kept = now, 0
        self._windows[principal_id] = (since, kept + 1)
        if len(self._windows) > _MOST_PRINCIPALS:
            self._windows.popitem(last=False)
        return kept < _A_MINUTE
