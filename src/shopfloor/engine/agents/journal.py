"""The journal's port: what was intended and what came of it, so that a resumed run repeats nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol

Json = dict[str, Any]  # JSON-serialisable
Effects = Literal["none", "tree", "outside"]  # what a tool may change: nothing, the working tree, the world


class Journal(Protocol):
    """One agent's journal. Calls are keyed by turn and tool-call id, so nothing depends on the code's version.

    `scope` is "" for the job's agent and the path of tool-call ids for a delegated one.
    Only JSON crosses this port; control flow that a tool expresses by an exception is encoded as a value first.
    """

    async def model_reply(self, turn: int, request: Json, call: Callable[[], Awaitable[Json]]) -> Json:
        """The reply recorded for `turn`, else `call()` made, recorded, and returned.

        `request` is a small description for people and for replay checks (message count, digest), never the prompt.
        """
        ...

    async def tool_result(  # one call, one row: all of it is the key or the record
        self, turn: int, call_id: str, tool: str, arguments: Json, effects: Effects, call: Callable[[], Awaitable[Json]]
    ) -> Json:
        """The result recorded for `call_id`, else `call()` made and recorded.

        After a call with effects on the tree a snapshot is stored before the result counts as done.
        Calls with effects run one at a time in the order asked for; calls without run side by side.
        """
        ...

    async def note(self, kind: str, data: Json) -> None:
        """One event for those who watch (`plan.updated`, `agent.nudged`, `tool.output`); not part of the record."""
        ...

    def child(self, call_id: str) -> Journal:
        """The journal of an agent that tool call `call_id` delegates to."""
        ...
