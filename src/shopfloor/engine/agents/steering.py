"""When a run is reminded, and when it ends: turns, time, circles, silence."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart

from shopfloor.base.clock import Clock
from shopfloor.engine.agents.history import Track, words_only
from shopfloor.engine.agents.journal import Journal
from shopfloor.engine.agents.outcome import Ending
from shopfloor.engine.agents.prompt import FINISH_REMINDER, nudge, turns_left
from shopfloor.engine.agents.stuck import find_circle
from shopfloor.engine.agents.task import AgentLimits

WARN_TURNS_LEFT = 3
MIN_TURNS_FOR_WARNING = 8
WORDS_IN_A_ROW = 2  # replies without a call: the first is reminded, the second ends the run


class Stop(Exception):
    """The run ends here; not an error."""

    def __init__(self, ending: Ending, detail: str) -> None:
        super().__init__(detail)
        self.ending = ending
        self.detail = detail


@dataclass
class Steering:
    """The rules of one run. All but `check_time` depend on the conversation alone."""

    limits: AgentLimits
    journal: Journal
    clock: Clock
    nudged: str = ""  # why, once it was
    _words: int = 0

    async def before_turn(self, turn: int, track: Track, reply: ModelMessage | None) -> list[str]:
        """What to tell the agent now. Raises: Stop."""
        if turn > self.limits.turns:
            raise Stop(Ending.TURN_LIMIT, f"the limit of {self.limits.turns} turns is reached")
        said = [*self._silence(reply), *await self._circle(track)]
        if self.limits.turns >= MIN_TURNS_FOR_WARNING and self.limits.turns - turn + 1 == WARN_TURNS_LEFT:
            said.append(turns_left(WARN_TURNS_LEFT))
        return said

    def check_time(self) -> None:
        """Raises: Stop once the deadline has passed. Only before calls that are really made."""
        if self.remaining_s() <= 0:
            raise Stop(Ending.TIME_LIMIT, "the time limit is reached")

    def remaining_s(self) -> float:
        """Seconds until the deadline; infinite without one."""
        if self.limits.deadline is None:
            return float("inf")
        return (self.limits.deadline - self.clock.now()).total_seconds()

    def check_reply(self, reply: ModelResponse) -> None:
        """Raises: Stop if the provider says that the model declined."""
        if reply.finish_reason == "content_filter" and words_only(reply):
            raise Stop(Ending.REFUSED, f"the model or its provider declined: {_said(reply) or 'without a word'}")

    def _silence(self, reply: ModelMessage | None) -> list[str]:
        if not isinstance(reply, ModelResponse):
            return []
        if not words_only(reply):
            self._words = 0
            return []
        self._words += 1
        if self._words >= WORDS_IN_A_ROW:
            raise Stop(Ending.REFUSED, f"it answered {self._words} times without a tool call, last: {_said(reply)}")
        return [FINISH_REMINDER]

    async def _circle(self, track: Track) -> list[str]:
        circle = find_circle(track.events)
        if circle is None:
            return []
        if self.nudged:
            raise Stop(Ending.STUCK, f"{circle.detail}, after a reminder ({self.nudged})")
        self.nudged = circle.pattern
        track.events.clear()
        await self.journal.note("agent.nudged", {"pattern": circle.pattern, "detail": circle.detail})
        return [nudge(circle.detail)]


def _said(reply: ModelResponse) -> str:
    words = " ".join(part.content for part in reply.parts if isinstance(part, TextPart)).strip()
    return f"{words[:300]}..." if len(words) > 300 else words  # noqa: PLR2004 - a sentence for people
