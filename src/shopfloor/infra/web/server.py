"""uvicorn with our limits: slow headers, large ones, and endless answers when the server stops."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import h11
import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

MAX_WEBSOCKET_MESSAGE_BYTES = 16_384  # clients only say where to start
_HOOK_TIMEOUT_S = 5.0

log = structlog.get_logger(__name__)

StopHook = Callable[[], Awaitable[None]]


class Server(uvicorn.Server):
    """Runs `on_stop` before it waits for open connections: those of live streams would never close by themselves."""

    def __init__(self, config: uvicorn.Config, *, on_stop: Sequence[StopHook] = ()) -> None:
        super().__init__(config)
        self.on_stop = tuple(on_stop)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Uvicorn's shutdown, after ours."""
        for hook in self.on_stop:
            try:
                async with asyncio.timeout(_HOOK_TIMEOUT_S):
                    await hook()
            except TimeoutError:
                log.warning("server.stop_hook_too_slow", hook=str(hook), timeout_s=_HOOK_TIMEOUT_S)
        await super().shutdown(sockets)


class PatientHttp(H11Protocol):
    """HTTP/1.1 whose patience with a request's headers ends: uvicorn would wait for ever (the Slowloris attack)."""

    headers_timeout_s = 15.0
    _deadline: asyncio.TimerHandle | None = None
    _upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The clock starts with the connection."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """It stops with the end of the headers, and starts again with the first byte of the next request."""
        super().data_received(data)
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """From here on the connection is the WebSocket's."""
        self._upgraded = True
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing left to wait for."""
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request
        if self._upgraded or (cycle is not None and not cycle.response_complete):
            self._stop_watching()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.headers_timeout_s, self._give_up)

    def _stop_watching(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        self.transport.close()


def server_config(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 8321, **more: Any) -> uvicorn.Config:
    """Uvicorn's configuration for us. `more` overrides; `forwarded_allow_ips` names the proxies to believe."""
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "log_config": None,  # telemetry.configure_logging owns the loggers
        "access_log": False,  # the edge writes one line with ids instead
        "server_header": False,
        "proxy_headers": False,  # a forged X-Forwarded-For must not become the client's address
        "http": PatientHttp,
        "lifespan": "on",
        "loop": "auto",
        "backlog": 2048,
        "timeout_keep_alive": 15,
        "timeout_graceful_shutdown": 20,
        "h11_max_incomplete_event_size": 32_768,  # of all headers together
        "ws_max_size": MAX_WEBSOCKET_MESSAGE_BYTES,
        "ws_ping_interval": 15.0,
        "ws_ping_timeout": 20.0,
        "ws_per_message_deflate": False,  # CPU for each subscriber, and compression beside secrets (CRIME)
    }
    return uvicorn.Config(app, **(options | more))
