"""The Docker backend: opens hardened sandboxes, keeps some warm, builds environments, reaps what is left over."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from shopfloor.base.clock import Clock
from shopfloor.base.errors import SettingsError
from shopfloor.engine.sandbox import environment as environments
from shopfloor.engine.sandbox import reaper
from shopfloor.engine.sandbox.engine import Engine
from shopfloor.engine.sandbox.image import check_image
from shopfloor.engine.sandbox.isolation import runtime_name
from shopfloor.engine.sandbox.launch import EgressDoor, Launcher
from shopfloor.engine.sandbox.pool import WarmPool
from shopfloor.engine.sandbox.port import Environment, Isolation, Sandbox, SandboxSpec, SandboxUnavailable
from shopfloor.engine.sandbox.profile import load_profile
from shopfloor.engine.sandbox.settings import SandboxSettings


class DockerSandboxes:
    """See Sandboxes. `install_id` marks everything made here: letters, digits, `-` and `_`."""

    def __init__(
        self, settings: SandboxSettings, *, install_id: str, clock: Clock, egress: EgressDoor | None = None
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", install_id):
            raise SettingsError("an install id consists of letters, digits, - and _", install_id=install_id)
        self._settings = settings
        engine = Engine(settings.engine_url, timeout_s=settings.api_timeout_s)
        self._launcher = Launcher(settings, install_id, clock, engine, egress)
        self.pool = WarmPool(self._launcher, settings.warm_pool)
        self._builds = environments.Builds(self._launcher)
        self._open = 0

    def start(self) -> None:
        """Begin to fill the warm pool; without it every open is a cold one."""
        self.pool.start()

    async def open(self, spec: SandboxSpec) -> Sandbox:
        """See Sandboxes."""
        if self._open >= self._settings.max_open:
            raise SandboxUnavailable(
                f"{self._open} sandboxes are open in this process: wait for one to end, or raise"
                " SHOPFLOOR_SANDBOX__MAX_OPEN",
                limit=self._settings.max_open,
            )
        self._open += 1
        try:
            warm = await self.pool.take(spec)
            sandbox = warm or (await self._launcher.launch(spec, job=spec.job_id)).sandbox
        except BaseException:
            self._forget()
            raise
        sandbox.after_close = self._forget
        try:
            await environments.unpack(sandbox, spec)
        except BaseException:
            await sandbox.aclose()
            raise
        return sandbox

    async def prepare(
        self, environment: Environment, spec: SandboxSpec, fill: Callable[[Sandbox], Awaitable[None]]
    ) -> str:
        """See Sandboxes."""
        return await self._builds.prepare(environment, spec, fill)

    async def prune_environments(self, *, keep: int) -> int:
        """See Sandboxes."""
        return await self._builds.prune(keep=keep)

    async def reap(self, is_live: Callable[[UUID], bool], *, now: datetime) -> int:
        """See Sandboxes."""
        return await reaper.reap(self._launcher, is_live, now=now)

    async def health(self) -> Isolation:
        """See Sandboxes."""
        info = await self._launcher.engine.info()
        await check_image(self._launcher.engine, self._settings.image)
        runtime = runtime_name(self._settings.runtime, info)
        profile = load_profile(debug=self._settings.debug)
        return await self._launcher.isolation(profile.name, runtime, egress=False)

    async def aclose(self) -> None:
        """Close the warm pool and the connection."""
        await self.pool.aclose()
        await self._launcher.aclose()

    def _forget(self) -> None:
        self._open -= 1
