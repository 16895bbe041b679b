"""Sandboxes kept ready. Each is used once: claimed, never returned."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from datetime import timedelta

from shopfloor.base.errors import ShopfloorError
from shopfloor.base.ids import NIL
from shopfloor.engine.sandbox.launch import Launched, Launcher
from shopfloor.engine.sandbox.opened import OpenSandbox
from shopfloor.engine.sandbox.port import SandboxSpec
from shopfloor.engine.sandbox.records import GRACE_S
from shopfloor.engine.workspace import WorkspaceLost

_RETRY_S = 5.0  # after a failed start, before the next try
_CLAIM_S = 5.0  # for a warm sandbox to answer that it is there


@dataclass(frozen=True, slots=True)
class _Warm:
    launched: Launched
    until: float  # monotonic: too old after it


class WarmPool:
    """Up to `size` sandboxes with the default limits, image and profile, no network, no owner."""

    def __init__(self, launcher: Launcher, size: int) -> None:
        self._launcher = launcher
        self._size = size
        self._ready: deque[_Warm] = deque()
        self._wanted = asyncio.Event()
        self._filled = asyncio.Event()
        self._filler: asyncio.Task[None] | None = None
        self.failure: str | None = None  # why the last start failed

    def start(self) -> None:
        """Fill it in the background."""
        if self._size and self._filler is None:
            self._filler = asyncio.create_task(self._fill())

    async def filled(self) -> None:
        """Wait until it is full once."""
        await self._filled.wait()

    def __len__(self) -> int:
        return len(self._ready)

    async def take(self, spec: SandboxSpec) -> OpenSandbox | None:
        """One that fits and is alive, now the spec's; None: make a new one."""
        if not self._fits(spec):
            return None
        while self._ready:
            warm = self._ready.popleft()
            self._wanted.set()
            if self._launcher.clock.monotonic() < warm.until and await self._claim(warm.launched, spec):
                return warm.launched.sandbox
            await self._launcher.close(warm.launched)
        return None

    async def aclose(self) -> None:
        """Remove what nobody claimed."""
        if self._filler is not None:
            self._filler.cancel()
            await asyncio.gather(self._filler, return_exceptions=True)
        while self._ready:
            await self._launcher.close(self._ready.popleft().launched)

    def _fits(self, spec: SandboxSpec) -> bool:
        settings = self._launcher.settings
        same_limits = replace(spec.limits, lifetime_s=0) == replace(settings.limits, lifetime_s=0)
        plain = spec.image in {None, settings.image} and not spec.egress.allow and spec.purpose != "build"
        return same_limits and plain and spec.debug in {False, settings.debug}

    async def _claim(self, launched: Launched, spec: SandboxSpec) -> bool:
        """The record first: from then on the reaper goes by the job. Then the lifetime, whose answer shows it alive."""
        lifetime_s = spec.limits.lifetime_s
        self._launcher.records.claim(
            launched.sandbox.name,
            job=spec.job_id,
            run=spec.run_id,
            purpose=spec.purpose,
            deadline=self._launcher.clock.now() + timedelta(seconds=lifetime_s + GRACE_S),
        )
        launched.env.update(spec.env)
        if launched.channel is None:
            return True
        try:
            async with (
                asyncio.timeout(_CLAIM_S),
                launched.channel.request({"op": "lifetime", "seconds": lifetime_s}) as answer,
            ):
                await answer.take()
        except (WorkspaceLost, TimeoutError):
            return False
        return True

    async def _fill(self) -> None:
        while True:
            await self._drop_old()
            if len(self._ready) >= self._size:
                self._filled.set()
                self._wanted.clear()
                await self._wait_for_want()
                continue
            try:
                self._ready.append(await self._warm())
                self.failure = None
            except ShopfloorError as error:
                self.failure = error.detail
                await self._launcher.clock.sleep(_RETRY_S)

    async def _wait_for_want(self) -> None:
        age_s = min(warm.until for warm in self._ready) - self._launcher.clock.monotonic()
        try:
            async with asyncio.timeout(max(0.0, age_s)):
                await self._wanted.wait()
        except TimeoutError:
            return

    async def _drop_old(self) -> None:
        now = self._launcher.clock.monotonic()
        while self._ready and self._ready[0].until <= now:
            await self._launcher.close(self._ready.popleft().launched)

    async def _warm(self) -> _Warm:
        settings = self._launcher.settings
        limits = replace(settings.limits, lifetime_s=settings.warm_lifetime_s)
        launched = await self._launcher.launch(SandboxSpec(NIL, NIL, limits=limits), job=NIL)
        # a minute before its own end, so that a claim never races with it
        return _Warm(launched, self._launcher.clock.monotonic() + max(settings.warm_lifetime_s - 60, 30))
