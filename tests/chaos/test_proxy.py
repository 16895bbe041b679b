"""The proxy passes bytes on until it is told to cut, hang or refuse, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chaos.proxy import Proxy


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1_000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def _said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> bytes:
    writer.write(text)
    return await asyncio.wait_for(reader.readexactly(len(text)), 10)


async def test_it_passes_cuts_and_comes_back(echo: int):
    proxy = Proxy(("127.0.0.1", echo))
    port = await proxy.listen()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await _said(reader, writer, b"hello") == b"hello"
    assert proxy.cut() == 2  # both ends
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await _said(reader, writer, b"hello")
    proxy.become("slow")
    again = await asyncio.open_connection("127.0.0.1", port)
    assert await _said(*again, b"hello") == b"hello"
    await proxy.aclose()


async def test_while_it_hangs_nothing_passes_and_nothing_is_lost(echo: int, tmp_path: Path):
    proxy = Proxy(("127.0.0.1", echo))
    await proxy.listen(str(tmp_path / "s"))
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    assert await _said(reader, writer, b"a") == b"a"
    proxy.become("hang")
    writer.write(b"later")
    waiting = asyncio.create_task(reader.readexactly(5))
    late = asyncio.create_task(asyncio.open_unix_connection(str(tmp_path / "s")))
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    proxy.become("pass")
    assert await asyncio.wait_for(waiting, 10) == b"later"
    assert await _said(*await late, b"b") == b"b"
    await proxy.aclose()


async def test_it_refuses_and_takes_again(echo: int):
    proxy = Proxy(("127.0.0.1", echo))
    port = await proxy.listen()
    proxy.become("refuse")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await _said(*await asyncio.open_connection("127.0.0.1", port), b"a")
    proxy.become("pass")
    assert await _said(*await asyncio.open_connection("127.0.0.1", port), b"a") == b"a"
    await proxy.aclose()
