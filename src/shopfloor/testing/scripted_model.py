"""A model that says what a script says: one entry a request, each a reply, a function, or an error to raise."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, ModelResponsePart, TextPart, ToolCallPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from shopfloor.engine.agents.history import CHARS_PER_TOKEN, chars_of

Reply = ModelResponse | Exception | Callable[[list[ModelMessage]], ModelResponse]


class ScriptedModel(FunctionModel):
    """Answers entry by entry; give the same object to a resumed run, and it goes on where the killed one was.

    Requests without tools (summaries) are answered by `summary`. Beyond its end the last entry is repeated.
    With `counts` a reply's usage tells how long the conversation is, a token for four characters.
    """

    def __init__(self, script: Sequence[Reply], *, summary: str = "Goal: as before.", counts: bool = False) -> None:
        super().__init__(self._answer, model_name="scripted")
        self.script = list(script)
        self.summary = summary
        self.counts = counts
        self.requests: list[list[ModelMessage]] = []
        self.infos: list[AgentInfo] = []
        self.asked = 0  # entries used: errors count too, so they are raised once each

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Count, and answer by the script."""
        self.requests.append(list(messages))
        return await super().request(messages, model_settings, model_request_parameters)

    async def _answer(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.infos.append(info)
        if not info.function_tools and not info.output_tools:
            return say(self.summary)
        entry = self.script[min(self.asked, len(self.script) - 1)]
        self.asked += 1
        if isinstance(entry, Exception):
            raise entry
        answer = entry(messages) if callable(entry) else _copy(entry)
        if self.counts:
            answer.usage = RequestUsage(input_tokens=chars_of(messages) // CHARS_PER_TOKEN, output_tokens=1)
        return answer


def call(tool: str, arguments: dict[str, Any] | str | None = None, *, id: str | None = None) -> ToolCallPart:  # noqa: A002 - as on the wire
    """One tool call; its id is made of the tool and its arguments unless given."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, sort_keys=True)
    return ToolCallPart(tool, text, tool_call_id=id or f"{tool}-{zlib.crc32(text.encode()):08x}")


def reply(*parts: ModelResponsePart, input_tokens: int = 0, output_tokens: int = 1) -> ModelResponse:
    """A reply of these parts, with the usage a provider would report."""
    usage = RequestUsage(input_tokens=input_tokens or 100, output_tokens=output_tokens)
    return ModelResponse(parts=list(parts), usage=usage)


def say(text: str) -> ModelResponse:
    """A reply of words alone."""
    return reply(TextPart(text))


def finish(**output: Any) -> ModelResponse:
    """The reply that ends a run."""
    return reply(call("finish", output))


def _copy(entry: ModelResponse) -> ModelResponse:
    """A reply of its own for each use: the loop may rename its call ids."""
    parts = [replace(part) if isinstance(part, ToolCallPart) else part for part in entry.parts]
    return ModelResponse(parts=parts, usage=entry.usage, finish_reason=entry.finish_reason)
