"""uvicorn with our limits, and with a moment before shutdown in which endless answers are ended."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp

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
                await asyncio.wait_for(hook(), _HOOK_TIMEOUT_S)
            except TimeoutError:
                log.warning("server.stop_hook_too_slow", hook=str(hook), timeout_s=_HOOK_TIMEOUT_S)
        await super().shutdown(sockets)


def server_config(app: ASGIApp, *, host: str = "127.0.0.1", port: int = 8321, **more: Any) -> uvicorn.Config:
    """Uvicorn's configuration for us. `more` overrides; `forwarded_allow_ips` names the proxies to believe."""
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "log_config": None,  # telemetry.configure_logging owns the loggers
        "access_log": False,  # the edge writes one line with ids instead
        "server_header": False,
        "proxy_headers": False,  # a forged X-Forwarded-For must not become the client's address
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
