"""Sends one answer, or what goes wrong with it, and says in the entry how far it came."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

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


async def play(
    exchange: Exchange,
    entry: Entry,
    conversation: Conversation,
    answer: Answer,
    fault: Fault | None,
    bill: Callable[[], None],
) -> None:
    """Give the answer with its pace, or play the fault. `bill` is called when the reply begins."""
    entry.fault = None if fault is None else fault.kind if fault.status is None else str(fault.status)
    begins = _no_bill if fault is not None and fault.billed is False else bill
    if fault is not None and fault.billed:
        bill()
    try:
        await exchange.wait(answer.latency_ms)
        if fault is None:
            await _answer(exchange, entry, conversation, answer, begins)
        else:
            await _fault(exchange, entry, conversation, answer, fault, begins)
    except ClientLeft:
        entry.cut = True
    finally:
        await exchange.close()


async def _answer(
    exchange: Exchange, entry: Entry, conversation: Conversation, answer: Answer, bill: Callable[[], None]
) -> None:
    bill()
    if not conversation.stream:
        await exchange.send_json(200, _body(entry, conversation, answer))
        return
    await _stream(exchange, _events(entry, conversation, answer), answer.chunk_ms)
    await exchange.frame(b"", more=False)


async def _fault(
    exchange: Exchange,
    entry: Entry,
    conversation: Conversation,
    answer: Answer,
    fault: Fault,
    bill: Callable[[], None],
) -> None:
    match fault.kind:
        case "hang":
            await exchange.wait(fault.hang_ms)
            exchange.hang_up()
        case "reset":
            exchange.hang_up(reset=True)
        case "error" if fault.after_chunks is None or not conversation.stream:
            await _refuse(exchange, conversation, fault)
        case "malformed" if not conversation.stream:
            bill()
            await exchange.send_bytes(200, b'{"id": "' + entry.id.encode() + b'", "choices": [{"message": ')
        case _:
            bill()
            entry.cut = True
            await _broken(exchange, entry, conversation, answer, fault)


async def _broken(exchange: Exchange, entry: Entry, conversation: Conversation, answer: Answer, fault: Fault) -> None:
    """A reply that begins well: then the connection ends, an error comes, or a frame is no JSON."""
    if not conversation.stream:
        await exchange.start(200, b"application/json", [(b"content-length", b"65536")])
        await exchange.frame(b'{"id": "' + entry.id.encode() + b'", ')
        exchange.hang_up()
        return
    after = CUT_AFTER_CHUNKS if fault.after_chunks is None else fault.after_chunks
    await _stream(exchange, islice(_events(entry, conversation, answer), after), answer.chunk_ms)
    if fault.kind == "cut":
        exchange.hang_up()
        return
    if fault.kind == "malformed":
        name = b"event: content_block_delta\n" if conversation.dialect == "anthropic" else b""
        await exchange.frame(name + b'data: {"id": "' + entry.id.encode() + b'", "choi\n\n', more=False)
        return
    await exchange.frame(_error_frame(conversation, fault), more=False)


async def _refuse(exchange: Exchange, conversation: Conversation, fault: Fault) -> None:
    status = fault.status or 500
    wait = [] if fault.retry_after_s is None else [(b"retry-after", f"{fault.retry_after_s:g}".encode())]
    await exchange.send_error(conversation.dialect, status, _message(fault), kind=fault.type, headers=wait)


async def _stream(exchange: Exchange, frames: Iterator[bytes], chunk_ms: int) -> None:
    await exchange.start(200, b"text/event-stream; charset=utf-8", STREAM_HEADERS)
    for number, frame in enumerate(frames):
        if number:
            await exchange.wait(chunk_ms)
        await exchange.frame(frame)


def _body(entry: Entry, conversation: Conversation, answer: Answer) -> dict[str, object]:
    if conversation.dialect == "anthropic":
        return anthropic_wire.message(entry.id, answer, conversation)
    return openai_wire.completion(entry.id, answer, conversation)


def _events(entry: Entry, conversation: Conversation, answer: Answer) -> Iterator[bytes]:
    if conversation.dialect == "anthropic":
        return anthropic_wire.events(entry.id, answer, conversation)
    return openai_wire.events(entry.id, answer, conversation)


def _error_frame(conversation: Conversation, fault: Fault) -> bytes:
    status = fault.status or 500
    if conversation.dialect == "anthropic":
        return sse(anthropic_wire.error(status, _message(fault), kind=fault.type), event="error")
    return sse(openai_wire.error(status, _message(fault), kind=fault.type))


def _message(fault: Fault) -> str:
    default = MESSAGES.get(fault.status or 500, "The server had an error while processing your request.")
    return fault.message or default


def _no_bill() -> None:
    """For a fault that the scenario says isn't billed."""
