"""A FastAPI application with the plumbing around it, in memory or behind a real server on a real socket."""

import asyncio
import contextlib
import socket

import httpx2
import pytest
from fastapi import FastAPI

from shopfloor.infra.web.server import Server, server_config


class _SignalFreeServer(Server):
    """Leaves the test runner's signal handlers alone."""

    def capture_signals(self):
        return contextlib.nullcontext()


@contextlib.asynccontextmanager
async def served(app, *, on_stop=(), **options):
    """`app` on a free port of loopback; yields (base URL, server)."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        server = _SignalFreeServer(server_config(app, **({"lifespan": "off"} | options)), on_stop=on_stop)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not running.done():  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
        finally:
            server.should_exit = True
            await running


@pytest.fixture
def serve():
    return served


@pytest.fixture
def client_of():
    """A client that talks to an application in memory."""

    def make(app: FastAPI) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url="http://localhost")

    return make
