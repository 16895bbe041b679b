"""Live events over HTTP: server-sent events and WebSocket, both from one cursor.

Source: WHATWG HTML, 'Server-sent events'; RFC 6455 for WebSocket close codes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Annotated, Any, cast

import orjson
from pydantic import Field, ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from shopfloor.base.errors import InvalidInput, ShopfloorError
from shopfloor.infra.frames import Batch
from shopfloor.infra.subscription import EndReason, Subscription
from shopfloor.infra.web.edge import origin_allowed
from shopfloor.infra.web.json_body import Body

EVENT_STREAM = "text/event-stream"
MAX_CLIENT_MESSAGE_CHARS = 256
_MAX_SEQ = 2**63 - 1
_MAX_SEQ_DIGITS = 19
_PING = b": ping\n\n"
_RETRY = b"retry: 2000\n\n"  # milliseconds before a browser connects again
_FIRST_MESSAGE_S = 10.0
_FAREWELL_S = 5.0

# 1000 normal, 1008 policy, 1011 our error, 1012 restart, 1013 try again later: IANA WebSocket close code registry.
_CLOSE_CODES: dict[EndReason, tuple[int, str]] = {
    "finished": (1000, "finished"),
    "slow": (1013, "too slow: connect again with the last seq"),
    "stalled": (1013, "too slow: connect again with the last seq"),
    "revoked": (1008, "no longer permitted"),
    "shutdown": (1012, "server stops: connect again with the last seq"),
    "error": (1011, "server error: connect again with the last seq"),
    "closed": (1000, "closed"),
}


def wants_event_stream(request: Request) -> bool:
    """Whether the client asks for server-sent events instead of JSON."""
    return any(
        part.partition(";")[0].strip().lower() == EVENT_STREAM
        for part in request.headers.get("accept", "")[:1024].split(",")
    )


def place_asked_for(headers: Headers, query_after: str | None) -> int:
    """The seq to start after: `Last-Event-ID`, which a browser sends when it comes back, else `?after=`, else 0.

    Raises: InvalidInput.
    """
    for name, sent in (("Last-Event-ID", headers.get("last-event-id")), ("after", query_after)):
        if sent:
            if not (sent.isascii() and sent.isdigit()) or len(sent) > _MAX_SEQ_DIGITS or int(sent) > _MAX_SEQ:
                raise InvalidInput(f"{name} is the number of the last event that you have.", parameter=name)
            return int(sent)
    return 0


class _FirstMessage(Body):
    after: Annotated[int, Field(ge=0, le=_MAX_SEQ)]


class EventStream(Response):
    """Server-sent events from a subscription. `more=False`: nothing will follow; 204 tells a browser so."""

    media_type = EVENT_STREAM

    def __init__(self, subscription: Subscription, *, more: bool = True) -> None:
        super().__init__(None, 200 if more else 204)
        self.subscription = subscription
        self.headers["Cache-Control"] = "no-store"
        self.headers["X-Accel-Buffering"] = "no"  # nginx would hold the frames back
        if more:
            del self.headers["Content-Length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the stream ends, the client leaves, or the server stops."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if self.status_code == 200 and scope["method"] != "HEAD":  # noqa: PLR2004
                # The rings in between only watch the start of an answer: frames go straight to the server.
                straight: Send = scope.get("shopfloor.send", send)
                if not await _until_gone(self.subscription, self._pump(straight), _hung_up(receive)):
                    return
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self.subscription.close()

    async def _pump(self, send: Send) -> None:
        def write(batches: list[Batch]) -> Coroutine[Any, Any, None]:
            return cast("Coroutine[Any, Any, None]", send(_chunk(_sse(batches))))

        await send(_chunk(_RETRY))
        await self.subscription.deliver(write)


async def event_stream(subscription: Subscription) -> EventStream:
    """The answer for a subscription just made. Raises: InvalidInput for a place beyond the last event."""
    try:
        return EventStream(subscription, more=await subscription.start())
    except BaseException:
        subscription.close()
        raise


async def websocket_events(
    websocket: WebSocket,
    subscribe: Callable[[int], Subscription],
    *,
    allowed_origins: tuple[str, ...] = (),
    first_message_s: float = _FIRST_MESSAGE_S,
) -> None:
    """Serve one WebSocket whose caller is authorized already: `{seq, kind, data, at}` for each event.

    The client says where to start by `?after=n` or by its only message, `{"after": n}`, within 10 s.
    Without an event for 15 s it gets `{"kind": "ping", "at": ...}`.
    """
    if not origin_allowed(websocket.headers, allowed_origins):
        await websocket.close(1008)  # before it is accepted: the server answers 403
        return
    await websocket.accept()
    try:
        subscription = subscribe(await _first_place(websocket, first_message_s))
    except ShopfloorError as error:
        await _farewell(websocket, 1013 if error.retryable else 1008, error.detail)
        return
    except (WebSocketDisconnect, TimeoutError):
        await _farewell(websocket, 1008, 'say where to start: {"after": 0}')
        return
    try:
        await _serve(websocket, subscription)
    finally:
        subscription.close()


async def _serve(websocket: WebSocket, subscription: Subscription) -> None:
    try:
        await subscription.start()
    except ShopfloorError as error:
        await _farewell(websocket, 1008, error.detail)
        return
    straight: Send = websocket.scope.get("shopfloor.send", websocket.send)
    pump = _pump_websocket(subscription, straight)
    if await _until_gone(subscription, pump, _websocket_gone(websocket)):
        await _farewell(websocket, *_CLOSE_CODES[subscription.reason or "closed"])


async def _pump_websocket(subscription: Subscription, send: Send) -> None:
    async def write(batches: list[Batch]) -> None:
        for text in _texts(batches):
            await send({"type": "websocket.send", "text": text})

    await subscription.deliver(write)


def _sse(batches: list[Batch]) -> bytes:
    if len(batches) == 1:
        return batches[0].sse
    return b"".join([batch.sse for batch in batches]) or _PING


def _texts(batches: list[Batch]) -> list[str]:
    if not batches:
        return [orjson.dumps({"kind": "ping", "at": datetime.now(UTC)}, option=orjson.OPT_UTC_Z).decode()]
    return [frame.text for batch in batches for frame in batch.frames]


async def _until_gone(
    subscription: Subscription, pumping: Coroutine[Any, Any, None], leaving: Coroutine[Any, Any, None]
) -> bool:
    """Run both until one ends. True if the stream came to an end by itself and the client is still there."""
    pump = asyncio.create_task(pumping)
    gone = asyncio.create_task(leaving)
    subscription.on_stall = pump.cancel
    try:
        await asyncio.wait((pump, gone), return_when=asyncio.FIRST_COMPLETED)
        still_there = not gone.done() and pump.done() and not pump.cancelled()
    finally:
        for task in (pump, gone):
            task.cancel()
        results = await asyncio.gather(pump, gone, return_exceptions=True)
    for result in results:
        # OSError: the connection broke while we wrote; the server says so by ClientDisconnected.
        if isinstance(result, Exception) and not isinstance(result, OSError | WebSocketDisconnect):
            raise result
    return still_there and not isinstance(results[0], BaseException)


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _websocket_gone(websocket: WebSocket) -> None:
    """Until the client leaves, or says more than where to start."""
    if (await websocket.receive())["type"] != "websocket.disconnect":
        await _farewell(websocket, 1008, "this stream is read only")


async def _first_place(websocket: WebSocket, within_s: float) -> int:
    asked = websocket.query_params.get("after")
    if asked is not None:
        return place_asked_for(Headers(), asked or "0")
    async with asyncio.timeout(within_s):
        message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1005)
    text = message.get("text") or ""
    try:
        sent = _FirstMessage.model_validate_json(text[: MAX_CLIENT_MESSAGE_CHARS + 1])
    except ValidationError:
        raise InvalidInput('the first message is {"after": n}: the last seq that you have, or 0.') from None
    return sent.after


async def _farewell(websocket: WebSocket, code: int, reason: str) -> None:
    with contextlib.suppress(OSError, RuntimeError, WebSocketDisconnect):  # it may be gone already
        async with asyncio.timeout(_FAREWELL_S):
            # A control frame holds 125 bytes, two of them the code.
            await websocket.close(code, reason.encode()[:123].decode("utf-8", "ignore"))


def _chunk(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}
