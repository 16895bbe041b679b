"""Running commands: `shell`, and `run_tests` for the job's own checks."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from shopfloor.engine.tools.capture import Capture
from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.files import Path
from shopfloor.engine.tools.result import Arguments, ToolRefused, ToolResult
from shopfloor.engine.tools.tool import Tool
from shopfloor.engine.workspace import CommandResult

Command = str  # bounded where it is declared


class Shell(Arguments):
    """Arguments of `shell`."""

    command: Command = Field(min_length=1, max_length=32_768, description="Run by bash in the sandbox.")
    cwd: Path = Field(default=".", description="The folder it runs in, relative to the workspace root.")
    timeout_s: int = Field(default=120, ge=1, le=86_400, description="Killed after this many seconds.")


class RunTests(Arguments):
    """Arguments of `run_tests`."""

    command: Command | None = Field(
        default=None, min_length=1, max_length=32_768, description="Left out: the job's own checks."
    )
    timeout_s: int = Field(default=600, ge=1, le=86_400, description="For each command.")


async def shell(arguments: Shell, context: ToolContext) -> ToolResult:
    """Run one command; its exit status, time and bounded output."""
    result, text, artifact = await execute(context, arguments.command, timeout_s=arguments.timeout_s, cwd=arguments.cwd)
    ending = describe(result, min(arguments.timeout_s, context.policy.max_command_s))
    facts = {"exit_code": result.exit_code, "duration_s": round(result.duration_s, 3), "bytes": result.total_bytes}
    return ToolResult(f"{text.rstrip()}\n[{ending}]".lstrip("\n"), ok=result.ok, artifact=artifact, facts=facts)


async def run_tests(arguments: RunTests, context: ToolContext) -> ToolResult:
    """Run the checks one after the other; what passed, what failed, and the end of what each wrote."""
    commands = [arguments.command] if arguments.command else list(context.checks)
    if not commands:
        raise ToolRefused("this job names no checks: give `command`, e.g. the project's own test command")
    reports: list[str] = []
    verdicts: list[dict[str, object]] = []
    artifact: str | None = None
    for number, command in enumerate(commands, 1):
        result, text, kept = await execute(context, command, timeout_s=arguments.timeout_s, label=f"check-{number}")
        artifact = kept or artifact
        ending = describe(result, min(arguments.timeout_s, context.policy.max_command_s))
        reports.append(f"{'PASSED' if result.ok else 'FAILED'}: {command}\n{text.rstrip()}\n[{ending}]")
        verdicts.append({"command": command, "passed": result.ok, "exit_code": result.exit_code})
    return _verdict(reports, verdicts, artifact)


async def execute(  # one command, one row of options
    context: ToolContext, command: str, *, timeout_s: float, cwd: str = ".", label: str = "output"
) -> tuple[CommandResult, str, str | None]:
    """Run `command` within policy; its result, its bounded text and the artifact with all of it."""
    allowed = context.policy.check_command(command)
    context.policy.check_read(cwd)
    capture = Capture(context, f"{context.call_id or 'call'}-{label}.log")
    try:
        result = await context.workspace.run(
            allowed,
            timeout_s=min(timeout_s, context.policy.max_command_s),
            cwd=cwd,
            max_output_bytes=4 * context.policy.max_output_chars,
            on_output=capture.take,
        )
    except BaseException:
        await capture.abandon()
        raise
    text, artifact = await capture.finish(result)
    return result, text, artifact


def describe(result: CommandResult, timeout_s: float) -> str:
    """`exit status 1, 3.2 s`, or why it was killed."""
    took = f"{result.duration_s:.1f} s"
    if result.timed_out:
        return f"killed: it ran longer than {timeout_s:g} s; give it a longer timeout_s or less to do"
    if result.exit_code is None:
        return f"killed by signal {result.signal} after {took} (out of memory?)"
    return f"exit status {result.exit_code}, {took}"


def _verdict(reports: Sequence[str], verdicts: list[dict[str, object]], artifact: str | None) -> ToolResult:
    passed = sum(bool(verdict["passed"]) for verdict in verdicts)
    headline = f"{passed} of {len(verdicts)} checks passed."
    ok = passed == len(verdicts)
    return ToolResult("\n\n".join([headline, *reports]), ok=ok, artifact=artifact, facts={"checks": verdicts})


SHELL = Tool(
    "shell",
    "Run a command with bash in the sandbox and see its output (stdout and stderr together) and exit status. "
    "Each call is a new shell: use cwd instead of cd. Output that is long is shown by its head and tail. "
    "Nobody answers prompts: pass --yes, or the like.",
    Shell,
    shell,
    effects="tree",
)
RUN_TESTS = Tool(
    "run_tests",
    "Run the job's checks, or a command of yours, and see which passed. Prefer this to shell for tests.",
    RunTests,
    run_tests,
    effects="tree",
)
TOOLS = (SHELL, RUN_TESTS)
