"""The states of a job, its legal moves, and how long to wait before the next try. Pure: no I/O."""

from __future__ import annotations

import random
from enum import StrEnum
from typing import Final

from shopfloor.domain.jobs.errors import JobEnded
from shopfloor.engine.agents.outcome import Ending


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD = "dead"


class WaitingReason(StrEnum):
    """What a waiting job waits for."""

    BUDGET = "budget"
    PROVIDER = "provider"
    APPROVAL = "approval"
    DEPENDENCY = "dependency"


TERMINAL: Final = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.DEAD})

MOVES: Final[dict[State, frozenset[State]]] = {
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, State.WAITING, State.SUCCEEDED, State.FAILED, State.CANCELLED, State.DEAD}),
    State.WAITING: frozenset({State.QUEUED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.DEAD: frozenset(),
}


def check_move(state: State, to: State) -> None:
    """Raises: JobEnded when the move is not legal. Terminal states never change."""
    if to not in MOVES[state]:
        raise JobEnded(f"A job that is {state} can't become {to}.", state=state.value)


def state_after_crash(crashes: int, *, limit: int) -> State:
    """Where a job goes whose run was lost for the `crashes`-th time: queued again, or dead."""
    return State.DEAD if crashes >= limit else State.QUEUED


def state_after(ending: Ending) -> State:
    """The terminal state for how the agent ended."""
    match ending:
        case Ending.FINISHED:
            return State.SUCCEEDED
        case Ending.CANCELLED:
            return State.CANCELLED
        case _:
            return State.FAILED


def pause_s(attempt: int, *, base_s: float = 1.0, longest_s: float = 60.0, chance: random.Random) -> float:
    """Wait before attempt `attempt` (1-based), in seconds, with full jitter.

    Source: AWS Builders' Library, "Timeouts, retries, and backoff with jitter".
    """
    return chance.uniform(0, min(longest_s, base_s * 2 ** min(attempt - 1, 30)))
