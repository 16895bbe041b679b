"""The worker process: runs jobs until it is told to stop, then gives those under way back at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

from fastapi import FastAPI

from shopfloor import __version__
from shopfloor.apps.production import refuse_open_door
from shopfloor.apps.serving import listen_on, serving, stop_signals, url_of
from shopfloor.apps.settings import Settings
from shopfloor.apps.wiring import Parts, open_parts, open_worker
from shopfloor.domain.access.http import Require
from shopfloor.domain.jobs.worker import Worker
from shopfloor.engine.providers.catalogue import preload
from shopfloor.infra.web.health import health_router
from shopfloor.infra.web.plumbing import install_plumbing


async def run_worker(settings: Settings, *, health_host: str = "127.0.0.1", health_port: int | None = None) -> None:
    """Work until SIGTERM or SIGINT. With `health_port`: `/livez /readyz /healthz /metrics` there (0: a free port)."""
    stop = asyncio.Event()
    if health_port is not None:
        refuse_open_door(settings, health_host)
    listener = listen_on(health_host, health_port) if health_port is not None else None
    with stop_signals(stop):
        async with open_parts(settings) as parts, AsyncExitStack() as health, working(parts) as worker:
            where = ""
            if listener is not None:
                await health.enter_async_context(serving(_health_app(parts), listener))
                where = f", health at {url_of(listener)}"
            print(f"A worker is up with {settings.jobs.slots} slots{where}", flush=True)  # noqa: T201 - who starts it waits for it
            await stop.wait()
            parts.health.stop()
            if worker.running:
                print(f"Giving {worker.running} running job(s) back", flush=True)  # noqa: T201 - as above


@asynccontextmanager
async def working(parts: Parts, *, only: UUID | None = None) -> AsyncGenerator[Worker]:
    """A worker at work while the block runs, with `only` on that job alone; its jobs are given back at the end."""
    async with open_worker(parts, only=only) as worker:
        work = asyncio.create_task(worker.run())
        warm = asyncio.create_task(_warm_up())
        try:
            yield worker
        finally:
            worker.stop()
            await work
            warm.cancel()


async def _warm_up() -> None:
    """The SDKs most jobs need, imported in a thread after the start: the first job doesn't wait for them."""
    await asyncio.sleep(_WARM_AFTER_S)
    await preload(("openai", "anthropic"))


def _health_app(parts: Parts) -> FastAPI:
    app = FastAPI(title="Shopfloor worker", version=__version__, openapi_url=None, docs_url=None, redoc_url=None)
    install_plumbing(app, edge=parts.settings.web)
    app.include_router(health_router(parts.health, app, authorize=Require("system.read")))
    app.state.shopfloor = parts
    return app


_WARM_AFTER_S = 1.0
