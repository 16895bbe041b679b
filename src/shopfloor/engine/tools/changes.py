"""Seeing what has changed so far: `git_diff`."""

from __future__ import annotations

from pydantic import Field

from shopfloor.engine.tools.bounds import clean
from shopfloor.engine.tools.capture import Capture
from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.files import Path
from shopfloor.engine.tools.result import Arguments, ToolRefused, ToolResult
from shopfloor.engine.tools.tool import Tool
from shopfloor.engine.workspace import CommandResult

TIMEOUT_S = 60
GIT = ["git", "--no-optional-locks", "--no-pager", "-c", "core.quotePath=false"]


class GitDiff(Arguments):
    """Arguments of `git_diff`."""

    path: Path | None = Field(default=None, description="Only below this path.")
    stat: bool = Field(default=False, description="Only names and counts of lines.")


async def git_diff(arguments: GitDiff, context: ToolContext) -> ToolResult:
    """The difference between the job's base and the working tree, and the names of new files."""
    paths = ["--", *([context.policy.check_read(arguments.path)] if arguments.path else ["."])]
    paths += [f":(exclude,glob){pattern}" for pattern in context.policy.all_hidden]
    untracked = await _git(context, ["ls-files", "--others", "--exclude-standard", *paths])
    if not untracked.ok:
        raise ToolRefused(f"git can't read this workspace: {clean(untracked.output)[:300].strip()}")
    options = ["--no-ext-diff", "--no-textconv", "--no-color", *(["--stat"] if arguments.stat else [])]
    capture = Capture(context, f"{context.call_id or 'call'}.diff")
    changed = await _git(context, ["diff", *options, context.base_ref, *paths], capture)
    text, artifact = await capture.finish(changed)
    if not changed.ok:
        raise ToolRefused(f"git diff failed: {text[:500].strip()}")
    return ToolResult(_shown(text, clean(untracked.output), context.base_ref), artifact=artifact)


async def _git(context: ToolContext, command: list[str], capture: Capture | None = None) -> CommandResult:
    room = 4 * context.policy.max_output_chars
    on_output = capture.take if capture else None
    return await context.workspace.run(
        [*GIT, *command], timeout_s=TIMEOUT_S, max_output_bytes=room, on_output=on_output
    )


def _shown(diff: str, untracked: str, base: str) -> str:
    new = untracked.split("\n")[:200]
    parts = [diff.rstrip()] if diff.strip() else []
    if names := [name for name in new if name]:
        parts.append("New files, not tracked yet (read_file shows them):\n" + "\n".join(names))
    return "\n\n".join(parts) or f"Nothing differs from {base}."


GIT_DIFF = Tool("git_diff", "See what has changed in the working tree since the job began.", GitDiff, git_diff)
TOOLS = (GIT_DIFF,)
