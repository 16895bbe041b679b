"""What an agent is asked, and within which bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

DEFAULT_CONTEXT_TOKENS = 128_000
MAX_TASK_CHARS = 200_000  # of the task as the model sees it: more is cut, and the agent told so


@dataclass(frozen=True, slots=True)
class AgentTask:
    """One piece of work. `text` is what a person or a program asked for."""

    text: str
    facts: dict[str, str] = field(default_factory=dict[str, str])  # told to the agent as they are, e.g. {"ref": "main"}
    checks: tuple[str, ...] = ()  # commands that decide whether it is done


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """Bounds of one run. Cost is bounded by the model that is passed in: it raises CostLimitReached."""

    turns: int = 100  # model calls, those that were recorded before included
    deadline: datetime | None = None  # aware UTC; looked at before each call that is really made
    context_tokens: int = DEFAULT_CONTEXT_TOKENS  # the model's window
    max_output_tokens: int | None = None  # of one reply; None: what the spec or the model says
    compactions: int = 20
    delegations: int = 8
    depth: int = 2  # agents below this one, and below those
