"""Anthropic messages on the wire. Source: Anthropic API reference, 'Messages', 'Streaming' and 'Errors'."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import orjson

from shopfloor.testing.mock_provider.answer import Answer, Usage
from shopfloor.testing.mock_provider.conversation import Conversation, Json
from shopfloor.testing.mock_provider.frames import pieces, sse

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


def message(reply_id: str, answer: Answer, conversation: Conversation) -> Json:
    """The body of a reply that isn't streamed."""
    return {
        "id": reply_id,
        "type": "message",
        "role": "assistant",
        "model": conversation.model,
        "content": [_whole(block) for block in _blocks(answer)],
        "stop_reason": stop_reason(answer),
        "stop_sequence": None,
        "usage": usage(answer.usage),
    }


def events(reply_id: str, answer: Answer, conversation: Conversation) -> Iterator[bytes]:
    """The frames of a streamed reply, `message_stop` included."""
    opening = message(reply_id, answer, conversation)
    opening |= {"content": [], "stop_reason": None, "usage": {**usage(answer.usage), "output_tokens": 1}}
    yield _event("message_start", message=opening)
    for index, (block, field, text) in enumerate(_blocks(answer)):
        yield _event("content_block_start", index=index, content_block=block)
        if index == 0:
            yield _event("ping")
        for piece in pieces(text, answer.chunk_chars):
            yield _event("content_block_delta", index=index, delta={"type": f"{field}_delta", _KEYS[field]: piece})
        if field == "thinking":
            yield _event("content_block_delta", index=index, delta={"type": "signature_delta", "signature": _SIGNATURE})
        yield _event("content_block_stop", index=index)
    ending = {"stop_reason": stop_reason(answer), "stop_sequence": None}
    yield _event("message_delta", delta=ending, usage=_final_usage(answer.usage))
    yield _event("message_stop")


def error(status: int, text: str, *, kind: str | None = None, request_id: str | None = None) -> Json:
    """An error body; in a stream the same object is the data of an `error` event."""
    default = ERROR_TYPES.get(
        status, "api_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    )
    return {"type": "error", "error": {"type": kind or default, "message": text}, "request_id": request_id}


def models(names: list[str]) -> Json:
    """The body of `GET /v1/models`."""
    data = [
        {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": "2025-01-01T00:00:00Z",
            "lifecycle": "active",
        }
        for name in names
    ]
    ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
    return {"data": data, "has_more": False, **ends}


def stop_reason(answer: Answer) -> str:
    """Why it stopped, in this dialect's words."""
    return "refusal" if answer.refusal else STOP_REASONS[answer.finish]


def usage(used: Usage) -> Json:
    """Anthropic's `input_tokens` leave out what was read from or written to the cache."""
    return {
        "input_tokens": used.input,
        "cache_creation_input_tokens": used.cache_write_5m + used.cache_write_1h,
        "cache_read_input_tokens": used.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": used.cache_write_5m,
            "ephemeral_1h_input_tokens": used.cache_write_1h,
        },
        "output_tokens": used.completion,
        "output_tokens_details": {"thinking_tokens": used.reasoning},
        "service_tier": "standard",
    }


_SIGNATURE = "bW9jay1zaWduYXR1cmU="  # opaque to clients, who send it back as it is
_KEYS = {"text": "text", "thinking": "thinking", "input_json": "partial_json"}


def _blocks(answer: Answer) -> Iterator[tuple[Json, str, str]]:
    """(the block as it starts, its kind of delta, what the deltas hold in all)."""
    if answer.thinking:
        yield {"type": "thinking", "thinking": "", "signature": ""}, "thinking", answer.thinking
    if answer.text:
        yield {"type": "text", "text": ""}, "text", answer.text
    for call in answer.calls:
        yield {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}, "input_json", call.arguments


def _whole(block: tuple[Json, str, str]) -> Json:
    start, field, text = block
    match field:
        case "thinking":
            return {**start, "thinking": text, "signature": _SIGNATURE}
        case "text":
            return {**start, "text": text}
        case _:
            return {**start, "input": _parsed(text)}


def _parsed(text: str) -> Any:
    """Arguments that are no JSON go out as text: a model that breaks its schema does this in a stream, too."""
    try:
        return orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return text


def _final_usage(used: Usage) -> Json:
    totals = usage(used)
    return {name: value for name, value in totals.items() if name not in ("cache_creation", "service_tier")}


def _event(kind: str, **data: Any) -> bytes:
    return sse({"type": kind, **data}, event=kind)
