"""From a submission to a queued, admitted, claimed job."""

from __future__ import annotations

from shopfloor.base.principal import Principal
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.lease import Result, finish
from shopfloor.domain.jobs.lifecycle import State
from shopfloor.infra.tx import Store, begin


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
