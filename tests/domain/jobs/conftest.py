"""A desk that knows two agents and every model, the shortest way to a running job, and a second tenant."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from ledgers import ledger_of
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.jobs import dispatch, lease
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.journal import JobJournal, Record, StoredSnapshot, load
from shopfloor.domain.jobs.lease import Lease
from shopfloor.domain.jobs.models import Event, Job, Step
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.domain.jobs.submit import Desk, Submission, submit
from shopfloor.engine.providers.port import Attempt, ModelRef
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, Tx, begin, begin_system

MODEL = ModelRef("mock", "small")


async def _any_model(tx: Tx, model: str) -> str:
    del tx
    return model


def _any_repository(url: str, hosts: list[str]) -> None:
    del url, hosts


@pytest.fixture
def desk() -> Desk:
    """Knows the agents coding and review, and takes every model and repository."""
    settings = JobsSettings(default_model="mock/small", max_crashes=5, max_failures=5)
    return Desk(settings, lambda: ["coding", "review"], _any_model, _any_repository)


@pytest.fixture
async def registered(store: Store) -> Store:
    """A store whose queue knows the task that runs jobs."""

    async def run_job(**arguments: Any) -> None:
        del arguments

    store.services.queue.task(dispatch.RUN_TASK, run_job, queue=dispatch.RUN_QUEUE)
    return store


@pytest.fixture
def make_job(registered: Store, owner: Principal, desk: Desk) -> Callable[..., Awaitable[Job]]:
    """Submit a job; keyword arguments are the submission's. `by` is who submits."""

    async def make(by: Principal = owner, **fields: Any) -> Job:
        async with begin(registered, by) as tx:
            job, _ = await submit(tx, desk, Submission(**({"task": "Fix it"} | fields)))
            return job

    return make


@pytest.fixture
def admit(registered: Store, desk: Desk) -> Callable[..., Awaitable[list[UUID]]]:
    """One round of admission; keyword arguments replace settings."""

    async def round_(**settings: Any) -> list[UUID]:
        async with begin_system(registered) as tx:
            return await dispatch.admit(tx, desk.settings.model_copy(update=settings))

    return round_


@pytest.fixture
def claim(registered: Store, owner: Principal, admit: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Lease]]:
    """Admit what may be admitted, then claim one job."""

    async def take(job_id: UUID, worker: str = "worker-1") -> Lease:
        await admit()
        async with begin(registered, lease.worker_principal(owner.organization_id, worker)) as tx:
            claimed = await lease.claim(tx, job_id, worker=worker)
            assert claimed is not None
            return claimed

    return take


@pytest.fixture
def lose(registered: Store, desk: Desk) -> Callable[..., Awaitable[list[UUID]]]:
    """Let the job's run fall silent long ago, rescue it, and drop the pause before its next run."""

    async def fall_silent(job_id: UUID) -> list[UUID]:
        async with begin_system(registered) as tx:
            await tx.execute(
                "update runs set heartbeat_at = now() - interval '1 hour', claimed_at = now() - interval '2 hours' "
                "where job_id = %s and state = 'running'",
                (job_id,),
            )
        async with asyncio.timeout(10):
            while True:
                rescued = await round_(job_id)
                async with begin_system(registered) as tx:
                    left = await tx.one("select 1 from runs where job_id = %s and state = 'running'", (job_id,))
                if left is None:
                    return rescued
                await asyncio.sleep(0.01)  # another task of the worker that died still holds the row: passed over

    async def round_(job_id: UUID) -> list[UUID]:
        # A heart-beat limit that is shorter than the life of the test's server: its start counts as one.
        async with begin_system(registered) as tx:
            settings = desk.settings.model_copy(update={"heartbeat_limit_s": 0.001})
            rescued = await dispatch.rescue(tx, settings, chance=random.Random(1))
            await tx.execute("update jobs set not_before = null where id = %s", (job_id,))
        await dispatch.close_left(registered, ledger_of(registered))
        return rescued

    return fall_silent


@pytest.fixture
def resume(
    claim: Callable[..., Awaitable[Lease]], lose: Callable[..., Awaitable[Any]]
) -> Callable[..., Awaitable[Lease]]:
    """The lease of another worker, after the first died."""

    async def take_over(job_id: UUID, worker: str = "worker-2") -> Lease:
        await lose(job_id)
        return await claim(job_id, worker)

    return take_over


@pytest.fixture
def look(store: Store, owner: Principal) -> Callable[..., Awaitable[Job]]:
    """The job as it is now."""

    async def read(job_id: UUID, by: Principal = owner) -> Job:
        async with begin(store, by) as tx:
            return await jobs.job(tx, job_id)

    return read


@pytest.fixture
def events_of(store: Store, owner: Principal) -> Callable[..., Awaitable[list[Event]]]:
    """Every event of the job, in order."""

    async def read(job_id: UUID) -> list[Event]:
        async with begin(store, owner) as tx:
            return await jobs.events(tx, job_id, after=0, limit=100_000)

    return read


