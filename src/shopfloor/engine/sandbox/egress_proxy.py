"""The proxy of one sandbox. Whatever comes out of its socket is the attacker's: only what is checked here counts."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import h11

from shopfloor.engine.sandbox.egress_hello import (
    UNRECOGNIZED_NAME,
    NotAClientHello,
    missing_bytes,
    parse_client_hello,
)
from shopfloor.engine.sandbox.egress_http import exchange, read_head
from shopfloor.engine.sandbox.egress_ledger import Ledger
from shopfloor.engine.sandbox.egress_limits import EgressLimits
from shopfloor.engine.sandbox.egress_relay import Line, Meter, relay
from shopfloor.engine.sandbox.egress_rules import AllowList, RequestRefused, Target, absolute_target, connect_target
from shopfloor.infra.outbound import (
    HostUnknown,
    HostUnresolved,
    OutboundRules,
    Resolver,
    UrlRefused,
    checked_addresses,
)

_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
_PHRASES: Final = {
    400: "Bad Request", 403: "Forbidden", 408: "Request Timeout", 431: "Request Header Fields Too Large",
    502: "Bad Gateway", 504: "Gateway Timeout",
}  # fmt: skip
_RETRY_S: Final = 0.5  # after an accept that failed: the worker is out of descriptors


@dataclass(frozen=True, slots=True)
class Way:
    """What one sandbox's proxy goes by."""

    allow: AllowList
    rules: OutboundRules
    limits: EgressLimits
    resolver: Resolver
    ledger: Ledger


class EgressProxy:
    """Serves one listening socket, which it owns, until it is closed. `shared` bounds all proxies of the process."""

    def __init__(self, listener: socket.socket, way: Way, shared: asyncio.Semaphore) -> None:
        self._listener = listener
        self._way = way
        self._shared = shared
        self._own = asyncio.Semaphore(way.limits.connections)
        self._serving: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept())

    @property
    def open_connections(self) -> int:
        """Being served now."""
        return len(self._serving)

    async def aclose(self) -> None:
        """Cut every connection and take no more."""
        self._accepting.cancel()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(self._accepting, *self._serving, return_exceptions=True)
        self._listener.close()
        self._way.ledger.close()

    async def _accept(self) -> None:
        """At a limit nothing is accepted: the rest waits in the kernel, which costs the worker nothing."""
        loop = asyncio.get_running_loop()
        while True:
            await self._own.acquire()
            try:
                sock, _ = await loop.sock_accept(self._listener)
            except OSError:
                self._own.release()
                await asyncio.sleep(_RETRY_S)
                continue
            task = asyncio.create_task(self._serve(sock))
            self._serving.add(task)
            task.add_done_callback(self._served)
            await asyncio.sleep(self._way.limits.accept_pause_s)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        self._own.release()

    async def _serve(self, sock: socket.socket) -> None:
        with sock:
            async with self._shared:
                client = await Line.accepted(sock)
                try:
                    await _answer(client, self._way)
                finally:
                    await client.aclose()


async def _answer(client: Line, way: Way) -> None:
    """One connection from the sandbox, from its first byte to its last."""
    asked = ""
    try:
        parser, request = await _head(client, way.limits)
        asked = request.target.decode("latin-1")
        if request.method == b"CONNECT":
            await _tunnel(client, parser, request, way)
        else:
            await _pass_on(client, parser, request, way)
    except RequestRefused as error:
        way.ledger.refuse(asked, error.reason)
        await _say(client, error)
    except (OSError, EOFError, TimeoutError):  # one side left, or rested too long
        return


async def _head(client: Line, limits: EgressLimits) -> tuple[h11.Connection, h11.Request]:
    try:
        async with asyncio.timeout(limits.head_s):
            return await read_head(client, limits.head_bytes)
    except TimeoutError as error:
        raise RequestRefused(408, "too-slow", f"No whole request came within {limits.head_s:g} s.") from error


async def _tunnel(client: Line, parser: h11.Connection, request: h11.Request, way: Way) -> None:
    """CONNECT: bytes pass only after a ClientHello for the very host that was asked for."""
    target = connect_target(request.target)
    if any(key in {b"content-length", b"transfer-encoding"} for key, _ in request.headers):
        raise RequestRefused(400, "malformed", "CONNECT has no body.")
    way.allow.check(target)
    parser.next_event()  # the end of the request: what follows it is for the tunnel
    upstream = await _dial(target, way)
    try:
        await client.send(_ESTABLISHED)
        try:
            start = await _checked_hello(client, parser.trailing_data[0], target, way.limits)
        except RequestRefused as error:  # it speaks TLS by now, if anything
            way.ledger.refuse(str(target), error.reason)
            await client.send(UNRECOGNIZED_NAME)
            return
        way.ledger.allow(str(target))
        meter = Meter(way.ledger, str(target), way.limits)
        if meter.sent(len(start)):
            await upstream.send(start)
            await relay(client, upstream, meter)
    finally:
        await upstream.aclose()


