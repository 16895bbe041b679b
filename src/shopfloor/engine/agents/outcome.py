"""How a run of an agent ended. Endings are values, not errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Ending(StrEnum):
    """Why the loop stopped."""

    FINISHED = "finished"
    TURN_LIMIT = "turn-limit"
    COST_LIMIT = "cost-limit"
    TIME_LIMIT = "time-limit"
    STUCK = "stuck"
    REFUSED = "refused"  # the model declined, or its reply was filtered
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What the loop hands back. `output` fits the spec's output schema when the ending is FINISHED."""

    ending: Ending
    output: dict[str, Any] | None = None
    detail: str = ""  # one sentence for people: why it ended so
    turns: int = 0
    tool_calls: int = 0
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
