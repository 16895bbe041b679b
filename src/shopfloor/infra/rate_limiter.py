"""Who counts: Redis for all processes together, or this process by itself while there is none or it is away."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from shopfloor.base.clock import Clock, SystemClock
from shopfloor.infra.rate_limits import Level, MemoryWindows, Window, levels

if TYPE_CHECKING:  # the client is loaded where a Redis is configured
    from shopfloor.infra.rate_limits_shared import SharedWindows

_PROBE_EVERY_S = 2.0

log = structlog.get_logger(__name__)


class RateLimiter:
    """Counts requests. A Redis that fails once isn't asked again until a probe in the background finds it well."""

    def __init__(self, shared: SharedWindows | None = None, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._own = MemoryWindows(self._clock)
        self._shared = shared
        self._probing: asyncio.Task[None] | None = None
        self.away: str | None = None  # why Redis isn't asked at the moment

    async def start(self) -> None:
        """Ask Redis once, so that the log says at the start if it is away. Nothing waits for it."""
        if self._shared is not None:
            try:
                await self._shared.probe()
            except self._shared.AWAY as error:
                self._lost(error)

    async def take(self, windows: Sequence[Window]) -> list[Level]:
        """Count one request in every window, or in none if one of them is full."""
        if self._shared is not None and self.away is None:
            try:
                return levels(windows, await self._shared.take(windows))
            except self._shared.AWAY as error:
                self._lost(error)
        return levels(windows, self._own.take(windows))

    async def aclose(self) -> None:
        """Stop probing, close the connections."""
        if self._probing is not None:
            self._probing.cancel()
            with suppress(asyncio.CancelledError):
                await self._probing
        if self._shared is not None:
            await self._shared.aclose()

    def _lost(self, error: Exception) -> None:
        if self.away is None:  # of many requests under way the first one tells
            self.away = f"{type(error).__name__}: {error}"
            log.warning("redis.away", reason=self.away, meanwhile="each process counts rate limits by itself")
            self._probing = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        while self._shared is not None and self.away is not None:
            await self._clock.sleep(_PROBE_EVERY_S)
            with suppress(*self._shared.AWAY):
                await self._shared.probe()
                self.away = None
                log.info("redis.back")
