"""What a worker works with, and the case it has in hand: one run, its parts opened in order and closed in reverse."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic_ai.models import Model

from shopfloor.base.clock import Clock
from shopfloor.domain.budgets.ledger import Ledger
from shopfloor.domain.jobs.events import EventData, Once
from shopfloor.domain.jobs.gate import Gate
from shopfloor.domain.jobs.lease import Lease, hold_fast
from shopfloor.domain.jobs.meter import JobMeter
from shopfloor.domain.jobs.network_watch import NetworkWatch
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.domain.jobs.tree import CredentialsOf, JobTree
from shopfloor.engine.agents.spec import AgentSpec
from shopfloor.engine.git.cache import RepositoryCache
from shopfloor.engine.git.command import Git
from shopfloor.engine.sandbox.port import Egress, Sandbox, Sandboxes, SandboxLimits, SandboxSpec
from shopfloor.infra.blobs import BlobStore
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, Tx, perform

_SHORTEST_CHECK_S = 60.0
_AFTERWARDS_S = 1_800  # a sandbox outlives the job's time limit: the result is saved after it
_RECORD_PATIENCE_S = 120.0  # for a database that is away at the end of a run

Tell = Callable[[str, dict[str, Any]], Awaitable[None]]  # kind and data of one event
OpenModel = Callable[[Lease, AgentSpec, JobMeter, Tell], Awaitable["OpenedModel"]]


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """The model of a run. `model_for` gives that of an agent it delegates to; `context_tokens` is its window."""

    model: Model
    model_for: Callable[[AgentSpec], Model]
    context_tokens: int | None
    aclose: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a worker works with. One a process."""

    store: Store
    ledger: Ledger
    notifier: Notifier
    sandboxes: Sandboxes
    git: Git
    cache: RepositoryCache
    blobs: BlobStore
    settings: JobsSettings
    sandbox_limits: SandboxLimits
    clock: Clock
    chance: random.Random
    work_dir: Path
    agents: Mapping[str, AgentSpec]
    open_model: OpenModel
    credentials_of: CredentialsOf
    gate: Gate | None = None  # None: nobody is asked for anything (a run in one terminal)


@dataclass(slots=True)
class Case:
    """One run in hand: what has been opened so far, closed in reverse order."""

    bench: Bench
    lease: Lease
    folder: Path
    stack: AsyncExitStack
    tree: JobTree | None = None
    sandbox: Sandbox | None = None
    image: str | None = None
    checks: list[str] = field(default_factory=list[str])
    opened_s: float = 0.0  # on the clock's monotonic scale
    network: NetworkWatch = field(init=False)

    def __post_init__(self) -> None:
        self.network = NetworkWatch(self.say)

    def left_s(self) -> float:
        """What is left of the job's time limit."""
        job = self.lease.job
        return max(0.0, job.limit().timeout_s - job.spent_s - (self.bench.clock.monotonic() - self.opened_s))

    def check_timeout_s(self) -> float:
        """For one check: the installation's limit, within what the job has left, but never too short to tell."""
        return min(self.bench.settings.check_timeout_s, max(_SHORTEST_CHECK_S, self.left_s()))

    async def say(self, *lines: tuple[str, EventData]) -> None:
        """Add lines to the job's stream, if the run still owns the job."""
        said = Once(*lines)

        async def work(tx: Tx) -> None:
            await hold_fast(tx, self.lease)
            await said.emit(tx, self.lease.job_id)
            tx.after_commit(lambda: self.bench.notifier.wake(f"job:{self.lease.job_id}"))

        await self.write(work)

    async def write(self, work: Callable[[Tx], Awaitable[Any]]) -> Any:
        """One transaction as the worker, waiting for a database that is away."""
        return await perform(self.bench.store, self.lease.principal, work, patience_s=_RECORD_PATIENCE_S)


@asynccontextmanager
async def opened_case(bench: Bench, lease: Lease) -> AsyncGenerator[Case]:
    """A case with a folder of its own; everything in it is closed at the end, also while being cancelled."""
    folder = bench.work_dir / str(lease.run_id)
    folder.mkdir(mode=0o700, parents=True)
    stack = AsyncExitStack()
    try:
        case = Case(bench, lease, folder, stack, opened_s=bench.clock.monotonic())
        stack.push_async_callback(case.network.aclose)
        yield case
    finally:
        await to_its_end(stack.aclose())
        await to_its_end(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


async def to_its_end(closing: Coroutine[Any, Any, Any]) -> None:
    """Close even while being cancelled: each call in it has a time limit of its own."""
    task, cancelled = asyncio.ensure_future(closing), False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


@asynccontextmanager
async def opened_sandbox(case: Case, purpose: Literal["agent", "check"]) -> AsyncGenerator[Sandbox]:
    """A sandbox for the case, removed at the end, also while being cancelled."""
    sandbox = await case.bench.sandboxes.open(sandbox_spec(case, purpose))
    try:
        yield sandbox
    finally:
        await to_its_end(sandbox.aclose())


def sandbox_spec(case: Case, purpose: Literal["agent", "check", "build"]) -> SandboxSpec:
    """What to open for the case; it lives as long as the job may, and a while longer."""
    job, limits = case.lease.job, case.bench.sandbox_limits
    return SandboxSpec(
        job_id=job.id,
        run_id=case.lease.run_id,
        purpose=purpose,
        limits=replace(limits, lifetime_s=max(limits.lifetime_s, int(case.left_s()) + _AFTERWARDS_S)),
        egress=Egress(tuple(job.network), case.network.saw),
        image=case.image,
        env={"PYTHONDONTWRITEBYTECODE": "1"},  # else each test run leaves .pyc files in the diff
    )
