"""The journal on PostgreSQL: intent before an effect, the result before the next effect, a snapshot with it.

A resumed run gets recorded results back, keyed by turn and tool-call id, and goes on with the first thing not done.
Every write names its run: once another worker has taken over, none goes through.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.domain.jobs.errors import ReplayDiverged
from shopfloor.domain.jobs.events import EventData, Once, emit
from shopfloor.domain.jobs.gate import Asked, Gate, ask_first
from shopfloor.domain.jobs.lease import Lease, hold_fast
from shopfloor.domain.jobs.meter import Turn, turn_in_hand
from shopfloor.domain.jobs.metrics import count_reply
from shopfloor.domain.jobs.models import Job
from shopfloor.engine.agents.journal import Effects, Json
from shopfloor.engine.agents.ordering import CallOrder
from shopfloor.engine.git.errors import SnapshotFailed
from shopfloor.infra.json_column import jsonb, jsonb_or_null
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, Tx, perform

_PATIENCE_S = 120.0  # for a database that is away; the lease is lost long before, and then nothing is written


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A commit and the blob of the bundle that leads to it from the one before."""

    sha: str
    digest: str


class Snapshots(Protocol):
    """Saves what a tool changed in the working tree. Domain/jobs/execute.py has the real one."""

    async def take(self) -> StoredSnapshot | None:
        """The new snapshot, its bundle already in the blob store; None when the tree is as before."""
        ...


Key = tuple[str, int, str, str]  # scope, turn, kind, key


@dataclass(slots=True)
class Record:
    """What one job's journals share: those of delegated agents write to the same record and change the same tree."""

    order: CallOrder = field(default_factory=CallOrder)
    done: dict[Key, Json] = field(default_factory=dict[Key, Json])
    replayed: dict[Key, Json] | None = None  # of the job that is replayed; None: this job calls models itself


