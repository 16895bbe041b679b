"""What an agent's messages say: its actions for stuck detection, its size, a digest of it. Pure and incremental."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponsePart,
    RetryFeedbackPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from shopfloor.engine.agents.stuck import Event

CHARS_PER_TOKEN = 4  # an estimate, used only for what the provider hasn't counted yet
KEPT_EVENTS = 64


@dataclass
class Track:
    """Follows one conversation message by message; each is looked at once."""

    events: list[Event] = field(default_factory=list[Event])
    _digest: Any = field(default_factory=hashlib.sha256)

    def take(self, reply: ModelResponse | None, request: ModelRequest) -> None:
        """A reply and the request that answers it (the first request answers none)."""
        self._digest.update(_fingerprint(reply, request))
        if reply is not None:
            self.events += _events_of(reply, request)
            del self.events[:-KEPT_EVENTS]

    def mark(self, what: str) -> None:
        """Something that changed the conversation other than by a message: a compaction."""
        self._digest.update(f"\0{what}\0".encode())

    def digest(self) -> str:
        """The same for the same conversation, whenever and wherever it is led."""
        return cast("str", self._digest.hexdigest()[:32])


def text_of(part: object) -> str:
    """What a part of a message says, as far as it counts for size and sameness."""
    if isinstance(part, ToolCallPart):
        return part.args if isinstance(part.args, str) else json.dumps(part.args or {}, sort_keys=True)
    if isinstance(part, TextPart | ThinkingPart | ToolReturnPart | UserPromptPart | RetryFeedbackPart):
        return part.content if isinstance(part.content, str) else repr(part.content)
    return ""


def chars_of(messages: Sequence[ModelMessage]) -> int:
    """Characters in all parts; instructions and tool definitions left out."""
    return sum(len(text_of(part)) for message in messages for part in message.parts)


def tokens_of(messages: Sequence[ModelMessage]) -> int:
    """Tokens the next request holds: what the provider counted at the last reply, plus an estimate of the rest."""
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if isinstance(message, ModelResponse) and message.usage.input_tokens:
            since = chars_of(messages[index + 1 :]) // CHARS_PER_TOKEN
            return message.usage.input_tokens + message.usage.output_tokens + since
    return chars_of(messages) // CHARS_PER_TOKEN


def words_only(reply: ModelResponse) -> bool:
    """It calls no tool."""
    return not any(isinstance(part, ToolCallPart) for part in reply.parts)


def _events_of(reply: ModelResponse, request: ModelRequest) -> list[Event]:
    results = {part.tool_call_id: part for part in request.parts if isinstance(part, ToolReturnPart)}
    calls = [part for part in reply.parts if isinstance(part, ToolCallPart)]
    if not calls:
        return [Event("")]
    return [_event(call, results.get(call.tool_call_id)) for call in calls]


def _event(call: ToolCallPart, result: ToolReturnPart | None) -> Event:
    return Event(
        action=f"{call.tool_name} {_short(text_of(call))}",
        result=_short(text_of(result)),
        error=result is not None and result.outcome != "success",
        label=call.tool_name,
    )


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _fingerprint(reply: ModelResponse | None, request: ModelRequest) -> bytes:
    """Without times: those differ between a run and its resumption."""
    parts: Sequence[object] = [*(reply.parts if reply else ()), *request.parts]
    lines = [f"{_kind(part)} {len(text_of(part))} {text_of(part)}" for part in parts]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _kind(part: object) -> str:
    kind = cast("ModelResponsePart", part).part_kind
    return f"{kind} {part.tool_name}" if isinstance(part, ToolCallPart | ToolReturnPart) else kind
