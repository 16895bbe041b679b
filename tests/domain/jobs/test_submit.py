"""From a submission to a queued, admitted, claimed job; and what is refused, with which words."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from shopfloor.base.errors import InvalidInput, PermissionDenied
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.jobs import dispatch
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.errors import IdempotencyKeyReused, JobNotFound, ProjectClosed, ProjectOutOfReach
from shopfloor.domain.jobs.lease import Result, finish
from shopfloor.domain.jobs.lifecycle import State
from shopfloor.domain.jobs.submit import Desk, Submission, submit
from shopfloor.infra.tx import Store, Tx, begin, begin_system


async def test_a_submitted_job_is_queued_with_the_projects_defaults(make_job, store: Store, owner: Principal):
    job = await make_job()
    assert (job.state, job.agent, job.model, job.limits["turns"]) == ("queued", "coding", "mock/small", 100)


async def test_a_job_runs_from_submission_to_its_end(make_job, claim, store: Store, owner: Principal):
    job = await make_job()
    lease = await claim(job.id)
    async with begin(store, lease.principal) as tx:
        await finish(tx, lease, Result(State.SUCCEEDED, "finished", verified=True))
    async with begin(store, owner) as tx:
        ended = await jobs.job(tx, job.id)
        events = await jobs.events(tx, job.id, after=0, limit=10)
    assert (ended.state, ended.verified, ended.runs) == ("succeeded", True, 1)
    assert [(event.seq, event.kind) for event in events] == [
        (1, "job.queued"),
        (2, "job.running"),
        (3, "job.succeeded"),
    ]


async def test_what_is_asked_goes_over_the_projects_defaults_and_those_over_the_installations(
    make_job, store: Store, owner: Principal
):
    settings = {"agent": "review", "limits": {"turns": 7}, "checks": ["make test"], "network": ["a.example:443"]}
    async with begin(store, owner) as tx:
        await tx.execute("update projects set settings = %s, priority = 3", (Jsonb(settings),))
    plain = await make_job()
    asked = await make_job(agent="coding", limits={"turns": 9}, checks=[], network=[], priority=0)
    assert (plain.agent, plain.limits["turns"], plain.checks, plain.network, plain.priority) == (
        "review", 7, ["make test"], ["a.example:443"], 3,
    )  # fmt: skip
    assert plain.limits["timeout_s"] == 3_600  # the installation's
    assert (asked.agent, asked.limits["turns"], asked.checks, asked.network, asked.priority) == ("coding", 9, [], [], 0)


TEXTS = ["修复失败的测试", "أصلح الاختبار", "🛠️ ἐπισκευή — Prüfung\n\tzwei", "x" * 262_144]


@pytest.mark.parametrize("task", TEXTS, ids=["Chinese", "Arabic", "mixed", "as long as may be"])
async def test_a_task_in_any_script_comes_back_as_it_was(task: str, make_job, look):
    assert (await look((await make_job(task=task)).id)).task == task


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"task": ""}, "The task is empty"),
    ({"task": " \n\t"}, "The task is empty"),
    ({"task": "x" * 1_048_576}, "1,048,576 bytes long, 262,144 are allowed"),
    ({"task": "é" * 131_073}, "262,146 bytes long"),
    ({"task": "a\x00b"}, "NUL"),
    ({"task": "a\ud800b"}, "surrogate"),
    ({"labels": {"a": "\x00"}}, "NUL"),
    ({"checks": ["make\x00"]}, "NUL"),
    ({"agent": "nobody"}, "There is no agent 'nobody'. There are: coding, review"),
    ({"network": ["a.example:443"]}, "does not allow the network places a.example:443"),
    ({"limits": {"turns": 0}}, "turns: Input should be greater than or equal to 1"),
    ({"limits": {"cost_nanos": -1}}, "cost_nanos"),
    ({"limits": {"speed": 1}}, "speed"),
]


@pytest.mark.parametrize(("fields", "words"), REFUSED, ids=[words for _, words in REFUSED])
async def test_what_does_not_hold_together_is_refused_and_leaves_nothing(
    fields: dict[str, Any], words: str, make_job, store: Store
):
    with pytest.raises(InvalidInput) as refused:
        await make_job(**fields)
    assert words in refused.value.detail
    assert await _count(store) == 0


async def test_an_unknown_model_is_refused_by_whoever_knows_models(store: Store, owner: Principal, desk: Desk):
    async def no_model(tx: Tx, model: str) -> str:
        raise InvalidInput(f"{model} is unknown")

    with pytest.raises(InvalidInput, match="mock/small is unknown"):
        async with begin(store, owner) as tx:
            await submit(tx, replace(desk, check_model=no_model), Submission("Fix it"))


async def test_without_any_model_the_error_says_where_to_set_one(store: Store, owner: Principal, desk: Desk):
    bare = replace(desk, settings=desk.settings.model_copy(update={"default_model": None}))
    with pytest.raises(InvalidInput, match="SHOPFLOOR_JOBS__DEFAULT_MODEL"):
        async with begin(store, owner) as tx:
            await submit(tx, bare, Submission("Fix it"))


@pytest.mark.parametrize("name", ["nowhere", "01a20780-759a-72af-844d-23b0411ab075"])
async def test_an_unknown_project_is_refused(name: str, make_job):
    with pytest.raises(ProjectOutOfReach, match=name):
        await make_job(project=name)


async def test_another_organizations_project_is_unknown(make_job, make_organization, make_project):
    other = await make_organization()
    theirs = await make_project("theirs", by=other)
    assert (await make_job(by=other, project=str(theirs))).project_id == theirs
    with pytest.raises(ProjectOutOfReach):
        await make_job(project=str(theirs))


@pytest.mark.parametrize("status", ["paused", "completed", "archived"])
async def test_a_project_that_is_not_active_takes_no_jobs(status: str, make_job, store: Store, owner: Principal):
    async with begin(store, owner) as tx:
        await tx.execute("update projects set status = %s", (status,))
    with pytest.raises(ProjectClosed, match=status):
        await make_job()


async def test_who_may_not_submit_is_told_which_permission_is_missing(make_job, owner: Principal):
    with pytest.raises(PermissionDenied, match=r"job\.submit"):
        await make_job(by=replace(owner, permissions=frozenset({"job.read"})))
    with pytest.raises(ProjectOutOfReach):
        await make_job(by=replace(owner, project_ids=frozenset({new_id()})))


async def _keyed(store: Store, desk: Desk, by: Principal, key: str, **fields: Any) -> tuple[Any, bool]:
    async with begin(store, by) as tx:
        job, new = await submit(tx, desk, Submission(**({"task": "Fix it"} | fields)), idempotency_key=key)
        return job.id, new


async def test_the_same_key_gives_the_same_job(registered: Store, desk: Desk, owner: Principal):
    first, new = await _keyed(registered, desk, owner, "k", labels={"a": "1", "b": "2"})
    assert new
    assert await _keyed(registered, desk, owner, "k", labels={"b": "2", "a": "1"}) == (first, False)
    assert (await _keyed(registered, desk, owner, "other"))[0] != first


@pytest.mark.parametrize(
    "change",
    [
        {"task": "Break it"},
        {"limits": {"turns": 3}},
        {"checks": []},
        {"network": []},
        {"priority": 0},
        {"repo_ref": "m"},
    ],
)
async def test_the_same_key_with_other_parameters_is_an_error(change, registered: Store, desk: Desk, owner: Principal):
    await _keyed(registered, desk, owner, "k")
    with pytest.raises(IdempotencyKeyReused):
        await _keyed(registered, desk, owner, "k", **change)
    assert await _count(registered) == 1


async def test_500_parallel_submissions_with_one_key_make_one_job(registered: Store, desk: Desk, owner: Principal):
    done = await asyncio.gather(*(_keyed(registered, desk, owner, "k") for _ in range(500)))
    assert len({job_id for job_id, _ in done}) == 1
    assert [new for _, new in done].count(True) == 1
    assert await _count(registered) == 1


async def test_a_key_belongs_to_whoever_used_it(registered: Store, desk: Desk, owner: Principal, make_organization):
    beside, other = replace(owner, id=new_id()), await make_organization()
    made = {(await _keyed(registered, desk, by, "k"))[0] for by in (owner, beside, other)}
    assert len(made) == 3


async def test_a_refused_submission_does_not_use_its_key_up(registered: Store, desk: Desk, owner: Principal):
    with pytest.raises(InvalidInput):
        await _keyed(registered, desk, owner, "k", agent="nobody")
    assert (await _keyed(registered, desk, owner, "k"))[1]


async def test_a_key_is_forgotten_after_a_day_and_not_before(registered: Store, desk: Desk, owner: Principal):
    first, _ = await _keyed(registered, desk, owner, "k")
    for age, forgotten in (("23 hours 59 minutes", 0), ("24 hours 1 minute", 1)):
        async with begin_system(registered) as tx:
            await _age(registered, age)
            assert await dispatch.forget_keys(tx, desk.settings) == forgotten
    second, new = await _keyed(registered, desk, owner, "k")
    assert new
    assert second != first


async def test_another_organizations_job_is_not_found(make_job, make_organization, look):
    job = await make_job()
    assert (await look(job.id)).id == job.id
    with pytest.raises(JobNotFound):
        await look(job.id, by=await make_organization())


async def _age(store: Store, age: str) -> None:
    url = store.database.urls.owner
    assert url is not None
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
        await admin.execute("update idempotency_keys set created_at = now() - %s::interval", (age,))


async def _count(store: Store) -> int:
    async with begin_system(store) as tx:
        row = await tx.one("select count(*) as n from jobs")
    assert row is not None
    return int(row["n"])
