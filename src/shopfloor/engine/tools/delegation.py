"""Handing a self-contained piece of work to another agent: `delegate`."""

from __future__ import annotations

from pydantic import Field

from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.result import Arguments, ToolRefused, ToolResult
from shopfloor.engine.tools.tool import Tool


class Delegate(Arguments):
    """Arguments of `delegate`."""

    agent: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="The name of the agent, e.g. `review`.")
    task: str = Field(
        min_length=1,
        max_length=50_000,
        description="All it needs to know: it sees the same files, but nothing of this conversation.",
    )
    tools: tuple[str, ...] = Field(default=(), max_length=32, description="Only these of its tools; empty: all it has.")


async def delegate(arguments: Delegate, context: ToolContext) -> ToolResult:
    """Run the other agent to its end; what it finished with. Its own calls are journaled one by one."""
    if context.delegate is None:
        raise ToolRefused("this run can't delegate; do the work here")
    return await context.delegate(context.call_id, arguments.agent, arguments.task, arguments.tools)


# Effects "none": the other agent's own calls carry theirs; if this one held the tree, they could never start.
DELEGATE = Tool(
    "delegate",
    "Give a self-contained task to another agent that works on the same files with its own conversation, "
    "and get its result. Good for searching widely or for a second opinion; its cost counts for this job.",
    Delegate,
    delegate,
)
TOOLS = (DELEGATE,)