async def _pass_on(client: Line, parser: h11.Connection, request: h11.Request, way: Way) -> None:
    """A plain HTTP request with a whole address in its first line; the Host header it came with does not count."""
    target, path = absolute_target(request.target)
    keys = [key for key, _ in request.headers]
    if b"transfer-encoding" in keys and b"content-length" in keys:
        raise RequestRefused(400, "malformed", "A body has one length: not both Content-Length and Transfer-Encoding.")
    if request.method == b"TRACE":
        raise RequestRefused(400, "malformed", "TRACE is not passed on.")
    way.allow.check(target)
    upstream = await _dial(target, way)
    try:
        way.ledger.allow(str(target))
        await exchange(client, parser, request, upstream, (target, path), Meter(way.ledger, str(target), way.limits))
    finally:
        await upstream.aclose()


async def _dial(target: Target, way: Way) -> Line:
    """Look up once, check every address, connect to a checked one. Raises: RequestRefused.

    The addresses are for the host's log only: the sandbox does not learn what the inner name service says.
    """
    try:
        async with asyncio.timeout(way.limits.connect_s):
            addresses = await checked_addresses(target.host, target.port, way.rules, resolver=way.resolver)
            return await _first_to_answer(addresses, target.port)
    except UrlRefused as error:
        raise RequestRefused(
            403, "address-refused", f"{target.host} leads to an address that sandboxes may not reach (private, loopback"
            " or reserved). Whoever runs Shopfloor can allow private ones: SHOPFLOOR_SANDBOX__EGRESS_ALLOW_PRIVATE.",
        ) from error  # fmt: skip
    except HostUnknown as error:
        raise RequestRefused(502, "unknown-host", f"{target.host} has no address. Check its spelling.") from error
    except (TimeoutError, HostUnresolved) as error:
        raise RequestRefused(504, "unreachable", f"{target} did not answer in {way.limits.connect_s:g} s.") from error
    except OSError as error:
        raise RequestRefused(
            502, "unreachable", f"{target} can't be reached: {error.strerror or 'refused'}."
        ) from error


async def _first_to_answer(addresses: tuple[str, ...], port: int) -> Line:
    for address in addresses[:-1]:
        with suppress(OSError):
            return await Line.dialled(address, port)
    return await Line.dialled(addresses[-1], port)


async def _checked_hello(client: Line, start: bytes, target: Target, limits: EgressLimits) -> bytes:
    """The first bytes of the tunnel, once they are a ClientHello for `target`. Raises: RequestRefused, EOFError."""
    try:
        async with asyncio.timeout(limits.head_s):
            while missing := missing_bytes(start):
                more = await client.reader.read(missing)
                if not more:
                    raise EOFError
                start += more
        _check_name(start, target)
    except NotAClientHello as error:
        raise RequestRefused(400, "not-tls", f"Only TLS goes through a tunnel: {error}.") from error
    except TimeoutError as error:
        raise RequestRefused(408, "too-slow", f"No TLS began within {limits.head_s:g} s.") from error
    return start


def _check_name(start: bytes, target: Target) -> None:
    record = start[: 5 + int.from_bytes(start[3:5], "big")]
    hello = parse_client_hello(record)
    expected = None if target.is_address else target.host
    if hello.encrypted:
        raise RequestRefused(403, "encrypted-hello", "An encrypted ClientHello hides where it leads.")
    if hello.server_name == expected:
        return
    if hello.server_name is None:
        raise RequestRefused(403, "no-server-name", "The ClientHello names no server.")
    raise RequestRefused(403, "server-name-differs", "The ClientHello names another server than CONNECT did.")


async def _say(client: Line, error: RequestRefused) -> None:
    body = f"{error.detail}\n".encode()
    phrase = _PHRASES.get(error.status, "Refused")
    head = (
        f"HTTP/1.1 {error.status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nX-Shopfloor-Egress: {error.reason}\r\nConnection: close\r\n\r\n"
    )
    with suppress(OSError):
        await client.send(head.encode() + body)
