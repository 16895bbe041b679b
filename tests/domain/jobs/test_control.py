"""What people do to a job: cancel in any state, retry, fork before any turn, replay."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from ledgers import ledger_of
from shopfloor.base.errors import InvalidInput, PermissionDenied, ShopfloorError
from shopfloor.base.principal import Principal
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.control import cancel, fork, replay, retry
from shopfloor.domain.jobs.errors import JobEnded, JobNotFound, ProjectClosed, ReplayDiverged, TurnUnknown
from shopfloor.domain.jobs.journal import JobJournal
from shopfloor.domain.jobs.lease import Lease, Result, finish, park
from shopfloor.domain.jobs.lifecycle import State, WaitingReason
from shopfloor.domain.jobs.meter import JobMeter
from shopfloor.engine.providers.port import Attempt, ModelRef, Usage
from shopfloor.infra.tx import Store, begin


async def _cancel(store: Store, by: Principal, job_id: UUID) -> Any:
    async with begin(store, by) as tx:
        return await cancel(tx, job_id)


async def _end(store: Store, lease: Lease, state: State = State.SUCCEEDED) -> None:
    async with begin(store, lease.principal) as tx:
        await finish(tx, lease, Result(state, "finished"))


@pytest.mark.parametrize("admitted", [False, True])
async def test_a_queued_job_is_cancelled_at_once(admitted: bool, make_job, admit, store: Store, owner, events_of):
    job = await make_job()
    if admitted:
        await admit()
    for _ in range(2):  # asking twice is fine, and tells it once
        now = await _cancel(store, owner, job.id)
        assert (now.state, now.ending) == ("cancelled", "cancelled")
        assert now.finished_at is not None
    assert [event.kind for event in await events_of(job.id)] == ["job.queued", "job.cancelled"]
    assert await admit() == []


async def test_a_waiting_job_is_cancelled_at_once(make_job, claim, store: Store, owner):
    lease = await claim((await make_job()).id)
    async with begin(store, lease.principal) as tx:
        await park(tx, lease, WaitingReason.PROVIDER, wait_s=60, error=ShopfloorError("down"))
    now = await _cancel(store, owner, lease.job_id)
    assert (now.state, now.waiting_reason) == ("cancelled", None)


async def test_a_running_job_is_told_once_and_ended_by_its_worker(make_job, claim, store: Store, owner, events_of):
    lease = await claim((await make_job()).id)
    for _ in range(2):
        now = await _cancel(store, owner, lease.job_id)
        assert now.state == "running"
        assert now.cancel_requested_at is not None
    await _end(store, lease, State.CANCELLED)
    kinds = [event.kind for event in await events_of(lease.job_id)]
    assert kinds == ["job.queued", "job.running", "job.cancelling", "job.cancelled"]
    assert (await _cancel(store, owner, lease.job_id)).state == "cancelled"


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.DEAD])
async def test_an_ended_job_is_not_cancelled(state: State, make_job, claim, store: Store, owner, look):
    lease = await claim((await make_job()).id)
    await _end(store, lease, state)
    with pytest.raises(JobEnded, match=f"it is {state}"):
        await _cancel(store, owner, lease.job_id)
    assert (await look(lease.job_id)).state == state


async def test_another_organization_finds_no_job_whatever_it_tries(
    make_job, claim, make_organization, store: Store, desk, look
):
    lease = await claim((await make_job()).id)
    await _end(store, lease)
    other = await make_organization()
    for verb in (
        lambda tx: cancel(tx, lease.job_id),
        lambda tx: retry(tx, lease.job_id),
        lambda tx: replay(tx, lease.job_id),
        lambda tx: fork(tx, desk, lease.job_id, before_turn=1, changes={}),
    ):
        with pytest.raises(JobNotFound):
            async with begin(store, other) as tx:
                await verb(tx)
    assert (await look(lease.job_id)).state == "succeeded"


async def test_each_verb_needs_its_permission(make_job, claim, store: Store, owner: Principal, desk):
    lease = await claim((await make_job()).id)
    await _end(store, lease)
    reader = Principal("key", owner.id, owner.organization_id, frozenset({"job.read"}))
    for verb in (
        lambda tx: cancel(tx, lease.job_id),
        lambda tx: retry(tx, lease.job_id),
        lambda tx: replay(tx, lease.job_id),
        lambda tx: fork(tx, desk, lease.job_id, before_turn=1, changes={}),
    ):
        with pytest.raises(PermissionDenied):
            async with begin(store, reader) as tx:
                await verb(tx)


async def test_a_retry_asks_the_same_from_the_start(make_job, claim, store: Store, owner, steps_of, journal_of):
    job = await make_job(checks=["pytest -q"], labels={"a": "b"}, priority=4, limits={"turns": 9})
    with pytest.raises(JobEnded, match="Cancel it first"):
        async with begin(store, owner) as tx:
            await retry(tx, job.id)
    lease = await claim(job.id)
    await Story(store, lease, await journal_of(lease)).turn(1)
    await _end(store, lease, State.FAILED)
    async with begin(store, owner) as tx:
        again = await retry(tx, job.id)
    same = ("project_id", "agent", "task", "model", "checks", "limits", "network", "labels", "priority")
    assert {name: getattr(again, name) for name in same} == {name: getattr(job, name) for name in same}
    assert (again.state, again.parent_id, again.mode, again.cost_nanos) == ("queued", job.id, "run", 0)
    assert await steps_of(again.id) == []


@pytest.mark.parametrize("verb", ["retry", "fork", "replay"])
async def test_a_closed_project_takes_no_repeated_jobs_either(verb: str, make_job, claim, store: Store, owner, desk):
    lease = await claim((await make_job()).id)
    await _end(store, lease)
    async with begin(store, owner) as tx:
        await tx.execute("update projects set status = 'archived'")
        repeat = {
            "retry": lambda: retry(tx, lease.job_id),
            "fork": lambda: fork(tx, desk, lease.job_id, before_turn=1, changes={}),
            "replay": lambda: replay(tx, lease.job_id),
        }
        with pytest.raises(ProjectClosed):
            await repeat[verb]()


class Story:
    """An agent by hand: each turn is a paid reply, a tool that writes, and an agent it delegates to."""

    def __init__(self, store: Store, lease: Lease, journal: JobJournal) -> None:
        self.journal = journal
        self.meter = JobMeter(ledger_of(store), lease)
        self.made: list[str] = []

    async def turn(self, number: int) -> None:
        await self._reply(self.journal, number, f"reply {number}")
        await self._tool(self.journal, number, f"write-{number}")

        async def delegate() -> dict[str, Any]:
            child = self.journal.child(f"helper-{number}")
            await self._reply(child, 1, f"helped {number}")
            await self._tool(child, 1, "write")
            return {"helped": number}

        await self.journal.tool_result(number, f"helper-{number}", "delegate", {}, "none", delegate)

    async def _reply(self, journal: JobJournal, number: int, text: str) -> None:
        async def call() -> dict[str, Any]:
            self.made.append(text)
            hold = await self.meter.hold(Attempt(ModelRef("mock", "small"), 1, 100, 10))
            await self.meter.settle(hold, Usage(input_tokens=1), 50)
            return {"parts": [{"part_kind": "text", "content": text}]}

        assert (await journal.model_reply(number, {}, call))["parts"][0]["content"] == text

    async def _tool(self, journal: JobJournal, number: int, call_id: str) -> None:
        async def call() -> dict[str, Any]:
            self.made.append(call_id)
            self.journal._snapshots.changed = True  # type: ignore[attr-defined]
            return {"wrote": call_id}

        await journal.tool_result(number, call_id, "write_file", {}, "tree", call)


@pytest.mark.parametrize("before_turn", [1, 2, 3, 4])
async def test_a_fork_has_exactly_what_was_finished_before_its_turn_at_no_cost(
    before_turn: int, make_job, claim, store: Store, owner, desk, journal_of, steps_of, books
):
    lease = await claim((await make_job()).id)
    story = Story(store, lease, await journal_of(lease))
    for number in (1, 2, 3):
        await story.turn(number)
    await _end(store, lease)
    parent = await steps_of(lease.job_id)
    async with begin(store, owner) as tx:
        child = await fork(tx, desk, lease.job_id, before_turn=before_turn, changes={"task": "Differently"})
        trees = await jobs.snapshots(tx, lease.job_id)
        taken = await jobs.snapshots(tx, child.id)
    copied = await steps_of(child.id)

    assert [_facts(step) for step in copied] == [_facts(step) for step in parent[: 5 * (before_turn - 1)]]
    assert taken == trees[: 2 * (before_turn - 1)]
    assert sum(step.cost_nanos for step in copied) == 0
    assert {step.run_id for step in copied} <= {None}
    assert await books(child.id) == {"cost": 0, "held": 0, "unknown": 0}
    assert (child.task, child.parent_id, child.fork_turn) == ("Differently", lease.job_id, before_turn)

    lease = await claim(child.id)
    going_on = Story(store, lease, await journal_of(lease))
    for number in (1, 2, 3):
        await going_on.turn(number)
    assert going_on.made == story.made[4 * (before_turn - 1) :]
    assert (await books(child.id))["cost"] == 100 * (4 - before_turn)


def _facts(step: Any) -> tuple[Any, ...]:
    return (step.scope, step.turn, step.kind, step.key, step.result, step.snapshot_sha, step.state)


async def test_a_fork_of_a_fork_has_both_their_work_in_order(
    make_job, claim, store: Store, owner, desk, journal_of, steps_of
):
    lease = await claim((await make_job()).id)
    await Story(store, lease, await journal_of(lease)).turn(1)
    await _end(store, lease)
    for number in (2, 3):
        async with begin(store, owner) as tx:
            child = await fork(tx, desk, lease.job_id, before_turn=number, changes={})
            trees = await jobs.snapshots(tx, lease.job_id)
            assert await jobs.snapshots(tx, child.id) == trees
        lease = await claim(child.id)
        await Story(store, lease, await journal_of(lease)).turn(number)
        await _end(store, lease)
    async with begin(store, owner) as tx:
        assert [sha for sha, _ in await jobs.snapshots(tx, lease.job_id)] == [f"commit-{n}" for n in range(1, 7)]
        last = await fork(tx, desk, lease.job_id, before_turn=2, changes={})
        assert [sha for sha, _ in await jobs.snapshots(tx, last.id)] == ["commit-1", "commit-2"]
    steps = await steps_of(lease.job_id)
    assert [(step.scope, step.turn, step.key) for step in steps if not step.scope and step.kind == "model"] == [
        ("", 1, ""), ("", 2, ""), ("", 3, "")
    ]  # fmt: skip
    assert len(steps) == 15


async def test_a_fork_of_a_running_job_leaves_what_is_in_flight(
    make_job, claim, store, owner, desk, journal_of, steps_of
):
    lease = await claim((await make_job()).id)
    journal = await journal_of(lease)
    await Story(store, lease, journal).turn(1)
    await journal._intend(2, "model", "", "model", {}, "none")
    async with begin(store, owner) as tx:
        child = await fork(tx, desk, lease.job_id, before_turn=2, changes={})
    assert len(await steps_of(child.id)) == 5
    assert {step.state for step in await steps_of(child.id)} == {"done"}


@pytest.mark.parametrize("before_turn", [-1, 0, 3])
async def test_a_turn_that_is_not_there_cannot_be_forked_from(
    before_turn: int, make_job, claim, store, owner, desk, journal_of
):
    lease = await claim((await make_job()).id)
    await Story(store, lease, await journal_of(lease)).turn(1)
    with pytest.raises(TurnUnknown, match="turns 1 to 1"):
        async with begin(store, owner) as tx:
            await fork(tx, desk, lease.job_id, before_turn=before_turn, changes={})


@pytest.mark.parametrize(
    "changes", [{"agent": "review"}, {"task": ""}, {"task": "\x00"}, {"limits": {"turns": 0}}, {"limits": {"x": 1}}]
)
async def test_a_fork_with_changes_that_do_not_hold_together_is_refused(
    changes: dict[str, Any], make_job, claim, store, owner, desk, journal_of
):
    lease = await claim((await make_job()).id)
    await Story(store, lease, await journal_of(lease)).turn(1)
    with pytest.raises(InvalidInput):
        async with begin(store, owner) as tx:
            await fork(tx, desk, lease.job_id, before_turn=1, changes=changes)


async def test_a_replay_repeats_the_replies_without_a_model_and_runs_the_tools(
    make_job, claim, store: Store, owner, journal_of, steps_of, books
):
    lease = await claim((await make_job(push_branch="shopfloor/fix")).id)
    for number in (1, 2):
        await Story(store, lease, await journal_of(lease)).turn(number)
    await _end(store, lease)
    async with begin(store, owner) as tx:
        again = await replay(tx, lease.job_id)
    assert (again.mode, again.network, again.parent_id) == ("replay", [], lease.job_id)
    assert again.push_branch is None  # a replay leaves nothing outside
    lease = await claim(again.id)
    story = Story(store, lease, await journal_of(lease))
    for number in (1, 2):
        await story.turn(number)
    assert story.made == ["write-1", "write", "write-2", "write"]  # tools run, no model is called
    assert await books(again.id) == {"cost": 0, "held": 0, "unknown": 0}
    assert {step.state for step in await steps_of(again.id)} == {"done"}
    with pytest.raises(ReplayDiverged, match="turn 3"):
        await story.turn(3)
