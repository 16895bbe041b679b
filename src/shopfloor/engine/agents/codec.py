"""Between Pydantic AI's messages and the JSON of the journal, and what JSON in PostgreSQL can hold."""

from __future__ import annotations

import re
from typing import Any, cast

from pydantic import TypeAdapter
from pydantic_ai.messages import ModelResponse, ModelResponsePart, ToolCallPart

from shopfloor.engine.agents.journal import Json

_REPLY: TypeAdapter[ModelResponse] = TypeAdapter(ModelResponse)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # jsonb takes neither. Source: PostgreSQL manual, 8.14


def encode_reply(reply: ModelResponse) -> Json:
    """A reply as JSON; `decode_reply` gives an equal one."""
    return storable(_REPLY.dump_python(reply, mode="json"))


def decode_reply(record: Json) -> ModelResponse:
    """A reply from its JSON, also one that an earlier release wrote."""
    return _REPLY.validate_python(record)


def storable(value: Any) -> Any:
    """`value` with U+FFFD for each NUL and half surrogate pair in its texts."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value) if _UNSTORABLE.search(value) else value
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in cast("list[Any]", value)]
    return value


def with_unique_ids(reply: ModelResponse, taken: set[str]) -> ModelResponse:
    """The reply with a call id of its own for each call: some servers send none, or count anew in each reply."""
    parts: list[ModelResponsePart] = []
    for part in reply.parts:
        if isinstance(part, ToolCallPart):
            part.tool_call_id = _free(part.tool_call_id or "call", taken)
            taken.add(part.tool_call_id)
        parts.append(part)
    reply.parts = parts
    return reply


def _free(wanted: str, taken: set[str]) -> str:
    if wanted not in taken:
        return wanted
    number = 2
    while f"{wanted}-{number}" in taken:
        number += 1
    return f"{wanted}-{number}"
