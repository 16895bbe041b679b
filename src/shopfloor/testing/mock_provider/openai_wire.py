"""OpenAI chat completions on the wire. Source: OpenAI API reference, 'Chat Completions', and its client's types."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http import HTTPStatus

from shopfloor.testing.mock_provider.answer import Answer, Usage
from shopfloor.testing.mock_provider.conversation import Conversation, Json
from shopfloor.testing.mock_provider.frames import pieces, sse

ERROR_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
DONE = b"data: [DONE]\n\n"


def completion(reply_id: str, answer: Answer, conversation: Conversation) -> Json:
    """The body of a reply that isn't streamed."""
    message: Json = {
        "role": "assistant",
        "content": None if answer.refusal or (answer.calls and not answer.text) else answer.text,
        "refusal": answer.text if answer.refusal else None,
        "annotations": [],
    }
    if answer.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.calls
        ]
    return {
        "id": reply_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": conversation.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}],
        "usage": usage(answer.usage),
        "service_tier": "default",
        "system_fingerprint": "fp_mock",
    }


def events(reply_id: str, answer: Answer, conversation: Conversation) -> Iterator[bytes]:
    """The frames of a streamed reply, `[DONE]` included."""
    head: Json = {
        "id": reply_id,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": conversation.model,
        "service_tier": "default",
        "system_fingerprint": "fp_mock",
    }
    if conversation.include_usage:
        head["usage"] = None
    for delta in _deltas(answer):
        yield sse({**head, "choices": [_choice(delta, None)]})
    yield sse({**head, "choices": [_choice({}, answer.finish)]})
    if conversation.include_usage:
        yield sse({**head, "choices": [], "usage": usage(answer.usage)})
    yield DONE


def error(status: int, message: str, *, kind: str | None = None) -> Json:
    """An error body. `kind` stands for both type and code, as in `insufficient_quota`."""
    unlisted = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    default_type, default_code = ERROR_TYPES.get(status, (unlisted, None))
    return {"error": {"message": message, "type": kind or default_type, "param": None, "code": kind or default_code}}


def models(names: list[str]) -> Json:
    """The body of `GET /v1/models`."""
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": 1_735_689_600, "owned_by": "mock"} for name in names],
    }


def usage(used: Usage) -> Json:
    """OpenAI's totals include the cached and the reasoning tokens."""
    return {
        "prompt_tokens": used.prompt,
        "completion_tokens": used.completion,
        "total_tokens": used.prompt + used.completion,
        "prompt_tokens_details": {"cached_tokens": used.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": used.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _deltas(answer: Answer) -> Iterator[Json]:
    field = "refusal" if answer.refusal else "content"
    yield {"role": "assistant", "content": None if answer.refusal or not answer.text else "", "refusal": None}
    for piece in pieces(answer.text, answer.chunk_chars):
        yield {field: piece}
    for index, call in enumerate(answer.calls):
        function: Json = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]}
        for piece in pieces(call.arguments, answer.chunk_chars):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _choice(delta: Json, finish: str | None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