class JobJournal:
    """Implements engine/agents/journal.py::Journal for one run of one job."""

    def __init__(
        self, store: Store, lease: Lease, notifier: Notifier, snapshots: Snapshots, record: Record,
        *, scope: str = "", gate: Gate | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._lease = lease
        self._notifier = notifier
        self._snapshots = snapshots
        self._record = record
        self._scope = scope
        self._gate = gate

    async def model_reply(self, turn: int, request: Json, call: Callable[[], Awaitable[Json]]) -> Json:
        """See engine/agents/journal.py::Journal.model_reply."""
        key = (self._scope, turn, "model", "")
        known = self._record.done.get(key)
        if known is not None:
            return known
        if self._record.replayed is not None:
            return await self._replay_reply(key, request, self._record.replayed)
        paid = Turn(turn, self._scope)
        turn_in_hand.set(paid)
        await self._intend(turn, "model", "", "model", request, "none")
        try:
            reply = await call()
            told = {**self._where(turn), **_told_of_reply(reply), "cost_nanos": paid.nanos, "usage": paid.usage}
            await self._done(turn, "model", "", reply, paid=paid, snapshot=None, lines=[("model.replied", told)])
        finally:
            # Also when the reply is of no use, or no longer ours to record: the money was spent all the same.
            await paid.settle()
        return reply

    async def tool_result(
        self, turn: int, call_id: str, tool: str, arguments: Json, effects: Effects, call: Callable[[], Awaitable[Json]]
    ) -> Json:
        """See engine/agents/journal.py::Journal.tool_result."""
        known = self._record.done.get((self._scope, turn, "tool", call_id))
        if known is not None:
            return known
        async with self._record.order.turn(effects):
            refusal = await self._answered(Asked("tool", self._scope, turn, call_id, tool, arguments))
            told = {**self._where(turn), "call": call_id, "tool": tool, "arguments": arguments}
            await self._intend(turn, "tool", call_id, tool, arguments, effects, lines=[("tool.started", told)])
            result = await call() if refusal is None else refusal
            result, snapshot = await self._saved(result, effects)
            ended = {**self._where(turn), "call": call_id, "tool": tool, "result": result}
            await self._done(
                turn, "tool", call_id, result, paid=None, snapshot=snapshot, lines=[("tool.finished", ended)]
            )
            return result

    async def _answered(self, asked: Asked) -> Json | None:
        """None: the call may be made; else what the agent gets in its place. Raises: ApprovalNeeded."""
        gate = self._gate
        if gate is None or not self._lease.job.rules().asks_for(asked.tool, asked.arguments):
            return None
        return await ask_first(self._write, self._lease, gate, asked)

    async def _saved(self, result: Json, effects: Effects) -> tuple[Json, StoredSnapshot | None]:
        """The snapshot after a call. Where none can be taken the agent is told, and the next one holds it all."""
        try:
            return result, await self._snapshots.take() if effects != "none" else None
        except SnapshotFailed as error:
            return {**result, "text": f"{result.get('text', '')}\n[{error.detail}]", "unsaved": error.code()}, None

    async def note(self, kind: str, data: Json) -> None:
        """See engine/agents/journal.py::Journal.note."""
        where = {"scope": self._scope} if self._scope else {}
        line = Once((kind, {**where, **data}))

        async def work(tx: Tx) -> None:
            await hold_fast(tx, self._lease)
            await line.emit(tx, self._lease.job_id)
            tx.after_commit(lambda: self._notifier.wake(f"job:{self._lease.job_id}"))

        await self._write(work)

    def child(self, call_id: str) -> JobJournal:
        """See engine/agents/journal.py::Journal.child."""
        scope = f"{self._scope}/{call_id}" if self._scope else call_id
        return JobJournal(
            self._store, self._lease, self._notifier, self._snapshots, self._record, scope=scope, gate=self._gate
        )

    async def _intend(
        self, turn: int, kind: str, key: str, name: str, request: Json, effects: str,
        lines: list[tuple[str, EventData]] | None = None,
    ) -> None:  # fmt: skip
        async def work(tx: Tx) -> None:
            await hold_fast(tx, self._lease)
            added = await tx.execute(
                "insert into steps (id, organization_id, job_id, run_id, scope, turn, kind, key, name, state, request, "
                "effects) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'intended', %s, %s) "
                "on conflict (job_id, scope, turn, kind, key) do update set run_id = excluded.run_id, "
                "state = 'intended', attempt = steps.attempt + 1, request = excluded.request, intended_at = now() "
                "where steps.state <> 'done' and steps.run_id is distinct from excluded.run_id",
                (
                    new_id(), tx.organization_id, self._lease.job_id, self._lease.run_id, self._scope, turn, kind, key,
                    name, jsonb(request), effects,
                ),
            )  # fmt: skip
            if added and lines:
                await self._emit(tx, *lines)

        await self._write(work)

    async def _done(
        self, turn: int, kind: str, key: str, result: Json, *, paid: Turn | None, snapshot: StoredSnapshot | None,
        lines: list[tuple[str, EventData]],
    ) -> None:  # fmt: skip
        async def work(tx: Tx) -> None:
            await hold_fast(tx, self._lease)
            where = (self._lease.job_id, self._scope, turn, kind, key)
            if await tx.one(
                "select 1 from steps where job_id = %s and scope = %s and turn = %s and kind = %s and key = %s "
                "and state = 'done'",
                where,
            ):
                return  # the answer to our first commit was lost
            if paid is not None:
                tx.after_commit(partial(count_reply, self._lease.job.model, paid.nanos, paid.usage))
            seq = await self._emit(tx, *lines)
            await tx.execute(
                "update steps set state = 'done', result = %s, done_at = now(), done_seq = %s, snapshot_sha = %s, "
                "snapshot_digest = %s, usage = %s, cost_nanos = %s, bills = %s "
                "where job_id = %s and scope = %s and turn = %s and kind = %s and key = %s",
                (
                    jsonb(result), seq, snapshot.sha if snapshot else None, snapshot.digest if snapshot else None,
                    jsonb_or_null(paid.usage) if paid else None, paid.nanos if paid else 0,
                    jsonb_or_null(paid.recorded()) if paid else None, *where,
                ),
            )  # fmt: skip
            if kind == "model" and not self._scope:
                await tx.execute(
                    "update jobs set turns = greatest(turns, %s) where id = %s", (turn, self._lease.job_id)
                )

        await self._write(work)
        self._record.done[(self._scope, turn, kind, key)] = result

    async def _replay_reply(self, key: Key, request: Json, recorded: dict[Key, Json]) -> Json:
        reply = recorded.get(key)
        if reply is None:
            raise ReplayDiverged(
                f"The replay asks for turn {key[1]}{' of ' + key[0] if key[0] else ''}, which the job it replays never "
                "finished. Retry or fork that job to go on with a model.",
                turn=key[1],
            )
        await self._intend(key[1], "model", "", "model", request, "none")
        told: EventData = {**self._where(key[1]), **_told_of_reply(reply), "cost_nanos": 0, "replayed": True}
        await self._done(key[1], "model", "", reply, paid=None, snapshot=None, lines=[("model.replied", told)])
        return reply

    async def _emit(self, tx: Tx, *lines: tuple[str, EventData]) -> int:
        seq = await emit(tx, self._lease.job_id, *lines)
        tx.after_commit(lambda: self._notifier.wake(f"job:{self._lease.job_id}"))
        return seq

    async def _write(self, work: Callable[[Tx], Awaitable[Any]]) -> Any:
        return await perform(self._store, self._lease.principal, work, patience_s=_PATIENCE_S)

    def _where(self, turn: int) -> EventData:
        return {"turn": turn, "scope": self._scope} if self._scope else {"turn": turn}


async def load(tx: Tx, job: Job) -> Record:
    """What earlier runs have recorded and, for a replay, what the job replayed has."""
    replayed = await _results(tx, job.parent_id) if job.mode == "replay" and job.parent_id else None
    return Record(done=await _results(tx, job.id), replayed=replayed)


async def _results(tx: Tx, job_id: UUID) -> dict[Key, Json]:
    rows = await tx.all(
        "select scope, turn, kind, key, result from steps where job_id = %s and state = 'done'", (job_id,)
    )
    return {(row["scope"], row["turn"], row["kind"], row["key"]): row["result"] for row in rows}


def _told_of_reply(reply: Json) -> EventData:
    """What watchers see of a reply: its text and which tools it calls."""
    parts: list[Json] = reply.get("parts", [])
    text = "\n".join(part["content"] for part in parts if part.get("part_kind") == "text" and part.get("content"))
    calls = [
        {"call": part["tool_call_id"], "tool": part["tool_name"]}
        for part in parts
        if part.get("part_kind") == "tool-call"
    ]
    return {"model": reply.get("model_name"), "text": text, "calls": calls}
