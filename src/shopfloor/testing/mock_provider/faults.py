"""Sends one answer, or what goes wrong with it, and says in the entry how far it came."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from shopfloor.testing.mock_provider import anthropic_wire, openai_wire
from shopfloor.testing.mock_provider.answer import Answer
from shopfloor.testing.mock_provider.bill import Entry
from shopfloor.testing.mock_provider.conversation import Conversation
from shopfloor.testing.mock_provider.exchange import ClientLeft, Exchange, Headers
from shopfloor.testing.mock_provider.frames import sse
from shopfloor.testing.mock_provider.scenario import Fault

CUT_AFTER_CHUNKS = 3  # where a fault that doesn't say so breaks a stream: begun, not finished
STREAM_HEADERS: Headers = [(b"cache-control", b"no-cache")]
MESSAGES = {
    401: "The key is not valid.",
    402: "You exceeded your current quota, please check your plan and billing details.",
    429: "Rate limit reached for requests.",
    529: "Overloaded",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """One request, the answer it should get, and where that is written down."""

    exchange: Exchange
    entry: Entry
    conversation: Conversation
    answer: Answer
    bill: Callable[[], None]  # called when the reply begins


async def play(turn: Turn, fault: Fault | None) -> None:
    """Give the answer with its pace, or play the fault. The entry then says what became of it."""
    try:
        await turn.exchange.wait(turn.answer.latency_ms)
        if fault is None:
            await _answer(turn)
        else:
            await _fault(turn, fault)
    except ClientLeft:
        turn.entry.client_left = True
        turn.entry.cut = turn.entry.billed
    finally:
        await turn.exchange.close()


async def _answer(turn: Turn) -> None:
    turn.bill()
    if not turn.conversation.stream:
        await turn.exchange.send_json(200, _body(turn))
        return
    await _stream(turn, _frames(turn))
    await turn.exchange.frame(b"", more=False)


async def _fault(turn: Turn, fault: Fault) -> None:
    streamed = turn.conversation.stream
    turn.entry.fault = fault.kind if fault.status is None else str(fault.status)
    if fault.billed or (fault.billed is None and _begins(fault, streamed=streamed)):
        turn.bill()
        turn.entry.cut = True
    match fault.kind:
        case "hang":
            await turn.exchange.wait(fault.hang_ms)
            turn.exchange.hang_up()
        case "reset":
            turn.exchange.hang_up(reset=True)
        case "error" if not _begins(fault, streamed=streamed):
            await _refuse(turn, fault)
        case _:
            await (_break_stream(turn, fault) if streamed else _break_body(turn, fault))


def _begins(fault: Fault, *, streamed: bool) -> bool:
    """Whether some of the reply is sent before it goes wrong."""
    if fault.kind == "error":
        return streamed and fault.after_chunks is not None
    return fault.kind in ("cut", "malformed")


async def _refuse(turn: Turn, fault: Fault) -> None:
    wait = [] if fault.retry_after_s is None else [(b"retry-after", f"{fault.retry_after_s:g}".encode())]
    dialect, status = turn.conversation.dialect, fault.status or 500
    await turn.exchange.send_error(dialect, status, _message(fault), kind=fault.type, headers=wait)


async def _break_body(turn: Turn, fault: Fault) -> None:
    """Malformed: all the bytes that were promised, but no JSON. Cut: fewer than were promised."""
    half = b'{"id": "' + turn.entry.id.encode() + b'", "choices": [{"message": '
    if fault.kind == "malformed":
        await turn.exchange.send_bytes(200, half)
        return
    await turn.exchange.start(200, b"application/json", [(b"content-length", b"65536")])
    await turn.exchange.frame(half)
    turn.exchange.hang_up()


async def _break_stream(turn: Turn, fault: Fault) -> None:
    """A stream that begins well: then the connection ends, an error comes, or a frame is no JSON."""
    after = CUT_AFTER_CHUNKS if fault.after_chunks is None else fault.after_chunks
    await _stream(turn, islice(_frames(turn), after))
    match fault.kind:
        case "malformed":
            name = b"event: content_block_delta\n" if turn.conversation.dialect == "anthropic" else b""
            await turn.exchange.frame(name + b'data: {"id": "' + turn.entry.id.encode() + b'", "choi\n\n', more=False)
        case "error":
            await turn.exchange.frame(_error_frame(turn.conversation, fault), more=False)
        case _:
            turn.exchange.hang_up()


async def _stream(turn: Turn, frames: Iterator[bytes]) -> None:
    await turn.exchange.start(200, b"text/event-stream; charset=utf-8", STREAM_HEADERS)
    for number, frame in enumerate(frames):
        if number:
            await turn.exchange.wait(turn.answer.chunk_ms)
        await turn.exchange.frame(frame)


def _body(turn: Turn) -> dict[str, Any]:
    wire = anthropic_wire.message if turn.conversation.dialect == "anthropic" else openai_wire.completion
    return wire(turn.entry.id, turn.answer, turn.conversation)


def _frames(turn: Turn) -> Iterator[bytes]:
    wire = anthropic_wire if turn.conversation.dialect == "anthropic" else openai_wire
    return wire.events(turn.entry.id, turn.answer, turn.conversation)


def _error_frame(conversation: Conversation, fault: Fault) -> bytes:
    status = fault.status or 500
    if conversation.dialect == "anthropic":
        return sse(anthropic_wire.error(status, _message(fault), kind=fault.type), event="error")
    return sse(openai_wire.error(status, _message(fault), kind=fault.type))


def _message(fault: Fault) -> str:
    default = MESSAGES.get(fault.status or 500, "The server had an error while processing your request.")
    return fault.message or default
