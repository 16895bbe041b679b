"""The way from a TCP port to the proxy's socket, run as the process it is, without a sandbox around it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from shopfloor.engine.sandbox.guest.bridge import PAIRS

pytestmark = pytest.mark.asyncio

_SERVE = """
import sys
from shopfloor.engine.sandbox.guest import bridge
listener = bridge.listen(0)
print(listener.getsockname()[1], flush=True)
bridge.Bridge(listener, sys.argv[1]).serve()
"""
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest_asyncio.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVE, str(tmp_path / "proxy"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        line = await process.stdout.readline()
    yield int(line)
    process.terminate()
    async with asyncio.timeout(20):
        await process.wait()


@contextlib.asynccontextmanager
async def proxy(folder: Path, talk: Talk) -> AsyncIterator[None]:
    async with await asyncio.start_unix_server(talk, folder / "proxy"):
        yield


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.write(b"the end")
    writer.close()


async def asked(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(20):
            sending = asyncio.create_task(_send(writer, data))
            answer = await reader.read(-1)
            await sending
            return answer
    finally:
        writer.close()


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()
    writer.write_eof()


@pytest.mark.parametrize("size", [0, 1, 1 << 15, 5_000_000])
async def test_bytes_go_both_ways_and_the_end_of_one_side_is_told_to_the_other(tmp_path: Path, port: int, size: int):
    data = os.urandom(size)
    async with proxy(tmp_path, echo):
        assert await asked(port, data) == data + b"the end"


async def test_without_a_proxy_a_connection_ends_and_the_next_one_with_it_is_served(tmp_path: Path, port: int):
    with contextlib.suppress(ConnectionError):
        assert await asked(port, b"") == b""
    async with proxy(tmp_path, echo):
        assert await asked(port, b"x") == b"xthe end"


async def test_a_proxy_that_hangs_up_ends_its_connection_alone(tmp_path: Path, port: int):
    async def rude(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with proxy(tmp_path, rude):
        with contextlib.suppress(ConnectionError):
            assert await asked(port, b"x" * 1_000_000) == b""
    (tmp_path / "proxy").unlink(missing_ok=True)
    async with proxy(tmp_path, echo):
        assert await asked(port, b"y") == b"ythe end"


async def test_one_connection_too_many_waits_until_another_has_ended(tmp_path: Path, port: int):
    async with proxy(tmp_path, echo):
        open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(PAIRS)]
        for reader, writer in open_ones:
            writer.write(b"here")
            async with asyncio.timeout(20):
                assert await reader.readexactly(4) == b"here"
        late_reader, late = await asyncio.open_connection("127.0.0.1", port)
        late.write(b"late")
        last_reader, last = open_ones[-1]
        last.write(b"more")  # the bridge goes round once more, and takes nobody new
        async with asyncio.timeout(20):
            assert await last_reader.readexactly(4) == b"more"
        assert not late_reader._buffer  # type: ignore[attr-defined]
        last.close()
        async with asyncio.timeout(20):
            assert await late_reader.readexactly(4) == b"late"
        for _, writer in [*open_ones, (late_reader, late)]:
            writer.close()


async def test_the_port_is_on_loopback_only(port: int):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.settimeout(5)
        with pytest.raises(OSError, match=r"."):
            other.connect(("127.0.0.2", port))
