"""A second request hidden in the first one's body, over real sockets to the real server: nobody ever answers it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import structlog

from infra.web.conftest import served
from security.api.tenants import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")

HIDDEN = b"GET /api/v1/projects/smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port(shop: Shop) -> AsyncIterator[int]:
    async with served(shop.app) as (url, _):
        yield int(url.rpartition(":")[2])


async def exchange(port: int, sent: bytes) -> bytes:
    """What comes back until the server closes, or says nothing for a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        writer.write(sent)
        await writer.drain()
        while chunk := await asyncio.wait_for(reader.read(65_536), 1):
            answer += chunk
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return answer


def post(shop: Shop, *headers: str, body: bytes = b"") -> bytes:
    lines = [
        "POST /api/v1/projects HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {shop.acme.key}",
        "Content-Type: application/json", *headers, "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode("latin-1") + body


CHUNKED = b"0\r\n\r\n" + HIDDEN
N = str(len(CHUNKED))
TRIED: dict[str, tuple[list[str], bytes]] = {
    "length and chunks": ([f"Content-Length: {N}", "Transfer-Encoding: chunked"], CHUNKED),
    "chunks and length": (["Transfer-Encoding: chunked", f"Content-Length: {N}"], CHUNKED),
    "two lengths": (["Content-Length: 0", f"Content-Length: {len(HIDDEN)}"], HIDDEN),
    "two lengths in one": ([f"Content-Length: 0, {len(HIDDEN)}"], HIDDEN),
    "a length with a plus": (["Content-Length: +5"], b"0\r\n\r\n" + HIDDEN),
    "a negative length": (["Content-Length: -1"], HIDDEN),
    "a hexadecimal length": (["Content-Length: 0x5"], b"0\r\n\r\n" + HIDDEN),
    "a length with an underscore": (["Content-Length: 1_0"], HIDDEN),
    "a length in other digits": (["Content-Length: \xb2"], HIDDEN),
    "a length with a space in its name": ([f"Content-Length : {N}"], CHUNKED),
    "a space before the colon": (["Transfer-Encoding : chunked", f"Content-Length: {N}"], CHUNKED),
    "a tab before the colon": (["Transfer-Encoding\t: chunked", f"Content-Length: {N}"], CHUNKED),
    "an unknown coding": (["Transfer-Encoding: xchunked", f"Content-Length: {N}"], CHUNKED),
    "two codings": (["Transfer-Encoding: chunked, identity", f"Content-Length: {N}"], CHUNKED),
    "identity": (["Transfer-Encoding: identity", f"Content-Length: {N}"], CHUNKED),
    "two headers of coding": (
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity", f"Content-Length: {N}"], CHUNKED,
    ),
    "coding in quotes": (['Transfer-Encoding: "chunked"', f"Content-Length: {N}"], CHUNKED),
    "a vertical tab": (["Transfer-Encoding: \x0bchunked", f"Content-Length: {N}"], CHUNKED),
    "a NUL": (["Transfer-Encoding: chunked\x00", f"Content-Length: {N}"], CHUNKED),
    "a folded header": (["Transfer-Encoding:", " chunked", f"Content-Length: {N}"], CHUNKED),
    "a folded value": (["X: y", " Transfer-Encoding: chunked", f"Content-Length: {N}", "Expect: x"], CHUNKED),
    "a name with a bare CR": ([f"X: y\rTransfer-Encoding: chunked\r\nContent-Length: {N}"], CHUNKED),
    "a bare LF": ([f"X: y\nTransfer-Encoding: chunked\r\nContent-Length: {N}"], CHUNKED),
    "an underscore for a hyphen": (["Transfer_Encoding: chunked", f"Content-Length: {N}"], CHUNKED),
    "a chunk size with a sign": (["Transfer-Encoding: chunked"], b"-1\r\n\r\n" + HIDDEN),
    "a chunk size with 0x": (["Transfer-Encoding: chunked"], b"0x0\r\n\r\n" + HIDDEN),
    "a chunk size too long": (["Transfer-Encoding: chunked"], b"F" * 40 + b"\r\n" + HIDDEN),
    "a chunk ended by LF": (["Transfer-Encoding: chunked"], b"2\n{}\n0\n\n" + HIDDEN),
    "a chunk extension with LF": (["Transfer-Encoding: chunked"], b"2;x\ny\r\n{}\r\n0\r\n\r\n" + HIDDEN),
    "a trailer with a length": (["Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\nContent-Length: 9\r\nX\r\n" + HIDDEN),
    "an upgrade to HTTP/2": (["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", f"Content-Length: {N}"], CHUNKED),
    "a space in the request line": (["Content-Length: 0 5"], b"0\r\n\r\n" + HIDDEN),
}  # fmt: skip


@pytest.mark.parametrize("what", TRIED)
async def test_a_hidden_request_is_never_answered(shop: Shop, port: int, what: str):
    headers, body = TRIED[what]
    with structlog.testing.capture_logs() as logs:
        answer = await exchange(port, post(shop, *headers, body=body))
    assert answer.count(b"HTTP/1.1 ") <= 1, answer
    assert not answer.startswith(b"HTTP/1.1 2"), answer
    assert "smuggled" not in str(logs)


async def test_two_honest_requests_on_one_connection_are_both_answered(shop: Shop, port: int):
    """The positive control: a hidden request would be seen, in the answer and in the log."""
    body = b'{"slug": "honest", "name": "x"}'
    with structlog.testing.capture_logs() as logs:
        answer = await exchange(port, post(shop, f"Content-Length: {len(body)}", body=body + HIDDEN))
    assert answer.count(b"HTTP/1.1 ") == 2
    assert answer.startswith(b"HTTP/1.1 201")
    assert "smuggled" in str(logs)


async def test_a_chunked_request_is_taken(shop: Shop, port: int):
    body = b'{"slug": "chunky", "name": "x"}'
    sent = b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    assert (await exchange(port, post(shop, "Transfer-Encoding: chunked", body=sent))).startswith(b"HTTP/1.1 201")


LINES: dict[str, bytes] = {
    "no version": b"GET /livez\r\n\r\n",
    "a NUL in the path": b"GET /livez\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a tab in the line": b"GET\t/livez\tHTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
    "another host": b"GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "another host in the target": b"GET http://evil.example/livez HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "CONNECT": b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "TRACE": b"TRACE /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Secret: fake\r\n\r\n",
    "TRACK": b"TRACK /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS to a plain port": bytes.fromhex("16030100c8010000c40303") + b"\x00" * 64 + b"\r\n\r\n",
    "twenty thousand headers": b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "a hundred and one headers": b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 100 + b"\r\n",
    "a header of a megabyte": b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
    "a path of a megabyte": b"GET /" + b"y" * 1_000_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}


@pytest.mark.parametrize("what", LINES)
async def test_an_odd_request_is_refused_before_any_route(port: int, what: str):
    answer = await exchange(port, LINES[what])
    # A connection that is reset while we still write may lose the refusal; what counts is that nothing was served.
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 505")), answer[:200]
    assert b"fake" not in answer


async def test_an_ordinary_request_is_served(port: int):
    line = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    for more in (b"", b"X: y\r\n" * 90, b"X: " + b"y" * 20_000 + b"\r\n"):
        assert b'{"status":"ok"}' in await exchange(port, line + more + b"\r\n")
