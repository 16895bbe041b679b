"""The HTTP clients that provider SDKs are given: our limits, our user agent, nothing from the environment."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

import httpx2

from shopfloor import __version__

if TYPE_CHECKING:
    import httpx

USER_AGENT = f"shopfloor/{__version__}"
CONNECT_TIMEOUT_S = 10.0

Transport = Callable[[], httpx2.AsyncBaseTransport]  # e.g. `lambda: GuardedTransport(rules, limits)` for URLs of users
Hear = Callable[[Mapping[str, str]], None]  # the headers of an answer


def http_client(timeout_s: float, transport: Transport | None) -> httpx2.AsyncClient:
    """One client for one connection to a provider; whoever asked for it closes it. No redirects, no proxies."""
    return httpx2.AsyncClient(
        transport=_carrier(transport),
        timeout=time_limits(timeout_s),
        event_hooks={"request": [_introduce]},
        follow_redirects=False,
        trust_env=False,
    )


async def _introduce(request: httpx2.Request) -> None:
    """SDKs put their own name over a client's; the provider is to see who really asks."""
    request.headers["User-Agent"] = USER_AGENT


def time_limits(timeout_s: float) -> httpx2.Timeout:
    """`timeout_s` between two pieces of an answer; a connection stands sooner or not at all."""
    return httpx2.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))


def legacy_client(timeout_s: float, transport: Transport | None) -> httpx.AsyncClient:
    """The same for an SDK that still wants `httpx`: its requests leave through the same guarded transport."""
    import httpx  # heavy, and only Groq's SDK needs it

    class Bridge(httpx.AsyncBaseTransport):
        def __init__(self, carrier: httpx2.AsyncBaseTransport) -> None:
            self._carrier = carrier

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            request.headers["User-Agent"] = USER_AGENT
            try:
                answer = await self._carrier.handle_async_request(
                    httpx2.Request(
                        request.method,
                        str(request.url),
                        headers=request.headers.raw,
                        content=await request.aread(),
                        extensions=dict(request.extensions),
                    )
                )
            except httpx2.TransportError as error:
                # Same names in both libraries: SDKs tell a time-out from a refused connection by the class.
                raise getattr(httpx, type(error).__name__, httpx.TransportError)(str(error)) from error
            return httpx.Response(answer.status_code, headers=answer.headers.raw, stream=Body(answer))

        async def aclose(self) -> None:
            await self._carrier.aclose()

    class Body(httpx.AsyncByteStream):
        def __init__(self, answer: httpx2.Response) -> None:
            self._answer = answer

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for part in self._answer.aiter_raw():
                    yield part
            except httpx2.TransportError as error:
                raise getattr(httpx, type(error).__name__, httpx.TransportError)(str(error)) from error

        async def aclose(self) -> None:
            await self._answer.aclose()

    return httpx.AsyncClient(
        transport=Bridge(_carrier(transport)),
        timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
        follow_redirects=False,
        trust_env=False,
    )


def overheard(transport: Transport | None, hear: Hear) -> Transport:
    """The same transport, with `hear` told the headers of each answer; SDKs keep those to themselves."""

    class Overheard(httpx2.AsyncBaseTransport):
        def __init__(self) -> None:
            self._carrier = _carrier(transport)

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            answer = await self._carrier.handle_async_request(request)
            hear(answer.headers)
            return answer

        async def aclose(self) -> None:
            await self._carrier.aclose()

    return Overheard


def _carrier(transport: Transport | None) -> httpx2.AsyncBaseTransport:
    return transport() if transport else httpx2.AsyncHTTPTransport(verify=_tls(), trust_env=False)


@cache
def _tls() -> ssl.SSLContext:
    """One for all: reading the certificate store anew costs tens of milliseconds a client."""
    return httpx2.create_ssl_context(trust_env=False)
