"""The gate all requests pass: headers, and a body's size, time, format, and JSON that means one thing. Pure ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shopfloor.base.errors import ShopfloorError, TooLarge
from shopfloor.infra.web.errors import BodyTimeout, HeadersTooLarge, MalformedRequest, UnsupportedMediaType
from shopfloor.infra.web.json_body import MAX_DEPTH, read_json
from shopfloor.infra.web.problems import problem_response


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How much, how deep and how slow a body may be. Prefixes are those of the path, the longest one counts."""

    max_bytes: int = 1_048_576
    max_bytes_by_prefix: Mapping[str, int] = field(default_factory=dict[str, int])
    streamed_prefixes: tuple[str, ...] = ()  # not JSON: counted and timed while the route reads it
    max_depth: int = MAX_DEPTH
    timeout_s: float = 20.0  # for a whole JSON body; for each chunk of a streamed one
    max_headers: int = 100
    max_headers_bytes: int = 32_768  # h11 counts only those that come in several pieces

    def bytes_for(self, path: str) -> int:
        """The size limit of `path`, in bytes."""
        known = [prefix for prefix in self.max_bytes_by_prefix if path.startswith(prefix)]
        return self.max_bytes_by_prefix[max(known, key=len)] if known else self.max_bytes


class BodyGate:
    """Refuses bodies outside the limits with 400, 408, 413, 415 or 422 and closes the connection they came on."""

    def __init__(self, app: ASGIApp, limits: BodyLimits | None = None) -> None:
        self.app = app
        self.limits = limits or BodyLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let it pass, checked and replayed, or answer in its place."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        path = scope["path"]
        limit_bytes = self.limits.bytes_for(path)
        checked: Receive | None = receive
        try:
            self._check_headers(headers.raw)
            _check_lengths(headers, limit_bytes)
            if not _has_body(headers):
                pass
            elif path.startswith(self.limits.streamed_prefixes):
                checked = _counted(receive, limit_bytes, self.limits.timeout_s)
            else:
                checked = await self._checked(headers, receive, limit_bytes)
        except ShopfloorError as error:
            request_id = scope.get("shopfloor.request_id", "")
            # The rest of the body is unread: what follows it on this connection can't be trusted.
            response = problem_response(error, request_id=request_id, headers={"Connection": "close"})
            await response(scope, receive, send)
            return
        if checked is not None:
            await self.app(scope, checked, send)

    def _check_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        size_bytes = sum(len(name) + len(value) for name, value in headers)
        if len(headers) > self.limits.max_headers or size_bytes > self.limits.max_headers_bytes:
            raise HeadersTooLarge(
                f"the request has more than {self.limits.max_headers} headers or {self.limits.max_headers_bytes} bytes "
                "of them. Send those that count.",
                max_headers=self.limits.max_headers, limit_bytes=self.limits.max_headers_bytes,
            )  # fmt: skip

    async def _checked(self, headers: Headers, receive: Receive, limit_bytes: int) -> Receive | None:
        body = await _read(receive, limit_bytes, self.limits.timeout_s)
        if body:
            _check_format(headers)
            read_json(body, max_depth=self.limits.max_depth)
        return None if body is None else _replayed(body, receive)


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _check_lengths(headers: Headers, limit_bytes: int) -> None:
    lengths = headers.getlist("content-length")
    if len(set(lengths)) > 1 or (lengths and "transfer-encoding" in headers):
        raise MalformedRequest("the request states its length twice. Send Content-Length or chunks, not both.")
    if not lengths:
        return
    if not (lengths[0].isascii() and lengths[0].isdigit()):
        raise MalformedRequest("Content-Length is not a number.")
    if len(lengths[0]) > 19 or int(lengths[0]) > limit_bytes:  # noqa: PLR2004 (digits of a 64-bit number)
        raise _too_large(limit_bytes)


def _check_format(headers: Headers) -> None:
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("bodies are read uncompressed: leave Content-Encoding out.")
    media_type, _, parameters = headers.get("content-type", "").partition(";")
    subtype = media_type.strip().lower()
    if subtype != "application/json" and not (subtype.startswith("application/") and subtype.endswith("+json")):
        raise UnsupportedMediaType("send the body as JSON, with Content-Type: application/json.")
    charset = parameters.lower().replace('"', "").replace(" ", "")
    if "charset=" in charset and "charset=utf-8" not in charset:
        raise UnsupportedMediaType("JSON is always UTF-8: leave the charset out.")


async def _read(receive: Receive, limit_bytes: int, timeout_s: float) -> bytes | None:
    """The whole body, counted as it comes: Content-Length is only what the client says. None: it hung up."""
    chunks: list[bytes] = []
    size_bytes = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                chunk = message.get("body", b"")
                size_bytes += len(chunk)
                if size_bytes > limit_bytes:
                    raise _too_large(limit_bytes)
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
    except TimeoutError:
        raise _too_slow(timeout_s) from None


def _counted(receive: Receive, limit_bytes: int, timeout_s: float) -> Receive:
    size_bytes = 0

    async def counted() -> Message:
        nonlocal size_bytes
        try:
            async with asyncio.timeout(timeout_s):
                message = await receive()
        except TimeoutError:
            raise _too_slow(timeout_s) from None
        size_bytes += len(message.get("body", b""))
        if size_bytes > limit_bytes:
            raise _too_large(limit_bytes)
        return message

    return counted


def _replayed(body: bytes, receive: Receive) -> Receive:
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge(f"the body is over {limit_bytes} bytes, which is the limit here.", limit_bytes=limit_bytes)


def _too_slow(timeout_s: float) -> BodyTimeout:
    return BodyTimeout(f"the body did not arrive within {timeout_s:g} s. Send it again.", timeout_s=timeout_s)
