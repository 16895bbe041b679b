"""The platform's own checks: which commands decide, and what came of them. An agent's word is never evidence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shopfloor.engine.workspace import CommandResult, FileMissing, PathRefused, Workspace

_TAIL_CHARS = 8_000
_MANIFEST_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One command's outcome in a fresh sandbox."""

    command: str
    passed: bool
    exit_code: int | None
    timed_out: bool
    duration_s: float
    output: str  # its end, for people

    def as_dict(self) -> dict[str, Any]:
        """As it is stored and served."""
        return asdict(self)


def verdict(results: Sequence[CheckResult]) -> bool | None:
    """Whether the result is verified: None when nothing was there to check."""
    return all(result.passed for result in results) if results else None


async def run_checks(workspace: Workspace, commands: Sequence[str], *, timeout_s: float) -> list[CheckResult]:
    """Run each command, in order, whatever the ones before came to."""
    return [_result(command, await workspace.run(command, timeout_s=timeout_s)) for command in commands]


async def detect_checks(workspace: Workspace) -> list[str]:
    """The commands that a project of this shape is tested with; empty when nothing says so.

    Looked up on the tree before the agent worked: what the agent adds can't choose its own judge.
    """
    names = {entry.path for entry in (await workspace.list_files(depth=1, limit=5_000)).entries}
    if "Makefile" in names and "\ntest:" in "\n" + await _text(workspace, "Makefile"):
        return ["make test"]
    if names & {"pytest.ini", "tests", "test", "conftest.py"} and names & _PYTHON:
        return ["python3 -m pytest -q"]
    if "package.json" in names and _has_test_script(await _text(workspace, "package.json")):
        return ["npm test --silent"]
    return [command for manifest, command in _BY_MANIFEST.items() if manifest in names][:1]


_PYTHON = {"pyproject.toml", "setup.py", "setup.cfg", "pytest.ini", "tox.ini", "requirements.txt", "conftest.py"}
_BY_MANIFEST = {
    "go.mod": "go test ./...",
    "Cargo.toml": "cargo test --quiet",
    "pom.xml": "mvn -q test",
    "mix.exs": "mix test",
    "Gemfile": "bundle exec rake test",
}
_PLACEHOLDER = "no test specified"  # what `npm init` writes where there are no tests


def _has_test_script(manifest: str) -> bool:
    try:
        script = json.loads(manifest).get("scripts", {}).get("test", "")
    except (ValueError, AttributeError):
        return False
    return bool(script) and _PLACEHOLDER not in str(script)


async def _text(workspace: Workspace, path: str) -> str:
    try:
        content = await workspace.read_file(path, limit_bytes=_MANIFEST_BYTES)
    except (FileMissing, PathRefused):
        return ""
    return content.data.decode("utf-8", "replace")


def _result(command: str, done: CommandResult) -> CheckResult:
    output = done.output.decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if len(output) > _TAIL_CHARS:
        output = f"[... {len(output) - _TAIL_CHARS} characters left out ...]\n" + output[-_TAIL_CHARS:]
    return CheckResult(command, done.ok, done.exit_code, done.timed_out, round(done.duration_s, 3), output)
