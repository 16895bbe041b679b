"""Puts a mock provider on a port: inside a running program, or as a process of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from shopfloor.base.errors import InvalidInput, SettingsError
from shopfloor.testing.mock_provider.app import MockProvider
from shopfloor.testing.mock_provider.bill import Bill, Books
from shopfloor.testing.mock_provider.scenario import Scenario, load

CLOSE_TIMEOUT_S = 5


class Server:
    """A mock provider that is listening."""

    def __init__(self, app: MockProvider, url: str) -> None:
        self.app = app
        self.url = url  # http://127.0.0.1:PORT, no slash at its end; Anthropic's client takes it as it is

    @property
    def openai_url(self) -> str:
        """The base URL for OpenAI's client, `/v1` included."""
        return f"{self.url}/v1"

    def bill(self) -> Bill:
        """What was served so far."""
        return self.app.books.bill()

    def reset(self) -> None:
        """Empty books, faults from their start."""
        self.app.reset()


@asynccontextmanager
async def serve(
    scenario: Scenario | str | Path = "default",
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    bill_path: Path | None = None,
) -> AsyncGenerator[Server]:
    """A mock provider in this event loop; port 0 takes a free one. It is down when the block ends.

    `scenario` is a built-in name, the path of a YAML file, or a Scenario. Raises: InvalidInput, SettingsError.
    """
    app = MockProvider(scenario if isinstance(scenario, Scenario) else load(scenario), Books(bill_path))
    app.books.open()
    listener = _listener(host, port)
    server = uvicorn.Server(_config(app))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])
    try:
        yield Server(app, _url(listener))
    finally:
        await _stop(server)
        app.books.close()


def run_server(
    scenario: str | Path = "default",
    *,
    host: str = "127.0.0.1",
    port: int = 8399,
    bill_path: Path | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; prints one line with the URL first. Raises: InvalidInput, SettingsError."""
    app = MockProvider(load(scenario), Books(bill_path))
    app.books.open()
    listener = _listener(host, port)
    print(f"mock provider: {_url(listener)} (scenario {app.scenario.name})", flush=True)  # noqa: T201 - it is the door
    try:
        uvicorn.Server(_config(app)).run(sockets=[listener])
    finally:
        app.books.close()


class _SocketInScope(H11Protocol):
    """Hands each connection's transport to the application, which needs it to cut and to reset."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state: dict[str, Any] = {**self.app_state, "transport": transport}


def _config(app: MockProvider) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_SocketInScope,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        backlog=2_048,
    )


def _listener(host: str, port: int) -> socket.socket:
    """Bound before the server starts, so that a free port is known at once. Raises: SettingsError if it is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise InvalidInput(f"{host!r} is no address of this machine: {error}", host=host) from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"The mock provider can't listen on {host}:{port}: {error}. Choose another port, or 0 for a free one.",
            host=host,
            port=port,
        ) from error
    listener.set_inheritable(False)
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _stop(server: uvicorn.Server) -> None:
    """At once: a hanging reply would hold uvicorn's own shutdown up, which besides waits 0.1 s in every test."""
    for listening in server.servers:
        listening.close()
    tasks = list(server.server_state.tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    async with asyncio.timeout(CLOSE_TIMEOUT_S):
        await asyncio.gather(*(listening.wait_closed() for listening in server.servers))
