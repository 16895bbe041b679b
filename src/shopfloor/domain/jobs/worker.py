"""The worker: takes jobs from the queue, keeps their leases alive, and hands them back when it has to go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import psycopg
import structlog
from procrastinate.exceptions import ProcrastinateException

from shopfloor.base.errors import ShopfloorError, Unavailable
from shopfloor.base.ids import new_id
from shopfloor.domain.jobs import lease as leases
from shopfloor.domain.jobs.alone import admit_alone
from shopfloor.domain.jobs.dispatch import RUN_QUEUE, RUN_TASK, Dispatcher
from shopfloor.domain.jobs.errors import LeaseLost
from shopfloor.domain.jobs.lease import Lease
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.infra.ending import end
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, Tx, begin_system, perform

log = structlog.get_logger(__name__)

Execute = Callable[[Lease, asyncio.Event], Awaitable[None]]  # the lease, and an event set when it is to be cancelled

_RECONNECT_S = 1.0
_LOOK_S = 0.5  # between two looks at the one job of a worker that is there for it alone
_CHORES = "default"  # what follows from events; never behind a line of long jobs
_CHORE_SLOTS = 2


@dataclass(slots=True)
class _Slot:
    """One running job."""

    lease: Lease
    cancel: asyncio.Event  # set when somebody asked to cancel it
    task: asyncio.Task[None]


class Worker:
    """One process's worth of slots. `run` returns after `stop`, with every job given back or ended."""

    def __init__(
        self, name: str, store: Store, settings: JobsSettings, notifier: Notifier, dispatcher: Dispatcher,
        execute: Execute, *, only: UUID | None = None,
    ) -> None:  # fmt: skip
        """With `only` it takes that job and no other; the queue stays as it is."""
        self._name = name
        self._store = store
        self._settings = settings
        self._notifier = notifier
        self._dispatcher = dispatcher
        self._execute = execute
        self._running: dict[UUID, _Slot] = {}
        self._claiming: set[asyncio.Task[_Slot | None]] = set()
        self._stopping = asyncio.Event()
        self._only = only
        self._news = asyncio.Event()  # something happened that may let `only` run
        store.services.queue.task(RUN_TASK, self._run_job, queue=RUN_QUEUE, attempts=None)
        notifier.listen(self._woken)

    @property
    def running(self) -> int:
        """How many jobs it runs now."""
        return len(self._running)

    def stop(self) -> None:
        """Give the running jobs back and return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`. A database that is away is waited for."""
        beat = asyncio.create_task(self._beat())
        jobs = (
            self._work(RUN_QUEUE, self._name, self._settings.slots) if self._only is None else self._attend(self._only)
        )
        work = asyncio.create_task(jobs)
        chores = asyncio.create_task(self._work(_CHORES, f"{self._name}-chores", _CHORE_SLOTS))
        told = asyncio.create_task(self._stopping.wait())
        try:
            # A worker whose heart or queue ended by a defect must not go on: its jobs would be taken for lost.
            await asyncio.wait({beat, work, chores, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stopping.set()
            told.cancel()
            # The queue first: it would hand a job that is given back to this worker again, which no longer takes any.
            await end(work)
            await end(chores)
            await asyncio.gather(*self._claiming, return_exceptions=True)
            for slot in self._running.values():
                slot.task.cancel("shutdown")
            await self._emptied()
            await end(beat)

    async def _work(self, queue: str, name: str, slots: int) -> None:
        while True:
            try:
                await self._store.services.queue.work(
                    self._store.database, queues=[queue], name=name, concurrency=slots
                )
            except (psycopg.Error, ProcrastinateException, OSError) as error:
                log.warning("worker.queue_lost", error=str(error))
            await asyncio.sleep(_RECONNECT_S)

    async def _attend(self, job_id: UUID) -> None:
        """Run this job whenever it may run, until cancelled."""
        while True:
            self._news.clear()
            try:
                async with begin_system(self._store) as tx:
                    organization_id = await admit_alone(tx, job_id)
                if organization_id is not None:
                    await self._run_job(str(job_id), str(organization_id))
            except Unavailable as error:
                log.warning("worker.waits", error=error.detail)
            with suppress(TimeoutError):  # a wake-up may be lost
                async with asyncio.timeout(_LOOK_S):
                    await self._news.wait()

    async def _run_job(self, job_id: str, organization_id: str) -> None:
        """The queue's task. Running it twice changes nothing: the second claim finds nothing to claim."""
        claiming = asyncio.create_task(self._claim(job_id, organization_id))
        self._claiming.add(claiming)
        claiming.add_done_callback(self._claiming.discard)
        # Shielded: when the queue is torn down, a claim comes to its end, and a run waits for the database.
        slot = await asyncio.shield(claiming)
        if slot is not None:
            await asyncio.shield(slot.task)

    async def _claim(self, job_id: str, organization_id: str) -> _Slot | None:
        principal = leases.worker_principal(UUID(organization_id), self._name)
        run_id = new_id()  # outside: a second try finds what the first one may have committed

        async def claim(tx: Tx) -> Lease | None:
            return await leases.claim(tx, UUID(job_id), worker=self._name, run_id=run_id)

        lease = await perform(self._store, principal, claim, patience_s=10)
        if lease is None:
            return None
        if self._stopping.is_set():
            await self._give_back(lease)
            return None
        cancel = asyncio.Event()
        slot = _Slot(lease, cancel, asyncio.create_task(self._hold(lease, cancel)))
        self._running[lease.run_id] = slot
        slot.task.add_done_callback(lambda _: self._running.pop(lease.run_id, None))
        self._notifier.wake(f"job:{lease.job_id}")
        await asyncio.sleep(0)  # a task that is cancelled before its first step would not give its job back
        return slot

    async def _hold(self, lease: Lease, cancel: asyncio.Event) -> None:
        structlog.contextvars.bind_contextvars(job_id=str(lease.job_id), organization_id=str(lease.job.organization_id))
        try:
            await self._execute(lease, cancel)
        except LeaseLost:
            log.warning("run.lease_lost", fence=lease.fence)
        except asyncio.CancelledError:
            await self._give_back(lease)
        except ShopfloorError as error:
            log.exception("run.not_recorded", code=error.code())
        finally:
            self._dispatcher.poke()
            self._notifier.wake("admit")

    async def _give_back(self, lease: Lease) -> None:
        try:
            await perform(
                self._store, lease.principal, lambda tx: leases.give_back(tx, lease, f"{self._name} shuts down"),
                patience_s=5,
            )  # fmt: skip
        except LeaseLost:
            log.debug("run.had_ended")  # recorded already: only its sandbox was still being removed
        except Unavailable as error:
            log.warning("run.not_given_back", detail=error.detail)  # its lease runs out instead

    async def _emptied(self) -> None:
        while self._running:
            await asyncio.wait([slot.task for slot in self._running.values()], timeout=10)

    async def _beat(self) -> None:
        """Say each `heartbeat_s` that the runs live; learn which are to be cancelled and which are no longer ours."""
        while True:
            try:
                await self._beat_once()
            except Unavailable as error:
                log.warning("worker.heartbeat_missed", error=error.detail)
            await asyncio.sleep(self._settings.heartbeat_s)

    async def _beat_once(self) -> None:
        mine = dict(self._running)
        if not mine:
            return
        async with begin_system(self._store) as tx:
            live = await leases.beat(tx, list(mine))
        for run_id, slot in mine.items():
            if run_id not in live and run_id in self._running:
                slot.task.cancel("lease lost")
            elif live.get(run_id):
                slot.cancel.set()

    def _woken(self, key: str) -> None:
        """A wake-up of `cancel:<job>` makes cancelling immediate; without it the next heart-beat does."""
        if key in {"admit", "*", f"job:{self._only}"}:
            self._news.set()
        if key.startswith("cancel:"):
            for slot in self._running.values():
                if key == f"cancel:{slot.lease.job_id}":
                    slot.cancel.set()
        elif key == "admit":
            self._dispatcher.poke()
