"""One HTTP exchange, down to the socket: what a fault needs and ASGI alone doesn't give."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from shopfloor.testing.mock_provider import anthropic_wire, openai_wire
from shopfloor.testing.mock_provider.conversation import Dialect, Json, RequestRefused

Headers = list[tuple[bytes, bytes]]
LINGER_NOT = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST. Source: socket(7), tcp(7)


class ClientLeft(Exception):
    """The client closed the connection before its reply was complete."""


class Exchange:
    """Reads the request once, sends the reply once, and knows when the client is gone."""

    def __init__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("ascii", "replace")
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.request_id = ""
        self.said_besides: dict[str, str] = {}  # further headers of the answer
        self.status: int | None = None  # sent
        self.refused_with: int | None = None  # the status of a refusal that is not 400
        self._receive, self._send = receive, send
        self._transport: asyncio.Transport | None = scope.get("state", {}).get("transport")
        self._gone: asyncio.Task[None] | None = None

    async def body(self, limit_bytes: int) -> bytes:
        """The whole body. Raises: RequestRefused (413) over the limit; ClientLeft."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise RequestRefused("the client left before its request was complete")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit_bytes:
                self.refused_with = 413
                raise RequestRefused(f"Request exceeds the maximum size of {limit_bytes} bytes.")
            if not message.get("more_body"):
                return b"".join(parts)

    async def wait(self, delay_ms: int) -> None:
        """Let time pass. Raises: ClientLeft as soon as the client is gone."""
        if delay_ms <= 0:
            return
        if self._gone is None:
            self._gone = asyncio.create_task(self._until_gone())
        done, _ = await asyncio.wait({self._gone}, timeout=delay_ms / 1_000)
        if done:
            raise ClientLeft

    async def send_json(self, status: int, data: Json, headers: Headers | None = None) -> None:
        """A JSON reply, complete."""
        await self.send_bytes(status, orjson.dumps(data), headers)

    async def send_bytes(self, status: int, data: bytes, headers: Headers | None = None) -> None:
        """A reply that claims to be JSON, complete."""
        length = (b"content-length", str(len(data)).encode())
        await self.start(status, b"application/json", [length, *(headers or [])])
        await self._send({"type": "http.response.body", "body": data})

    async def send_error(
        self, dialect: Dialect, status: int, text: str, *, kind: str | None = None, headers: Headers | None = None
    ) -> None:
        """An error in the provider's own shape."""
        if dialect == "anthropic":
            body = anthropic_wire.error(status, text, kind=kind, request_id=self.request_id)
        else:
            body = openai_wire.error(status, text, kind=kind)
        await self.send_json(status, body, headers)

    async def start(self, status: int, content_type: bytes, headers: Headers) -> None:
        """Status line and headers."""
        self.status = status
        known = self.request_id.encode()
        own = [(b"content-type", content_type), (b"request-id", known), (b"x-request-id", known)]
        own += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.said_besides.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": [*own, *headers]})

    async def frame(self, data: bytes, *, more: bool = True) -> None:
        """One part of a streamed reply. Raises: ClientLeft."""
        if self._transport is not None and self._transport.is_closing():
            raise ClientLeft
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    def hang_up(self, *, reset: bool = False) -> None:
        """Close the socket under the reply; with `reset` the peer gets RST instead of FIN."""
        if self._transport is None:
            raise RuntimeError("this fault needs the server of shopfloor.testing.mock_provider, not another one")
        if reset and (raw := self._transport.get_extra_info("socket")) is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        self._transport.abort()

    async def close(self) -> None:
        """Stop watching the client."""
        if self._gone is not None:
            self._gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._gone

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
