"""The reference journal, in memory: what the real one must do, and a way to be killed at each of its boundaries."""

from __future__ import annotations

import copy
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from shopfloor.engine.agents.journal import Effects, Json
from shopfloor.engine.agents.ordering import CallOrder

Boundary = Literal["before", "after"]  # the intent is written but nothing was done; the result is written


class Killed(BaseException):
    """The process ended here. Not an Exception: no code gets to answer it, as with a real kill."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call that was really made: which, and with what."""

    scope: str
    turn: int
    key: str  # "model", or a tool-call id
    tool: str = ""


@dataclass
class JournalStore:
    """What survives a kill: records by (scope, turn, key). Only JSON text is kept, as a database would."""

    records: dict[tuple[str, int, str], str] = field(default_factory=dict[tuple[str, int, str], str])
    requests: dict[tuple[str, int], Json] = field(default_factory=dict[tuple[str, int], Json])
    made: list[Call] = field(default_factory=list[Call])  # in the order they began
    finished: list[Call] = field(default_factory=list[Call])
    notes: list[tuple[str, Json]] = field(default_factory=list[tuple[str, Json]])
    mismatches: list[str] = field(default_factory=list[str])  # requests that differ from the recorded ones


@dataclass
class _Life:
    """What a journal and its children share until the process ends."""

    kill_at: int | None
    snapshot: Callable[[], Awaitable[None]] | None
    order: CallOrder = field(default_factory=CallOrder)
    boundaries: int = 0

    def boundary(self) -> None:
        self.boundaries += 1
        if self.boundaries == self.kill_at:
            raise Killed(f"at boundary {self.boundaries}")


class MemoryJournal:
    """A Journal on a JournalStore. `kill_at=n` raises Killed at the n-th boundary (two for each call, from 1).

    `snapshot` is awaited after each call with effects, before its result counts as done.
    """

    def __init__(
        self,
        store: JournalStore | None = None,
        *,
        kill_at: int | None = None,
        snapshot: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.store = store or JournalStore()
        self._scope = ""
        self._life = _Life(kill_at, snapshot)

    @property
    def boundaries(self) -> int:
        """How many were passed so far."""
        return self._life.boundaries

    async def model_reply(self, turn: int, request: Json, call: Callable[[], Awaitable[Json]]) -> Json:
        """See Journal."""
        self._compare(turn, request)
        return await self._once(Call(self._scope, turn, "model"), "none", call)

    async def tool_result(
        self, turn: int, call_id: str, tool: str, arguments: Json, effects: Effects, call: Callable[[], Awaitable[Json]]
    ) -> Json:
        """See Journal."""
        json.dumps(arguments, allow_nan=False)
        async with self._life.order.turn(effects):
            return await self._once(Call(self._scope, turn, call_id, tool), effects, call)

    async def note(self, kind: str, data: Json) -> None:
        """See Journal."""
        self.store.notes.append((kind, copy.deepcopy(data)))

    def child(self, call_id: str) -> MemoryJournal:
        """See Journal."""
        child = copy.copy(self)
        child._scope = f"{self._scope}/{call_id}" if self._scope else call_id  # noqa: SLF001 - its own class
        return child

    async def _once(self, made: Call, effects: Effects, call: Callable[[], Awaitable[Json]]) -> Json:
        key = (made.scope, made.turn, made.key)
        if key not in self.store.records:
            self._life.boundary()
            self.store.made.append(made)
            result = await call()
            if effects != "none" and self._life.snapshot is not None:
                await self._life.snapshot()
            self.store.records[key] = json.dumps(result, allow_nan=False)
            self.store.finished.append(made)
            self._life.boundary()
        return json.loads(self.store.records[key])

    def _compare(self, turn: int, request: Json) -> None:
        recorded = self.store.requests.setdefault((self._scope, turn), copy.deepcopy(request))
        if recorded != request:
            self.store.mismatches.append(f"{self._scope or 'job'} turn {turn}: {recorded} became {request}")
