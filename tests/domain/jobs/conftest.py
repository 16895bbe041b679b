"""A desk that knows one agent and every model, and the shortest way to a running job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from shopfloor.base.principal import Principal
from shopfloor.domain.jobs import dispatch, lease
from shopfloor.domain.jobs.lease import Lease
from shopfloor.domain.jobs.models import Job
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.domain.jobs.submit import Desk, Submission, submit
from shopfloor.infra.tx import Store, Tx, begin, begin_system


async def _any_model(tx: Tx, model: str) -> None:
    del tx, model


@pytest.fixture
def desk() -> Desk:
    """Knows the agents coding and review, and takes every model and repository."""
    settings = JobsSettings(default_model="mock/small")
    return Desk(settings, lambda: ["coding", "review"], _any_model, lambda url, hosts: None)


@pytest.fixture
async def registered(store: Store) -> Store:
    """A store whose queue knows the task that runs jobs."""

    async def run_job(**arguments: Any) -> None:
        del arguments

    store.services.queue.task(dispatch.RUN_TASK, run_job, queue=dispatch.RUN_QUEUE)
    return store


@pytest.fixture
def make_job(registered: Store, owner: Principal, desk: Desk) -> Callable[..., Awaitable[Job]]:
    """Submit a job; keyword arguments are the submission's."""

    async def make(**fields: Any) -> Job:
        async with begin(registered, owner) as tx:
            job, _ = await submit(tx, desk, Submission(**({"task": "Fix it"} | fields)))
            return job

    return make


@pytest.fixture
def claim(registered: Store, owner: Principal, desk: Desk) -> Callable[..., Awaitable[Lease]]:
    """Admit what may be admitted, then claim one job."""

    async def take(job_id: UUID, worker: str = "worker-1") -> Lease:
        async with begin_system(registered) as tx:
            await dispatch.admit(tx, desk.settings)
        async with begin(registered, lease.worker_principal(owner.organization_id, worker)) as tx:
            claimed = await lease.claim(tx, job_id, worker=worker)
            assert claimed is not None
            return claimed

    return take
