"""The journal as a Pydantic AI capability: each reply and each tool result is recorded once, and fed back on resume."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_ai import ModelRetry, RunContext, ToolFailed
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ToolCallPart, UserPromptPart
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.tools import ToolDefinition

from shopfloor.engine.agents.codec import decode_reply, encode_reply, storable, with_unique_ids
from shopfloor.engine.agents.delegation import Delegations
from shopfloor.engine.agents.fitting import Fitting
from shopfloor.engine.agents.history import Track
from shopfloor.engine.agents.journal import Effects, Journal, Json
from shopfloor.engine.agents.steering import Steering
from shopfloor.engine.agents.toolset import JobTools
from shopfloor.engine.providers.port import ContextTooLong
from shopfloor.engine.tools.delegation import DELEGATE
from shopfloor.engine.tools.result import ToolResult

TOO_LONG = "context_too_long"


@dataclass
class Durable(AbstractCapability[None]):
    """Leads one run: counts turns, steers, fits the window, and puts the journal between the agent and the world."""

    journal: Journal
    tools: JobTools
    steering: Steering
    fitting: Fitting
    delegations: Delegations
    track: Track = field(default_factory=Track)
    turn: int = 0
    tool_calls: int = 0
    _taken_ids: set[str] = field(default_factory=set[str])

    async def wrap_model_request(
        self,
        ctx: RunContext[None],
        *,
        request_context: ModelRequestContext,
        handler: Callable[[ModelRequestContext], Awaitable[ModelResponse]],
    ) -> ModelResponse:
        """One turn. Raises: Stop where the run ends, ModelRetry where it goes on with a shorter conversation."""
        self.turn += 1
        messages = await self._prepare(list(ctx.messages), request_context)
        ctx.messages[:] = messages
        request = replace(request_context, messages=list(messages))

        async def call() -> Json:
            self.steering.check_time()
            try:
                reply = await handler(request)
            except ContextTooLong as error:
                return {TOO_LONG: error.detail}
            return encode_reply(with_unique_ids(reply, self._taken_ids))

        about = {"messages": len(messages), "digest": self.track.digest()}
        return self._accept(await self.journal.model_reply(self.turn, about, call))

    async def wrap_tool_execute(
        self,
        ctx: RunContext[None],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
        handler: Callable[[dict[str, Any]], Awaitable[Any]],
    ) -> Any:
        """One tool call. Raises: ToolFailed with a text for the model where the result is an error."""
        del ctx
        self.tool_calls += 1
        if tool_def.name == DELEGATE.name:
            self.delegations.register(call.tool_call_id)
        effects: Effects = self.tools.by_name[tool_def.name].effects

        async def run() -> Json:
            result: ToolResult = await handler(args)
            return storable(result.to_json())

        record = await self.journal.tool_result(
            self.turn, call.tool_call_id, call.tool_name, storable(args), effects, run
        )
        result = ToolResult.from_json(record)
        self.tools.context.absorb(result)
        if not result.ok:
            raise ToolFailed(result.text)
        return result.text

    async def _prepare(self, messages: list[ModelMessage], request: ModelRequestContext) -> list[ModelMessage]:
        """What is sent this turn: with a reminder where one is due, within the window."""
        reply = messages[-2] if len(messages) > 1 else None
        last = messages[-1]
        if not isinstance(last, ModelRequest):
            raise TypeError(f"a turn begins with a request, not with {type(last).__name__}")
        self.track.take(reply if isinstance(reply, ModelResponse) else None, last)
        words = await self.steering.before_turn(self.turn, self.track, reply)
        if words:
            messages[-1] = replace(last, parts=[*last.parts, *(UserPromptPart(text) for text in words)])
        return await self.fitting.fit(messages, self.turn, self.track, request)

    def _accept(self, record: Json) -> ModelResponse:
        if TOO_LONG in record:
            self.fitting.force(record[TOO_LONG])
            raise ModelRetry("The conversation had become too long for the model and was shortened. Go on.")
        self.fitting.answered()
        reply = decode_reply(record)
        self._taken_ids.update(part.tool_call_id for part in reply.parts if isinstance(part, ToolCallPart))
        self.steering.check_reply(reply)
        return reply
