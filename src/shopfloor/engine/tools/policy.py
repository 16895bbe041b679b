"""What an agent's tools may do. Policies only ever narrow: nothing a repository says can widen one."""

from __future__ import annotations

import fnmatch
import re
import shlex
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shopfloor.engine.tools.result import ToolRefused

CommandRule = Literal["any", "listed", "none"]
_SHELL_SYNTAX = re.compile(r"[;&|<>`$(){}\n\\*?\[\]~#!]")


class ToolPolicy(BaseModel):
    """Bounds on the tools of one run. The sandbox is the boundary; this is what the agent is told and held to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commands: CommandRule = "any"  # listed: only what `allowed_commands` matches, without shell syntax
    allowed_commands: tuple[str, ...] = ()  # globs over the whole command line, e.g. `pytest *`
    writable: tuple[str, ...] = ("**",)  # globs over paths; a path that none matches can't be written
    hidden: tuple[str, ...] = ()  # globs over paths that can be neither read nor written
    network: bool = False  # what the sandbox was given; said to the agent, enforced outside
    max_command_s: int = Field(default=900, ge=1, le=86_400)
    max_output_chars: int = Field(default=20_000, ge=500, le=200_000)  # of one result, as the model sees it
    max_artifact_bytes: int = Field(default=268_435_456, ge=0)  # of one output kept whole
    within: tuple[ToolPolicy, ...] = ()  # policies that must allow it too (see `narrowed`)

    def narrowed(self, by: ToolPolicy) -> ToolPolicy:
        """The policy that grants only what both grant."""
        return self.model_copy(
            update={
                "network": self.network and by.network,
                "max_command_s": min(self.max_command_s, by.max_command_s),
                "max_output_chars": min(self.max_output_chars, by.max_output_chars),
                "max_artifact_bytes": min(self.max_artifact_bytes, by.max_artifact_bytes),
                "within": (*self.within, by),
            }
        )

    def check_command(self, command: str) -> str | list[str]:
        """What to run: the text for a shell, or an argument list where only listed commands are allowed.

        Raises: ToolRefused.
        """
        verdicts = [policy.check_command(command) for policy in self.within]
        if self.commands == "any":
            return next((verdict for verdict in verdicts if isinstance(verdict, list)), command)
        if self.commands == "none":
            raise ToolRefused("this agent runs no commands; use its other tools")
        if _SHELL_SYNTAX.search(command):
            raise ToolRefused(f"only single commands without shell syntax are allowed here: {self._allowed()}")
        if not any(_matches(command.strip(), pattern) for pattern in self.allowed_commands):
            raise ToolRefused(f"{command[:200]!r} is not among the allowed commands: {self._allowed()}")
        try:
            return shlex.split(command)
        except ValueError as error:
            raise ToolRefused(f"the command can't be read: {error}") from error

    def hides(self, path: str) -> bool:
        """The path, already normal, is one that agents don't get to see."""
        return any(_path_matches(path, pattern) for pattern in self.all_hidden)

    @property
    def all_hidden(self) -> tuple[str, ...]:
        """Hidden by this policy or one it lies within."""
        return tuple(dict.fromkeys((*self.hidden, *(glob for policy in self.within for glob in policy.all_hidden))))

    def check_read(self, path: str) -> str:
        """`path`, normalised. Raises: ToolRefused."""
        clean = normal_path(path)
        if self.hides(clean):
            raise ToolRefused(f"{clean} is hidden from agents by policy", path=clean)
        return clean

    def check_write(self, path: str) -> str:
        """`path`, normalised. Raises: ToolRefused."""
        clean = self.check_read(path)
        for policy in self.within:
            policy.check_write(clean)
        if clean == ".git" or clean.startswith(".git/"):
            raise ToolRefused("files below .git are not written by agents", path=clean)
        if not any(_path_matches(clean, pattern) for pattern in self.writable):
            raise ToolRefused(f"{clean} may not be written; allowed: {', '.join(self.writable) or 'nothing'}")
        return clean

    def _allowed(self) -> str:
        return ", ".join(f"`{pattern}`" for pattern in self.allowed_commands) or "none"


def normal_path(path: str) -> str:
    """`./a//b/` as `a/b`; `.` for the root. Leading slashes and `..` stay: the workspace refuses them."""
    parts = [part for part in path.split("/") if part not in {"", "."}]
    joined = "/".join(parts)
    return f"/{joined}" if path.startswith("/") else joined or "."


def _matches(command: str, pattern: str) -> bool:
    return command == pattern or fnmatch.fnmatchcase(command, pattern)


def _path_matches(path: str, pattern: str) -> bool:
    """Globs as in .gitignore, near enough: `**` any depth, a folder's name also stands for what is below it."""
    if pattern in {"**", "*"}:
        return True
    bare = pattern.removesuffix("/**").rstrip("/")
    below = fnmatch.fnmatchcase(path, f"{bare}/*")
    anywhere = pattern.startswith("**/") and fnmatch.fnmatchcase(path.rsplit("/", 1)[-1], pattern[3:])
    return path == bare or below or anywhere or fnmatch.fnmatchcase(path, pattern)
