"""Our tools as Pydantic AI's agent sees them: built once per run, never refusing a call before our own tool sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

from pydantic_ai import RunContext
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool

from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.result import ToolResult
from shopfloor.engine.tools.tool import AnyTool, parse_arguments

UNREADABLE = "(not a JSON object)"  # stands for the name of arguments that could not be read
NEVER_GIVE_UP = 1_000_000  # retries are ended by stuck detection and turn limits, which explain themselves


class ReadAnything:
    """A validator that lets every argument text through, so that mistakes become results of our own tools."""

    def validate_json(
        self,
        input: str | bytes | bytearray,  # noqa: A002 - the protocol's name
        *,
        allow_partial: bool | Literal["off", "on", "trailing-strings"] = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The object, or the text under UNREADABLE."""
        del allow_partial, kwargs
        text = input if isinstance(input, str) else bytes(input).decode("utf-8", "replace")
        return self.validate_python(parse_arguments(text), text=text)

    def validate_python(
        self,
        input: Any,  # noqa: A002 - the protocol's name
        *,
        allow_partial: bool | Literal["off", "on", "trailing-strings"] = False,
        text: str | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As `validate_json`, for arguments that came parsed."""
        del allow_partial, kwargs
        if isinstance(input, dict):
            return cast("dict[str, Any]", input)
        return {UNREADABLE: text if text is not None else repr(input)}


class JobTools(AbstractToolset[None]):
    """The tools of one run."""

    def __init__(self, tools: Sequence[AnyTool], context: ToolContext) -> None:
        self.context = context
        self.by_name = {tool.name: tool for tool in tools}
        validator = ReadAnything()
        self._listed: dict[str, ToolsetTool[None]] = {
            tool.name: ToolsetTool(
                toolset=self,
                tool_def=_definition(tool),
                max_retries=NEVER_GIVE_UP,
                args_validator=validator,
            )
            for tool in tools
        }

    @property
    def id(self) -> str:
        """Names it among an agent's toolsets."""
        return "shopfloor"

    async def get_tools(self, ctx: RunContext[None]) -> dict[str, ToolsetTool[None]]:
        """All of them, at every step."""
        del ctx
        return self._listed

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[None], tool: ToolsetTool[None]
    ) -> ToolResult:
        """Run one call. Its mistakes come back as results."""
        del tool
        raw: object = tool_args.get(UNREADABLE, tool_args)
        return await self.by_name[name].invoke(raw, self.context.for_call(ctx.tool_call_id or ""))


def _definition(tool: AnyTool) -> ToolDefinition:
    schema = tool.arguments.model_json_schema()
    schema.pop("title", None)
    schema.pop("description", None)
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        parameters_json_schema=schema,
        sequential=tool.effects != "none",  # reads before it finish first, calls after it wait
    )
