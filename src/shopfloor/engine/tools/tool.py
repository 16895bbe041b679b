"""A tool: its name, what it says of itself, its arguments, and the one function behind it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.result import Arguments, Effects, ToolRefused, ToolResult
from shopfloor.engine.workspace import WorkspaceError

A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True)
class Tool(Generic[A]):
    """One thing an agent can do. `run` raises ToolRefused or WorkspaceError for what the model can act on."""

    name: str
    description: str
    arguments: type[A]
    run: Callable[[A, ToolContext], Awaitable[ToolResult]]
    effects: Effects = "none"

    async def invoke(self, raw: object, context: ToolContext) -> ToolResult:
        """Check `raw` (what the model sent: an object, or text that should have been one) and run.

        Every mistake of the model's comes back as a result with `ok=False`; only failures of the platform rise.
        """
        try:
            return await self.run(self.arguments.model_validate(raw), context)
        except ValidationError as error:
            return ToolResult(malformed(self.name, raw, error), ok=False)
        except (ToolRefused, WorkspaceError) as error:
            return ToolResult(f"{error.title}: {error.detail}", ok=False)


AnyTool = Tool[Any]


def malformed(name: str, raw: object, error: ValidationError) -> str:
    """A text that says which argument is wrong and how, at most ten of them."""
    if isinstance(raw, str):
        return f"The arguments of {name} are not a JSON object (were they cut off?). They began: {raw[:200]!r}"
    lines = [
        f"- {'.'.join(str(step) for step in problem['loc']) or 'arguments'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False, include_context=False)[:10]
    ]
    return "\n".join([f"The arguments of {name} do not fit:", *lines])


def parse_arguments(raw: str | dict[str, Any] | None) -> object:
    """The value in `raw`; the text itself where it is no JSON, so that `invoke` can say so."""
    if not isinstance(raw, str):
        return raw or {}
    try:
        return json.loads(raw or "{}")
    except (ValueError, RecursionError):
        return raw
