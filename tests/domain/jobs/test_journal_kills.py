"""Killed at every boundary of the journal, a job goes on on another worker: nothing done twice, nothing lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from ledgers import ledger_of
from shopfloor.domain.jobs.journal import JobJournal, Record
from shopfloor.domain.jobs.lease import Lease, Result, finish
from shopfloor.domain.jobs.lifecycle import State
from shopfloor.domain.jobs.meter import JobMeter, Turn, turn_in_hand
from shopfloor.engine.agents.journal import Json
from shopfloor.engine.providers.port import Attempt, ModelRef, Usage
from shopfloor.infra.tx import Store, perform

PRICE_NANOS, BOUND_NANOS = 70, 100
Call = tuple[str, int, str]  # scope, turn, what


@dataclass
class World:
    """What the outside sees of an agent: calls that reached the provider, tools that ran."""

    tree: Any
    made: Counter[Call] = field(default_factory=Counter[Call])

    async def work(self, through: Store, lease: Lease, journal: JobJournal) -> None:
        """Two turns; the second delegates to an agent of one turn. Then the job ends."""
        meter = JobMeter(ledger_of(through), lease)
        await self._ask(meter, journal, "", 1)
        await asyncio.gather(self._tool(journal, "", 1, "read", "none"), self._tool(journal, "", 1, "write", "tree"))
        await self._ask(meter, journal, "", 2)

        async def delegate() -> Json:
            child = journal.child("helper")
            await self._ask(meter, child, "helper", 1)
            await self._tool(child, "helper", 1, "write", "tree")
            return {"ok": True}

        await journal.tool_result(2, "helper", "delegate", {}, "none", delegate)
        await journal.note("plan.updated", {})
        result = Result(State.SUCCEEDED, "finished")
        await perform(through, lease.principal, lambda tx: finish(tx, lease, result), patience_s=5)

    async def _ask(self, meter: JobMeter, journal: JobJournal, scope: str, turn: int) -> None:
        async def call() -> Json:
            hold = await meter.hold(Attempt(ModelRef("mock", "small"), 1, BOUND_NANOS, 10))
            self.made[scope, turn, "model"] += 1  # from here on the provider bills it
            await meter.settle(hold, Usage(input_tokens=10, output_tokens=5), PRICE_NANOS)
            return {"parts": [{"part_kind": "text", "content": f"turn {turn}"}]}

        reply = await journal.model_reply(turn, {"messages": turn}, call)
        assert reply["parts"][0]["content"] == f"turn {turn}"

    async def _tool(self, journal: JobJournal, scope: str, turn: int, name: str, effects: Any) -> None:
        async def call() -> Json:
            self.made[scope, turn, name] += 1
            self.tree.changed = effects == "tree"
            return {"out": name}

        assert await journal.tool_result(turn, name, name, {}, effects, call) == {"out": name}


CALLS = {
    ("", 1, "model"), ("", 1, "read"), ("", 1, "write"), ("", 2, "model"),
    ("helper", 1, "model"), ("helper", 1, "write"),
}  # fmt: skip
ONCE = {"job.succeeded": 1, "model.replied": 3, "tool.finished": 4}


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
async def test_a_job_killed_at_any_commit_goes_on_and_repeats_nothing(
    after: bool, make_job, claim, resume, journal_of, dying, tree, store: Store, look, events_of, steps_of, books
):
    kills = 0
    while True:
        job = await make_job()
        world = World(tree)
        lease = await claim(job.id)
        through = dying(kills + 1, after=after)
        try:
            await world.work(through, lease, await journal_of(lease, through))
        except through.Killed:
            pass
        else:
            break  # it had fewer transactions than that
        kills += 1
        recorded = {
            (step.scope, step.turn, step.key or "model") for step in await steps_of(job.id) if step.state == "done"
        }
        made = Counter(world.made)
        if (await look(job.id)).state == "running":
            lease = await resume(job.id)
            await world.work(store, lease, await journal_of(lease))

        for call in CALLS & recorded:
            assert world.made[call] == made[call] == 1, f"kill {kills}: {call} was recorded, and made again"
        assert set(world.made) == CALLS
        again = {call for call, times in world.made.items() if times > 1}
        assert len(again) <= 1 or again == {("", 1, "read"), ("", 1, "write")}, f"kill {kills}: {again}"
        await _is_whole(job.id, world, look, events_of, steps_of, books)
    assert kills == 3 * 4 + 4 * 2 + 1 + 1  # model calls, tool calls, the note, the end


async def _is_whole(job_id: Any, world: World, look: Any, events_of: Any, steps_of: Any, books: Any) -> None:
    job, events, steps = await look(job_id), await events_of(job_id), await steps_of(job_id)
    assert job.state == "succeeded"
    assert [event.seq for event in events] == list(range(1, job.last_seq + 1))
    kinds = Counter(event.kind for event in events)
    assert {kind: kinds[kind] for kind in ONCE} == ONCE
    assert kinds["plan.updated"] in {1, 2}  # a note is not part of the record
    assert kinds["tool.started"] - 4 == sum(step.attempt - 1 for step in steps if step.kind == "tool")
    assert len(steps) == 7
    assert {step.state for step in steps} == {"done"}
    assert len({step.done_seq for step in steps}) == 7
    assert [step.snapshot_sha is not None for step in steps if step.key == "write"] == [True, True]
    money = await books(job_id)
    paid = sum(world.made[call] for call in CALLS if call[2] == "model")
    assert money["held"] == 0
    assert money["cost"] - money["unknown"] == 3 * PRICE_NANOS
    assert money["unknown"] in {0, BOUND_NANOS}
    assert money["cost"] >= paid * PRICE_NANOS  # the provider's own bill is never higher than ours


async def test_an_answer_lost_at_the_commit_doubles_nothing(
    make_job, claim, journal_of, tree, store: Store, postgres: str, look, events_of, steps_of, books
):
    job = await make_job()
    world = World(tree)
    lease = await claim(job.id)
    journal = await journal_of(lease)
    async with _lost_answers(postgres) as cut:
        await world.work(store, lease, journal)
    assert cut["answers"] >= 10
    assert set(world.made.values()) == {1}
    await _is_whole(job.id, world, look, events_of, steps_of, books)
    assert [step.attempt for step in await steps_of(job.id)] == [1] * 7
    assert await books(job.id) == {"cost": 3 * PRICE_NANOS, "held": 0, "unknown": 0}


async def test_a_hold_whose_answer_is_lost_is_held_once(make_job, claim, store: Store, postgres: str, books, attempt):
    lease = await claim((await make_job()).id)
    turn_in_hand.set(Turn(1))
    async with _lost_answers(postgres) as cut:
        await JobMeter(ledger_of(store), lease).hold(attempt(100))
    assert cut["answers"] >= 1
    assert await books(lease.job_id) == {"cost": 0, "held": 100, "unknown": 0}


async def test_connections_cut_at_random_moments_lose_and_double_nothing(
    make_job, claim, journal_of, tree, store: Store, postgres: str, look, events_of, steps_of, books
):
    stop, chance = asyncio.Event(), random.Random(5)
    cuts = 0

    async def cut() -> None:
        nonlocal cuts
        async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as admin:
            while not stop.is_set():
                cursor = await admin.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'shopfloor_app'"
                )
                cuts += len(await cursor.fetchall())
                await asyncio.sleep(chance.uniform(0.3, 0.8))

    leases = [await claim((await make_job()).id) for _ in range(6)]
    worlds = [World(tree) for _ in leases]
    cutting = asyncio.create_task(cut())
    try:
        for world, lease in zip(worlds, leases, strict=True):
            await world.work(store, lease, await journal_of(lease, record=Record()))
    finally:
        stop.set()
        await cutting
    assert cuts > 0
    for world, lease in zip(worlds, leases, strict=True):
        assert set(world.made.values()) == {1}
        await _is_whole(lease.job_id, world, look, events_of, steps_of, books)


class _lost_answers:  # noqa: N801 - reads as a statement in `async with`
    """Cut every other connection of the application when its commit is durable and its answer isn't sent yet.

    A commit that waits for a standby which is not there is already on the disk; whoever is cut off then never hears
    of it. Source: PostgreSQL manual, synchronous_standby_names; src/backend/replication/syncrep.c.
    """

    def __init__(self, postgres: str) -> None:
        self._postgres = postgres
        self._found = {"answers": 0}
        self._let_by = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> dict[str, int]:
        await self._set("nobody")
        self._task = asyncio.create_task(self._cut())
        return self._found

    async def __aexit__(self, *error: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._set("")

    async def _cut(self) -> None:
        admin = await psycopg.AsyncConnection.connect(self._postgres, autocommit=True)
        async with admin:
            while True:
                cursor = await admin.execute("select pid, usename from pg_stat_activity where wait_event = 'SyncRep'")
                for pid, user in await cursor.fetchall():
                    lose_it = user == "shopfloor_app" and not self._let_by
                    self._let_by = lose_it
                    self._found["answers"] += lose_it
                    end = "terminate" if lose_it else "cancel"  # cancel: the wait ends, the answer is sent
                    await admin.execute(f"select pg_{end}_backend({pid})")  # type: ignore[arg-type]
                await asyncio.sleep(0.01)

    async def _set(self, standbys: str) -> None:
        async with await psycopg.AsyncConnection.connect(self._postgres, autocommit=True) as admin:
            await admin.execute(f"alter system set synchronous_standby_names = '{standbys}'")  # type: ignore[arg-type]
            await admin.execute("select pg_reload_conf()")
            async with asyncio.timeout(10):
                while True:
                    cursor = await admin.execute("show synchronous_standby_names")
                    if await cursor.fetchone() == (standbys,):
                        return
                    await asyncio.sleep(0.01)