@pytest.fixture
def steps_of(store: Store, owner: Principal) -> Callable[..., Awaitable[list[Step]]]:
    """Every step of the job, in order."""

    async def read(job_id: UUID) -> list[Step]:
        async with begin(store, owner) as tx:
            return await jobs.steps(tx, job_id)

    return read


class Tree:
    """A working tree that is changed by hand; each snapshot is numbered."""

    def __init__(self) -> None:
        self.changed = False
        self.taken = 0

    async def take(self) -> StoredSnapshot | None:
        """A new snapshot if the tree has changed since the last."""
        if not self.changed:
            return None
        self.changed = False
        self.taken += 1
        return StoredSnapshot(f"commit-{self.taken}", f"blob-{self.taken}")


@pytest.fixture
def tree() -> Tree:
    """A working tree without changes."""
    return Tree()


@pytest.fixture
def journal_of(store: Store, tree: Tree) -> Callable[..., Awaitable[JobJournal]]:
    """The journal of a lease, with what earlier runs recorded. `through` is another store to write through."""

    async def make(of: Lease, through: Store | None = None, record: Record | None = None) -> JobJournal:
        if record is None:
            async with begin(store, of.principal) as tx:
                record = await load(tx, of.job)
        return JobJournal(through or store, of, Notifier(store.database), tree, record)

    return make


@pytest.fixture
def make_organization(registered: Store) -> Callable[..., Awaitable[Principal]]:
    """Another organization with the project `default`; its owner."""

    async def make(*, most: int = 20, project_most: int = 10) -> Principal:
        organization_id = new_id()
        async with begin_system(registered) as tx:
            await tx.execute(
                "insert into organizations (id, name, max_running_jobs) values (%s, 'Other', %s)",
                (organization_id, most),
            )
        other = Principal("user", new_id(), organization_id, frozenset({"*"}), name="Other")
        await _project(registered, other, "default", project_most)
        return other

    return make


@pytest.fixture
def make_project(registered: Store, owner: Principal) -> Callable[..., Awaitable[UUID]]:
    """Another project of the organization; its id."""

    async def make(slug: str, *, most: int = 10, by: Principal = owner) -> UUID:
        return await _project(registered, by, slug, most)

    return make


async def _project(store: Store, by: Principal, slug: str, most: int) -> UUID:
    project_id = new_id()
    async with begin_system(store) as tx:
        await tx.execute(
            "insert into projects (id, organization_id, slug, name, max_running_jobs) values (%s, %s, %s, %s, %s)",
            (project_id, by.organization_id, slug, slug, most),
        )
    return project_id


@pytest.fixture
def books(store: Store) -> Callable[..., Awaitable[dict[str, int]]]:
    """The job's money, checked against its holds; what it has cost, holds and has booked as unknown."""

    async def check(job_id: UUID) -> dict[str, int]:
        async with begin_system(store) as tx:
            job = await tx.one("select cost_nanos, held_nanos, unknown_nanos from jobs where id = %s", (job_id,))
            holds = await tx.one(
                "select coalesce(sum(bound_nanos) filter (where state = 'held'), 0)::bigint as held_nanos, "
                "coalesce(sum(cost_nanos) filter (where state in ('settled', 'unknown')), 0)::bigint as cost_nanos, "
                "coalesce(sum(cost_nanos) filter (where state = 'unknown'), 0)::bigint as unknown_nanos, "
                "coalesce(sum(cost_nanos) filter (where state in ('held', 'released')), 0)::bigint as wrong "
                "from holds where job_id = %s",
                (job_id,),
            )
        assert job is not None
        assert holds is not None
        assert holds.pop("wrong") == 0
        assert job == holds
        assert min(job.values()) >= 0
        return {name.removesuffix("_nanos"): value for name, value in job.items()}

    return check


@pytest.fixture
def attempt() -> Callable[..., Attempt]:
    """One request that is about to leave."""

    def make(bound_nanos: int = 100, number: int = 1) -> Attempt:
        return Attempt(MODEL, number, bound_nanos, 100)

    return make


class Killed(BaseException):
    """What a `kill -9` looks like from inside: nothing after it happens."""


class DyingStore(Store):
    """A store whose process dies before or after its n-th transaction (1-based), and then writes nothing more."""

    Killed = Killed

    def __init__(self, store: Store, *, at: int, after: bool) -> None:
        super().__init__(store.database, store.services)
        self.database = _DyingDatabase(store, at=at, after=after)  # type: ignore[assignment]


class _DyingDatabase:
    def __init__(self, store: Store, *, at: int, after: bool) -> None:
        self._store = store
        self._at = at
        self._after = after
        self.count = 0
        self.app = self

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        self.count += 1
        if self.count > self._at or (self.count == self._at and not self._after):
            raise Killed
        async with self._store.database.app.connection() as connection:
            yield connection
        if self.count == self._at:
            raise Killed


@pytest.fixture
def dying(store: Store) -> Callable[..., DyingStore]:
    """A store that dies at a transaction."""

    def make(at: int, *, after: bool) -> DyingStore:
        return DyingStore(store, at=at, after=after)

    return make
