"""A small TCP and unix-socket proxy that can be told to misbehave: cut, hang, slow down, refuse, and come back."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Literal

Mode = Literal["pass", "hang", "slow", "refuse"]

_CHUNK = 65_536
_SLOW_S = 0.05  # for each chunk
_RESET = struct.pack("ii", 1, 0)  # close sends RST. Source: socket(7), SO_LINGER


class Proxy:
    """Between clients and one upstream: `host:port`, or the path of a unix socket. Connections may be many."""

    def __init__(self, upstream: tuple[str, int] | str) -> None:
        self._upstream = upstream
        self._mode: Mode = "pass"
        self._free = asyncio.Event()
        self._free.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, path: str | None = None) -> int:
        """On a unix socket, or on a free port of loopback: the port (0 for a socket)."""
        if path is not None:
            self._server = await asyncio.start_unix_server(self._serve, path)
            return 0
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    def become(self, mode: Mode) -> None:
        """From now on: `hang` swallows nothing and delivers nothing (a black hole), until it passes again."""
        self._mode = mode
        if mode == "hang":
            self._free.clear()
        else:
            self._free.set()

    def cut(self) -> int:
        """Reset every open connection; how many."""
        writers, self._open = self._open, set()
        for writer in writers:
            _reset(writer)
        return len(writers)

    async def aclose(self) -> None:
        """Stop listening and cut what is open."""
        self._free.set()
        if self._server is not None:
            self._server.close()
        self.cut()
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "refuse":
            _reset(writer)
            return
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        self._open.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            await self._free.wait()
            answers, upstream = await self._dial()
            self._open.add(upstream)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, upstream))
                both.create_task(self._pump(answers, writer))
        except* (OSError, EOFError):
            pass
        finally:
            for each in (writer, upstream):
                if each is not None:
                    self._open.discard(each)
                    _reset(each)
            self._pumps.discard(task)

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._upstream, str):
            return await asyncio.open_unix_connection(self._upstream)
        return await asyncio.open_connection(*self._upstream)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """One direction, to its end; a half-closed connection stays open the other way."""
        while data := await source.read(_CHUNK):
            await self._free.wait()
            if self._mode == "slow":
                await asyncio.sleep(_SLOW_S)
            target.write(data)
            await target.drain()
        with suppress(OSError, RuntimeError):
            target.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, AttributeError):
        sock: Any = writer.get_extra_info("socket")
        sock.setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
    writer.transport.abort()
