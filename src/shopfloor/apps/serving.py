"""One HTTP server on this event loop, for as long as a block lasts. Signals belong to the process, not to it."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager

from starlette.types import ASGIApp

from shopfloor.base.errors import SettingsError
from shopfloor.infra.web.server import Server, StopHook, server_config

_BACKLOG = 2_048


def listen_on(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises: SettingsError that names what to change."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise SettingsError(
            f"{host!r} is no address of this machine: {error}. Leave --host out for 127.0.0.1."
        ) from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"Nothing can listen on {host}:{port}: {error.strerror}. Another program uses the port, or may not be "
            "yours to use: choose another with --port.",
            host=host, port=port,
        ) from error  # fmt: skip
    return listener


def url_of(listener: socket.socket) -> str:
    """Where people reach it from this machine."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket, *, on_stop: Sequence[StopHook] = ()) -> AsyncGenerator[None]:
    """Serve `app` while the block runs; then finish what is being answered. Raises: SettingsError if it can't start."""
    server = _Hosted(server_config(app), on_stop=on_stop)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                await task
                raise SettingsError("The HTTP server did not start: the lines above say why.")
            await asyncio.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        await task


@contextmanager
def stop_signals(stop: asyncio.Event) -> Generator[None]:
    """SIGTERM and SIGINT set `stop` while the block runs; a second SIGINT ends the process as usual."""
    loop = asyncio.get_running_loop()

    def first(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, first, number)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class _Hosted(Server):
    """A server that leaves the process's signals alone."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Nothing: see `stop_signals`."""
        yield
