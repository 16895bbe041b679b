"""Which calls of a job need a person's yes. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

_DAY_S = 86_400
# Where one command of a shell's line ends and the next begins, near enough: asking too often does no harm.
_SEPARATORS = re.compile(r"&&|\|\||[;|&\n]|\$\(|`|[(){}]")


class ApprovalRules(BaseModel):
    """What has to be asked for, as a job carries it. The sandbox is the boundary; this is about what people want."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tools: tuple[str, ...] = ()  # every call of these
    commands: tuple[str, ...] = ()  # shell commands that match one of these globs, alone or as a part of a line
    push: bool = False  # before a result leaves for its branch
    by_others: bool = False  # whoever submitted the job doesn't decide
    expires_after_s: int = _DAY_S  # then it counts as rejected

    def asks_for(self, tool: str, arguments: Mapping[str, Any]) -> bool:
        """Whether this call needs a yes."""
        if tool in self.tools:
            return True
        command = arguments.get("command")
        if not isinstance(command, str) or not self.commands:
            return False
        parts = [command, *_SEPARATORS.split(command)]
        texts = {" ".join(part.split()) for part in parts}
        return any(fnmatch.fnmatchcase(text, pattern) for text in texts for pattern in self.commands)


def merged(defaults: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """A project's rules and what a job asks for beside them: a job can only be stricter."""
    return {
        name: value
        for name, value in {
            "tools": _both(defaults.get("tools"), asked.get("tools")),
            "commands": _both(defaults.get("commands"), asked.get("commands")),
            "push": bool(defaults.get("push") or asked.get("push")),
            "by_others": bool(defaults.get("by_others") or asked.get("by_others")),
            "expires_after_s": min(defaults.get("expires_after_s") or _DAY_S, asked.get("expires_after_s") or _DAY_S),
        }.items()
        if value and (name != "expires_after_s" or value != _DAY_S)
    }


def _both(first: Sequence[str] | None, second: Sequence[str] | None) -> list[str]:
    return list(dict.fromkeys((*(first or ()), *(second or ()))))
