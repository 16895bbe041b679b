"""Bytes from one connection to the other, counted and within their time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from shopfloor.engine.sandbox.egress_ledger import Ledger
from shopfloor.engine.sandbox.egress_limits import EgressLimits

CHUNK: Final = 1 << 15  # also what waits in each direction: the memory of a connection
_FLUSH_S: Final = 2.0


class Line:
    """One end: a stream to the sandbox or to the world."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        writer.transport.set_write_buffer_limits(high=CHUNK)

    @classmethod
    async def accepted(cls, sock: socket.socket) -> Line:
        """A socket that was just accepted."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=CHUNK, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock)
        return cls(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    @classmethod
    async def dialled(cls, address: str, port: int) -> Line:
        """A connection to an address; no name is looked up. Raises: OSError."""
        return cls(*await asyncio.open_connection(address, port, limit=CHUNK, flags=socket.AI_NUMERICHOST))

    async def send(self, data: bytes) -> None:
        """Write and wait for room."""
        self.writer.write(data)
        await self.writer.drain()

    def end(self) -> None:
        """No more will be written."""
        if not self.writer.transport.is_closing():
            with suppress(OSError):
                self.writer.write_eof()

    def abort(self) -> None:
        """Drop it with what waits in it."""
        self.writer.transport.abort()

    async def aclose(self) -> None:
        """Write what waits, for a short time, then drop it."""
        self.writer.close()
        try:
            async with asyncio.timeout(_FLUSH_S):
                await self.writer.wait_closed()
        except (OSError, TimeoutError):
            return
        finally:
            self.abort()


class Meter:
    """Counts one connection's bytes and ends it when it rests or lasts too long."""

    def __init__(self, ledger: Ledger, place: str, limits: EgressLimits) -> None:
        self._ledger = ledger
        self._place = place
        self._idle_s = limits.idle_s
        self._half_open_s = limits.half_open_s
        self._latest = asyncio.get_running_loop().time() + limits.connection_s
        self._timeout: asyncio.Timeout | None = None

    @asynccontextmanager
    async def watch(self) -> AsyncGenerator[None]:
        """Raises: TimeoutError when nothing moved for too long."""
        async with asyncio.timeout_at(self._due()) as self._timeout:
            yield

    def sent(self, size: int) -> bool:
        """Bytes left the sandbox; False: no more may."""
        self._moved()
        return self._book(self._ledger.count(self._place, sent=size))

    def received(self, size: int) -> bool:
        """Bytes came for the sandbox; False: no more may."""
        self._moved()
        return self._book(self._ledger.count(self._place, received=size))

    def half_open(self) -> None:
        """One side has ended: the rest gets less patience."""
        self._idle_s = min(self._idle_s, self._half_open_s)
        self._moved()

    def _book(self, within: bool) -> bool:  # noqa: FBT001 - the answer of the ledger, passed on
        if not within:
            self._ledger.refuse(self._place, "allowance-spent")
        return within

    def _moved(self) -> None:
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(self._due())

    def _due(self) -> float:
        return min(asyncio.get_running_loop().time() + self._idle_s, self._latest)


async def relay(client: Line, upstream: Line, meter: Meter) -> None:
    """Both directions until both have ended. Raises: TimeoutError."""
    async with meter.watch(), asyncio.TaskGroup() as both:
        both.create_task(pump(client, upstream, meter, meter.sent))
        both.create_task(pump(upstream, client, meter, meter.received))


async def pump(source: Line, sink: Line, meter: Meter, count: Callable[[int], bool]) -> None:
    """One direction until its end; a broken connection or a spent allowance ends both."""
    try:
        while data := await source.reader.read(CHUNK):
            if not count(len(data)):
                source.abort()
                sink.abort()
                return
            await sink.send(data)
        sink.end()
        meter.half_open()
    except OSError:
        source.abort()
        sink.abort()
