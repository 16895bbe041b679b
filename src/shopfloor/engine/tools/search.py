"""Looking for text in files: `grep`."""

from __future__ import annotations

import re

from pydantic import Field

from shopfloor.engine.tools.bounds import bounded, clean
from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.files import Path
from shopfloor.engine.tools.result import Arguments, ToolRefused, ToolResult
from shopfloor.engine.tools.tool import Tool
from shopfloor.engine.workspace import CommandResult

TIMEOUT_S = 60
MAX_COLUMNS = 400
NOT_FOUND = 127  # the shell's status for a program that isn't there. Source: POSIX, 2.8.2
_DOT = re.compile(r"^\./", re.MULTILINE)
NO_MATCH = 1  # of rg and grep alike


class Grep(Arguments):
    """Arguments of `grep`."""

    pattern: str = Field(min_length=1, max_length=2_000, description="A regular expression, or text with `literal`.")
    path: Path = Field(default=".", description="A file or folder, relative to the workspace root.")
    glob: str | None = Field(
        default=None, min_length=1, max_length=200, description="Only files that match, e.g. `*.py` or `src/**/*.ts`."
    )
    literal: bool = Field(default=False, description="Take the pattern as plain text.")
    ignore_case: bool = Field(default=False)
    context_lines: int = Field(default=0, ge=0, le=10, description="Lines shown around each match.")
    max_matches: int = Field(default=100, ge=1, le=1_000, description="Per file.")


async def grep(arguments: Grep, context: ToolContext) -> ToolResult:
    """`path:line:text` for each match."""
    path = context.policy.check_read(arguments.path)
    command = _ripgrep(arguments, path, context.policy.all_hidden)
    result = await _run(context, command)
    if result.exit_code == NOT_FOUND:
        result = await _run(context, _git_grep(arguments, path, context.policy.all_hidden))
    if result.timed_out:
        raise ToolRefused(f"the search took longer than {TIMEOUT_S} s: name a folder or a glob")
    if result.exit_code == NO_MATCH:
        return ToolResult(f"No match for {arguments.pattern!r} in {path}.")
    if not result.ok:
        raise ToolRefused(
            clean(result.output)[:1_000].strip() or f"the search failed: is there a file or folder {path!r}?"
        )
    note = "narrow the pattern, path or glob to see the rest"
    text = _DOT.sub("", clean(result.output)) + (
        f"\n[... {result.elided_bytes:,} bytes left out]" if result.elided_bytes else ""
    )
    return ToolResult(bounded(text.rstrip("\n"), context.policy.max_output_chars, note=note))


async def _run(context: ToolContext, command: list[str]) -> CommandResult:
    room = 4 * context.policy.max_output_chars
    return await context.workspace.run(command, timeout_s=TIMEOUT_S, max_output_bytes=room)


def _ripgrep(arguments: Grep, path: str, hidden: tuple[str, ...]) -> list[str]:
    command = ["rg", "--no-config", "--no-messages", "--color=never", "--no-heading", "--with-filename", "-n"]
    command += ["--hidden", "--sort=path", "--max-columns", str(MAX_COLUMNS), "--max-columns-preview"]
    command += ["--max-count", str(arguments.max_matches), "-C", str(arguments.context_lines)]
    command += ["-F"] if arguments.literal else []
    command += ["-i"] if arguments.ignore_case else []
    command += ["-g", arguments.glob] if arguments.glob else []
    for pattern in (".git", *hidden):
        command += ["-g", f"!{pattern}"]
    return [*command, "-e", arguments.pattern, "--", path]


def _git_grep(arguments: Grep, path: str, hidden: tuple[str, ...]) -> list[str]:
    """For images without ripgrep: Git is in every image."""
    command = ["git", "-c", "core.quotePath=false", "grep", "--no-index", "--exclude-standard", "--color=never", "-nIH"]
    command += ["--max-count", str(arguments.max_matches), "-C", str(arguments.context_lines)]
    command += ["-F"] if arguments.literal else ["-E"]
    command += ["-i"] if arguments.ignore_case else []
    excluded = [f":(exclude,glob){pattern}" for pattern in hidden]
    return [*command, "-e", arguments.pattern, "--", *_where(path, arguments.glob), *excluded]


def _where(path: str, glob: str | None) -> list[str]:
    if glob is None:
        return [] if path == "." else [f":(literal){path}"]
    return [f":(glob){_below(path, glob)}"]


def _below(path: str, glob: str) -> str:
    deep = glob if "/" in glob else f"**/{glob}"
    return deep if path == "." else f"{path}/{deep}"


GREP = Tool(
    "grep",
    "Search file contents with a regular expression (ripgrep syntax); .gitignore is respected. "
    "Start here to find where something is defined or used.",
    Grep,
    grep,
)
TOOLS = (GREP,)
