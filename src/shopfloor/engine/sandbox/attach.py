"""The standard streams of a container or exec, over one hijacked connection to the engine.

aiodocker's own stream copies its whole buffer for each message; here the back-pressure is that of the socket.
Source: Docker Engine API, "Attach to a container", "Hijacking" and "Stream format".
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from typing import Any, Final
from urllib.parse import urlsplit

from shopfloor.engine.sandbox.port import SandboxUnavailable

STDOUT: Final = 1
STDERR: Final = 2
_MEASURES: Final = struct.Struct(">BxxxI")
_API: Final = "/v1.41"
_FRAME_MAX: Final = 1 << 24  # far above what the engine copies at once (32 KiB)


class Streams:
    """Both directions. `read` gives (stream number, bytes), or None at the end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> tuple[int, bytes] | None:
        """The next piece of output."""
        try:
            stream, size = _MEASURES.unpack(await self._reader.readexactly(_MEASURES.size))
            if size > _FRAME_MAX:
                return None
            return stream, await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def write(self, data: bytes) -> None:
        """Queue bytes for stdin; `drain` waits for room."""
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait until what was written is mostly on its way."""
        await self._writer.drain()

    def end_input(self) -> None:
        """Close stdin."""
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    def close(self) -> None:
        """Drop the connection at once."""
        self._writer.close()


async def attach_container(url: str, container: str, *, timeout_s: float) -> Streams:
    """The streams of a container; to be called before its start, else its first words are lost."""
    return await _hijack(url, f"/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1", None, timeout_s)


async def attach_exec(url: str, exec_id: str, *, timeout_s: float) -> Streams:
    """Start an exec and take its streams."""
    return await _hijack(url, f"/exec/{exec_id}/start", {"Detach": False, "Tty": False}, timeout_s)


async def _hijack(url: str, path: str, body: dict[str, Any] | None, timeout_s: float) -> Streams:
    content = json.dumps(body).encode() if body is not None else b""
    head = (
        f"POST {_API}{path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await _connect(url)
            writer.write(head.encode() + content)
            answer = await reader.readuntil(b"\r\n\r\n")
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError) as error:
        if writer is not None:
            writer.close()
        raise SandboxUnavailable(f"the Docker engine at {url} gave no stream", engine=url, cause=str(error)) from error
    status = answer.split(b" ", 2)[1]
    if status not in {b"101", b"200"}:
        writer.close()
        raise SandboxUnavailable(f"the Docker engine refused a stream ({status.decode()})", status=int(status))
    return Streams(reader, writer)


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return await asyncio.open_unix_connection(parts.path, limit=1 << 20)
    if parts.scheme in {"tcp", "http"} and parts.hostname:
        return await asyncio.open_connection(parts.hostname, parts.port or 2375, limit=1 << 20)
    raise SandboxUnavailable(f"{url} is no address of an engine: use unix:///path or tcp://host:port", engine=url)
