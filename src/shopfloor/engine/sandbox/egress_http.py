"""Plain HTTP through the proxy: one request for one connection, parsed and written anew: nothing hides behind it."""

from __future__ import annotations

import asyncio
from typing import Final

import h11

from shopfloor.engine.sandbox.egress_relay import CHUNK, Line, Meter, pump
from shopfloor.engine.sandbox.egress_rules import HTTP_PORT, RequestRefused, Target

# Of one hop, or of the proxy alone. Source: RFC 9110 section 7.6.1, RFC 9112 appendix C.2.2.
_HOP: Final = {
    b"connection", b"expect", b"host", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
    b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"via",
}  # fmt: skip


async def read_head(client: Line, limits_bytes: int) -> tuple[h11.Connection, h11.Request]:
    """The request line and headers; bytes after them wait in the connection. Raises: RequestRefused, EOFError."""
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=limits_bytes)
    begun = False
    while True:
        event = _next(parser)
        if isinstance(event, h11.Request):
            return parser, event
        if event is not h11.NEED_DATA:
            raise EOFError
        data = await client.reader.read(4096)
        if not data and not begun:
            raise EOFError
        begun = True
        parser.receive_data(data)


async def exchange(
    client: Line,
    parser: h11.Connection,
    request: h11.Request,
    upstream: Line,
    to: tuple[Target, bytes],
    meter: Meter,
) -> None:
    """Pass one request on and its response back; then both connections are at their end. Raises: TimeoutError."""
    writer = h11.Connection(h11.CLIENT)
    head = writer.send(_rewritten(request, *to))
    async with meter.watch():
        if parser.they_are_waiting_for_100_continue:
            await client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        meter.sent(len(head or b""))
        await upstream.send(head or b"")
        upload = asyncio.create_task(_upload(client, parser, upstream, writer, meter))
        try:
            await pump(upstream, client, meter, meter.received)
        finally:
            upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)


async def _upload(client: Line, parser: h11.Connection, upstream: Line, writer: h11.Connection, meter: Meter) -> None:
    """The body as its framing says, in framing of our own. What follows it is never read."""
    try:
        while True:
            event = _next(parser)
            if event is h11.NEED_DATA:
                parser.receive_data(await client.reader.read(CHUNK))
            elif isinstance(event, h11.Data):
                if not meter.sent(len(event.data)):
                    upstream.abort()
                    return
                await upstream.send(writer.send(h11.Data(bytes(event.data))) or b"")
            else:
                if isinstance(event, h11.EndOfMessage):  # its trailers are left behind
                    await upstream.send(writer.send(h11.EndOfMessage()) or b"")
                return
    except (RequestRefused, OSError):  # the sandbox broke its own body, or the other side went: no answer to wait for
        upstream.abort()


def _rewritten(request: h11.Request, target: Target, path: bytes) -> h11.Request:
    """For the other side: its own name, no header of this hop, the end of the connection announced."""
    lists = b",".join(value for key, value in request.headers if key == b"connection")
    named = {name.strip().lower() for name in lists.split(b",")} - {b"content-length"}  # of the body, not of a hop
    kept = [(key, value) for key, value in request.headers if key not in _HOP | named]
    if any(key == b"transfer-encoding" for key, _ in request.headers):
        kept = [(key, value) for key, value in kept if key != b"content-length"] + [(b"Transfer-Encoding", b"chunked")]
    host = str(target).removesuffix(f":{HTTP_PORT}").encode()
    own = [(b"Host", host), (b"Via", b"1.1 shopfloor"), (b"Connection", b"close")]
    return h11.Request(method=request.method, target=path, headers=[*own, *kept])


def _next(parser: h11.Connection) -> object:
    try:
        return parser.next_event()
    except h11.RemoteProtocolError as error:
        if error.error_status_hint == 431:  # noqa: PLR2004 - Request Header Fields Too Large
            raise RequestRefused(431, "head-too-large", "The request's head is too large.") from error
        raise RequestRefused(400, "malformed", "The request is no HTTP/1.1.") from error
