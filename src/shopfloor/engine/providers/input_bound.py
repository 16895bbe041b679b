"""How many input tokens a request can have at most, known before it leaves and without the provider's tokenizer.

Two facts bound it. A token of text stands for at least one byte of it (byte-level BPE and its relatives start from
bytes; merging only makes fewer), so the serialized request, plus room for what a provider wraps around it, is never too
small. And a prefix that the provider has counted once counts the same again, so only what came after it is bounded by
bytes: without this a hold late in a conversation would be about four times the bill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from shopfloor.base.errors import InvalidInput
from shopfloor.engine.providers.port import ModelRef

# What no request shows and every provider adds: the tool-use preamble (Anthropic documents 264 to 804 tokens), role
# markers of a chat template (a handful per message), the provider's own date or safety lines.
_PREAMBLE_TOKENS = 2048
_PER_MESSAGE_TOKENS = 64
# Images cost by their size in pixels, documents by pages, links by what they lead to: bytes say nothing about them.
# Quotes inside of texts are escaped, so that no text can look like one of these.
_UNCOUNTABLE = tuple(
    f'"kind":"{kind}"'.encode()
    for kind in ("image-url", "audio-url", "video-url", "document-url", "uploaded-file", "binary")
)
_NOT_SENT = {"instructions": True, "metadata": True, "usage": True, "run_id": True, "conversation_id": True}

_WHEN_USED = ConfigDict(defer_build=True)
_message: TypeAdapter[Any] = TypeAdapter(ModelMessage, config=_WHEN_USED)
_tools: TypeAdapter[list[ToolDefinition]] = TypeAdapter(list[ToolDefinition], config=_WHEN_USED)


@dataclass(frozen=True, slots=True)
class _Counted:
    """A request that the provider counted."""

    messages: tuple[ModelMessage, ...]
    fixed: _Fixed
    input_tokens: int


@dataclass(frozen=True, slots=True)
class _Fixed:
    """What stands before the conversation: tools, output schema and instructions."""

    tools: tuple[ToolDefinition, ...]
    rest: str
    size_bytes: int


class InputBound:
    """The bound for one conversation. Messages are taken as append-only: a changed one is a new object."""

    def __init__(self) -> None:
        self._sizes: list[tuple[ModelMessage, int | None]] = []
        self._fixed = _Fixed((), "", 0)
        self._counted: dict[ModelRef, _Counted] = {}

    def tokens(
        self,
        model: ModelRef,
        messages: list[ModelMessage],
        parameters: ModelRequestParameters,
        context_tokens: int | None,
    ) -> int:
        """At most so many input tokens; never more than the context window, which no provider lets a request pass.

        Raises: InvalidInput if it holds media and the context window is unknown.
        """
        fixed = self._fixed_part(messages, parameters)
        bound = self._after_counted(model, messages, fixed)
        if bound is None:
            bound = _sum_bytes(self._measured(messages), fixed.size_bytes + _PREAMBLE_TOKENS, len(messages))
        if bound is None and context_tokens is None:
            raise InvalidInput(
                f"The conversation holds an image, a document or a link, and the context window of {model} is unknown, "
                "so the call's cost can't be limited: set the window with the model's price, or leave the media out"
            )
        return min(known for known in (bound, context_tokens) if known is not None)

    def learn(
        self, model: ModelRef, messages: list[ModelMessage], parameters: ModelRequestParameters, input_tokens: int
    ) -> None:
        """The provider counted `input_tokens` for this request."""
        fixed = self._fixed_part(messages, parameters)
        self._counted[model] = _Counted(tuple(messages), fixed, input_tokens)

    def _after_counted(self, model: ModelRef, messages: list[ModelMessage], fixed: _Fixed) -> int | None:
        counted = self._counted.get(model)
        if counted is None or counted.fixed is not fixed or len(messages) < len(counted.messages):
            return None
        if not all(old is new for old, new in zip(counted.messages, messages, strict=False)):
            return None
        fresh = self._measured(messages)[len(counted.messages) :]
        return _sum_bytes(fresh, counted.input_tokens + _PER_MESSAGE_TOKENS, len(fresh))

    def _measured(self, messages: list[ModelMessage]) -> list[int | None]:
        kept = 0
        for (old, _), new in zip(self._sizes, messages, strict=False):
            if old is not new:
                break
            kept += 1
        self._sizes[kept:] = [(message, _size_bytes(message)) for message in messages[kept:]]
        return [size for _, size in self._sizes]

    def _fixed_part(self, messages: list[ModelMessage], parameters: ModelRequestParameters) -> _Fixed:
        tools = (*parameters.function_tools, *parameters.output_tools)
        rest = f"{_instructions(messages)}\n{parameters.output_object}\n{parameters.prompted_output_template}"
        if self._fixed.rest != rest or self._fixed.tools != tools:
            size = len(_tools.dump_json(list(tools))) + len(rest.encode())
            self._fixed = _Fixed(tools, rest, size)
        return self._fixed


def _instructions(messages: list[ModelMessage]) -> str:
    """The newest request's: only those are sent."""
    for message in reversed(messages):
        if message.kind == "request" and message.instructions is not None:
            return message.instructions
    return ""


def _size_bytes(message: ModelMessage) -> int | None:
    """None: bytes say nothing about it."""
    serialized = _message.dump_json(message, exclude=_NOT_SENT)
    if any(mark in serialized for mark in _UNCOUNTABLE):
        return None
    return len(serialized)


def _sum_bytes(sizes: list[int | None], start: int, messages: int) -> int | None:
    total = start + _PER_MESSAGE_TOKENS * messages
    for size in sizes:
        if size is None:
            return None
        total += size
    return total
