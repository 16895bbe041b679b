"""WebSocket handshakes and frames that nobody honest sends: the connection ends, the server goes on."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from infra.web.conftest import served
from security.api.tenants import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port(shop: Shop) -> AsyncIterator[int]:
    async with served(shop.app) as (url, _):
        yield int(url.rpartition(":")[2])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def path(shop: Shop) -> str:
    return await shop.acme.path_of("/api/v1/jobs/{job_id}/stream")


def handshake(shop: Shop, path: str, *more: str, key: str | None = "") -> bytes:
    lines = [
        f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: ZmFrZWZha2VmYWtlZmFrZQ==", "Sec-WebSocket-Version: 13",
    ]  # fmt: skip
    if key is not None:
        lines.append(f"Authorization: Bearer {key or shop.acme.key}")
    return "\r\n".join([*lines, *more, "", ""]).encode()


def frame(opcode: int, payload: bytes, *, end: bool = True, masked: bool = True, bits: int = 0) -> bytes:
    """One frame. Source: RFC 6455, section 5.2."""
    head = bytes([(0x80 if end else 0) | bits | opcode])
    size = len(payload)
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([mask_bit | size])
    elif size < 65_536:
        head += bytes([mask_bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([mask_bit | 127]) + struct.pack("!Q", size)
    mask = os.urandom(4) if masked else b""
    return head + mask + (bytes(each ^ mask[place % 4] for place, each in enumerate(payload)) if masked else payload)


async def answered(port: int, *sent: bytes) -> bytes:
    """What the server says until it ends the conversation; fails if it doesn't within five seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    try:
        async with asyncio.timeout(5):
            writer.write(sent[0])
            while b"\r\n\r\n" not in said and (piece := await reader.read(65_536)):
                said += piece
            writer.writelines(sent[1:])
            await writer.drain()
            while not _ended(said) and (piece := await reader.read(65_536)):
                said += piece
    except ConnectionError:
        pass  # it closed with our bytes unread
    finally:
        writer.close()
    return said


def _ended(said: bytes) -> bool:
    """Whether a Close frame was said, or a refusal of the handshake."""
    head, rest = said.partition(b"\r\n\r\n")[::2]
    if head and not head.startswith(b"HTTP/1.1 101"):
        return said.count(b"\r\n\r\n") > 0
    while len(rest) >= 2:
        if rest[0] & 0x0F == CLOSE:
            return True
        size, at = rest[1] & 0x7F, 2
        if size >= 126:
            at = 4 if size == 126 else 10
            size = int.from_bytes(rest[2:at])
        rest = rest[at + size :]
    return False


TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FRAMES: dict[str, list[bytes]] = {
    "binary": [frame(BINARY, b'{"after": 0}')],
    "not masked": [frame(TEXT, b'{"after": 0}', masked=False)],
    "over the limit": [frame(TEXT, b"x" * 20_000)],
    "a size of 63 bits": [bytes([0x81, 0xFF]) + struct.pack("!Q", 2**62) + b"\x00" * 4],
    "a size with its sign bit": [bytes([0x81, 0xFF]) + struct.pack("!Q", 2**63) + b"\x00" * 4],
    "a flood of fragments": [frame(TEXT, b"x", end=False), *[frame(0, b"x" * 100, end=False)] * 400],
    "a fragment of nothing": [frame(0, b"x")],
    "a text inside a text": [frame(TEXT, b"x", end=False), frame(TEXT, b"y")],
    "an unknown opcode": [frame(3, b"x")],
    "an unknown control": [frame(11, b"x")],
    "a reserved bit": [frame(TEXT, b"x", bits=0x40)],
    "a fragmented ping": [frame(PING, b"x", end=False)],
    "a ping too long": [frame(PING, b"x" * 126)],
    "a close of one byte": [frame(CLOSE, b"x")],
    "a close with a code that is none": [frame(CLOSE, struct.pack("!H", 999))],
    "bad UTF-8": [frame(TEXT, b"\xff\xfe")],
    "overlong UTF-8": [frame(TEXT, b"\xc0\xaf")],
    "no JSON": [frame(TEXT, b"hello")],
    "a depth bomb": [frame(TEXT, b"[" * 10_000)],
    "a number too large": [frame(TEXT, b'{"after": 9223372036854775808}')],
    "not a number": [frame(TEXT, b'{"after": NaN}')],
    "more than was asked for": [frame(TEXT, b'{"after": 0, "job_id": "x"}')],
    "beyond the last event": [frame(TEXT, b'{"after": 1000000}')],
    "an HTTP request": [b"GET /api/v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"],
}


@pytest.mark.parametrize("what", FRAMES)
async def test_a_frame_that_does_not_fit_ends_its_connection(shop: Shop, port: int, path: str, what: str):
    said = await answered(port, handshake(shop, path), *FRAMES[what])
    assert shop.acme.mark.encode() not in said, "an event was sent all the same"
    assert b"HTTP/1.1 200" not in said
    async with httpx2.AsyncClient() as client:  # the server goes on
        assert (await client.get(f"http://127.0.0.1:{port}/livez")).status_code == 200


async def test_a_frame_that_fits_gets_the_events(shop: Shop, port: int, path: str):
    """The positive control: the same bytes with an honest message, and with its fragments."""
    for frames in ([frame(TEXT, b'{"after": 0}')], [frame(TEXT, b'{"aft', end=False), frame(0, b'er": 0}')]):
        assert shop.acme.mark.encode() in await answered(port, handshake(shop, path), *frames)


HANDSHAKES: dict[str, list[str]] = {
    "another origin": ["Origin: https://evil.example"],
    "an origin of null": ["Origin: null"],
    "our host below theirs": ["Origin: https://127.0.0.1.evil.example"],
    "our host as a user name": ["Origin: https://127.0.0.1@evil.example"],
    "another port": ["Origin: http://127.0.0.1:1"],
    "two origins": ["Origin: https://evil.example", "Origin: http://127.0.0.1"],
}


@pytest.mark.parametrize("what", HANDSHAKES)
async def test_a_handshake_from_elsewhere_is_refused(shop: Shop, port: int, path: str, what: str):
    said = await answered(port, handshake(shop, f"{path}?after=0", *HANDSHAKES[what]))
    assert not said.startswith(b"HTTP/1.1 101"), said[:100]
    assert shop.acme.mark.encode() not in said


async def test_a_handshake_without_a_key_is_refused(shop: Shop, port: int, path: str):
    for key in (None, "sf_live_wrong", shop.acme.key[:-1] + ("y" if shop.acme.key.endswith("x") else "x")):
        said = await answered(port, handshake(shop, f"{path}?after=0", key=key))
        assert not said.startswith(b"HTTP/1.1 101"), said[:100]


async def test_a_handshake_of_our_own_is_taken(shop: Shop, port: int, path: str):
    """The positive control."""
    for more in ([], ["Origin: http://127.0.0.1"]):
        said = await answered(port, handshake(shop, f"{path}?after=0", *more))
        assert said.startswith(b"HTTP/1.1 101")
        assert shop.acme.mark.encode() in said
