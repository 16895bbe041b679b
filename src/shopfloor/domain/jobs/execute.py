"""The worker's story of one run: from a leased job to a diff that the platform has checked itself."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import structlog
from psycopg.types.json import Jsonb
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel

from shopfloor.base.clock import Clock
from shopfloor.base.errors import ShopfloorError
from shopfloor.base.money import nanos_from_usd
from shopfloor.domain.jobs import journal as journals
from shopfloor.domain.jobs import lease as leases
from shopfloor.domain.jobs.checks import CheckResult, detect_checks, run_checks, verdict
from shopfloor.domain.jobs.errors import LeaseLost, ReplayDiverged
from shopfloor.domain.jobs.events import EventData, emit
from shopfloor.domain.jobs.journal import JobJournal, StoredSnapshot
from shopfloor.domain.jobs.keep import Keeper
from shopfloor.domain.jobs.lease import Lease, Result, hold_fast
from shopfloor.domain.jobs.lifecycle import State, WaitingReason, pause_s, state_after
from shopfloor.domain.jobs.meter import JobMeter
from shopfloor.domain.jobs.publish import push_result
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.domain.jobs.tree import CredentialsOf, JobTree, changes_of, open_tree
from shopfloor.engine.agents.loop import run_agent
from shopfloor.engine.agents.outcome import AgentResult, Ending
from shopfloor.engine.agents.registry import find_agent
from shopfloor.engine.agents.spec import AgentSpec
from shopfloor.engine.agents.task import AgentLimits, AgentTask
from shopfloor.engine.git.cache import RepositoryCache
from shopfloor.engine.git.command import Git
from shopfloor.engine.providers.port import ProviderError
from shopfloor.engine.sandbox.port import Egress, Environment, Sandbox, Sandboxes, SandboxLimits, SandboxSpec
from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.policy import ToolPolicy
from shopfloor.engine.workspace import WorkspaceError, WorkspaceLost
from shopfloor.infra.blobs import BlobStore
from shopfloor.infra.database import DatabaseUnavailable
from shopfloor.infra.notify import Notifier
from shopfloor.infra.outbound import HostUnresolved
from shopfloor.infra.tx import Store, Tx, perform

log = structlog.get_logger(__name__)

_LAST_SNAPSHOT_S = 1.0  # after a cancel: what the agent was at is kept if that is quick
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


@dataclass(slots=True)
class _Case:
    """One run in hand: what has been opened so far, closed in reverse order."""

    bench: Bench
    lease: Lease
    folder: Path
    stack: AsyncExitStack
    tree: JobTree | None = None
    sandbox: Sandbox | None = None
    image: str | None = None
    checks: list[str] = field(default_factory=list[str])

    async def say(self, *lines: tuple[str, EventData]) -> None:
        """Add lines to the job's stream, if the run still owns the job."""

        async def work(tx: Tx) -> None:
            await hold_fast(tx, self.lease)
            await emit(tx, self.lease.job_id, *lines)
            tx.after_commit(lambda: self.bench.notifier.wake(f"job:{self.lease.job_id}"))

        await self.write(work)

    async def write(self, work: Callable[[Tx], Awaitable[Any]]) -> Any:
        """One transaction as the worker, waiting for a database that is away."""
        return await perform(self.bench.store, self.lease.principal, work, patience_s=_RECORD_PATIENCE_S)


async def execute(bench: Bench, lease: Lease, cancel: asyncio.Event) -> None:
    """Run the job to its end, or let it wait, or queue it again; whatever it is, it is recorded.

    Raises: LeaseLost when another worker owns the job by now; CancelledError when this worker shuts down.
    """
    async with _opened(bench, lease) as case:
        try:
            result = await _until(cancel, _story(case))
            if result is None:
                result = await _cancelled(case)
            await case.write(lambda tx: leases.finish(tx, lease, result))
        except (LeaseLost, DatabaseUnavailable):
            raise
        except (ProviderError, HostUnresolved) as error:
            await _wait_for_provider(case, error)
        except ShopfloorError as error:
            await (_try_again(case, error) if error.retryable else _failed(case, error))
        except Exception as error:
            log.exception("run.crashed", job_id=str(lease.job_id))
            await _try_again(case, Defect(f"The platform failed: {type(error).__name__}: {error}"))
    bench.notifier.wake(f"job:{lease.job_id}")


class Defect(ShopfloorError):
    """Something in Shopfloor itself failed while it ran a job; the log has the rest."""

    title = "A defect of the platform"
    retryable = True


async def _story(case: _Case) -> Result:
    """The whole of it, in order; a provider's SDK is loaded meanwhile."""
    spec = find_agent(case.lease.job.agent, case.bench.agents)
    opening = asyncio.create_task(_model(case, spec))
    case.stack.push_async_callback(_closed, opening)
    tree = case.tree = await _repository(case)
    await _environment(case, tree)
    await _baseline(case, tree)
    agent = await _agent(case, tree, spec, opening)
    await _last_snapshot(case, needed=True)
    passed: list[CheckResult] = []
    if agent.ending is Ending.FINISHED and case.checks:
        passed = await _check(case, tree, "after")
    pushed = await _push(case, tree, passed) if agent.ending is Ending.FINISHED else None
    return await _result(case, tree, agent, passed, pushed)


async def _repository(case: _Case) -> JobTree:
    bench, lease = case.bench, case.lease
    tree = await open_tree(
        bench.store,
        lease,
        git=bench.git,
        cache=bench.cache,
        blobs=bench.blobs,
        folder=case.folder,
        credentials_of=bench.credentials_of,
    )
    resumed = {"snapshot": tree.head} if tree.head != tree.base.sha else {}
    await case.say(("repository.ready", {"commit": tree.base.sha, **resumed}))
    return tree


async def _environment(case: _Case, tree: JobTree) -> None:
    """The image that agent and checks start from: the project's own, built once, or the default."""
    wanted = case.lease.job.environment
    if not wanted:
        return
    environment = Environment(
        image=wanted.get("image"), setup=tuple(wanted.get("setup", ())), lock_files=tuple(wanted.get("lock_files", ()))
    )

    async def fill(sandbox: Sandbox) -> None:
        await tree.load(sandbox, at_base=True)

    case.image = await case.bench.sandboxes.prepare(environment, _spec(case, "build"), fill)
    await case.say(("environment.ready", {"image": case.image}))


async def _baseline(case: _Case, tree: JobTree) -> None:
    """How the checks do before the agent touched anything; found out once per job."""
    job = case.lease.job
    if job.checks is not None and (job.baseline is not None or not job.checks):
        case.checks = job.checks
        return
    async with _sandbox(case, "check") as sandbox:
        await tree.load(sandbox, at_base=True)
        case.checks = job.checks if job.checks is not None else await detect_checks(sandbox)
        results = await run_checks(sandbox, case.checks, timeout_s=case.bench.settings.check_timeout_s)
    found = [result.as_dict() for result in results]

    async def keep(tx: Tx) -> None:
        await hold_fast(tx, case.lease)
        await tx.execute(
            "update jobs set checks = %s, baseline = %s where id = %s", (case.checks, Jsonb(found), job.id)
        )

    await case.write(keep)
    await case.say(("checks.baseline", {"results": found, "detected": job.checks is None}))


async def _model(case: _Case, spec: AgentSpec) -> OpenedModel:
    async def tell(kind: str, data: dict[str, Any]) -> None:
        await case.say((kind, data))

    if case.lease.job.mode == "replay":
        return OpenedModel(FunctionModel(_no_model), lambda _: FunctionModel(_no_model), None, _nothing)
    cost_usd = spec.limits.cost_usd
    limit_nanos = nanos_from_usd(cost_usd) if cost_usd is not None else None
    meter = JobMeter(case.bench.store, case.lease, agent_limit_nanos=limit_nanos)
    return await case.bench.open_model(case.lease, spec, meter, tell)


async def _no_model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """A replay reads: whatever the record does not hold, ends it."""
    del messages, info
    raise ReplayDiverged("The replay asks for a reply that the record does not hold.")


async def _nothing() -> None:
    """A replay has no connection to close."""


async def _closed(opening: asyncio.Task[OpenedModel]) -> None:
    if not opening.done():
        opening.cancel()
        await asyncio.wait({opening})
    if not opening.cancelled() and opening.exception() is None:
        await opening.result().aclose()


async def _agent(case: _Case, tree: JobTree, spec: AgentSpec, opening: asyncio.Task[OpenedModel]) -> AgentResult:
    bench, lease, job = case.bench, case.lease, case.lease.job
    sandbox = case.sandbox = await case.stack.enter_async_context(_sandbox(case, "agent"))
    await tree.load(sandbox)
    await case.say(("sandbox.opened", {"isolation": asdict(sandbox.isolation)}))
    record = await case.write(lambda tx: journals.load(tx, job))
    journal = JobJournal(bench.store, lease, bench.notifier, _Snapshots(tree, sandbox), record)
    opened = await opening
    window = await _window(case, opened)
    return await run_agent(
        spec,
        AgentTask(job.task, checks=tuple(case.checks)),
        model=opened.model,
        journal=journal,
        tools=_tools(case, sandbox, tree),
        limits=_limits(case, spec, window),
        clock=bench.clock,
        agents=bench.agents,
        model_for=opened.model_for,
    )


async def _window(case: _Case, opened: OpenedModel) -> int | None:
    """The model's context as the job's first run found it, so that each later run shortens at the same turn."""
    job = case.lease.job
    if job.context_tokens is not None or opened.context_tokens is None:
        return job.context_tokens

    async def keep(tx: Tx) -> None:
        await hold_fast(tx, case.lease)
        await tx.execute("update jobs set context_tokens = %s where id = %s", (opened.context_tokens, job.id))

    await case.write(keep)
    return opened.context_tokens


def _tools(case: _Case, sandbox: Sandbox, tree: JobTree) -> ToolContext:
    bench, lease = case.bench, case.lease
    return ToolContext(
        workspace=sandbox,
        policy=ToolPolicy(network=bool(lease.job.network)),
        artifacts=Keeper(bench.store, bench.blobs, lease),
        checks=tuple(case.checks),
        base_ref=tree.base.sha,
    )


def _limits(case: _Case, spec: AgentSpec, context_tokens: int | None) -> AgentLimits:
    job = case.lease.job
    limit = job.limit()
    left_s = max(0.0, limit.timeout_s - job.spent_s)
    return AgentLimits(
        turns=min(limit.turns, spec.limits.turns),
        deadline=case.bench.clock.now() + timedelta(seconds=left_s),
        context_tokens=min(spec.limits.context_tokens, context_tokens or spec.limits.context_tokens),
        max_output_tokens=spec.limits.max_output_tokens,
    )


async def _check(case: _Case, tree: JobTree, when: str) -> list[CheckResult]:
    """The platform's own look at the result, in a sandbox that the agent never saw."""
    await case.say((f"checks.{when}.started", {"commands": case.checks}))
    async with _sandbox(case, "check") as sandbox:
        await tree.load(sandbox)
        results = await run_checks(sandbox, case.checks, timeout_s=case.bench.settings.check_timeout_s)
    await case.say((f"checks.{when}", {"results": [result.as_dict() for result in results]}))
    return results


async def _push(case: _Case, tree: JobTree, checks: list[CheckResult]) -> dict[str, Any] | None:
    bench = case.bench
    pushed = await push_result(
        bench.git, tree, case.lease.job, verified=verdict(checks), credentials_of=bench.credentials_of
    )
    if pushed is not None:
        await case.say(("result.pushed" if "commit" in pushed else "result.not_pushed", pushed))
    return pushed


async def _result(
    case: _Case, tree: JobTree, agent: AgentResult, checks: list[CheckResult], pushed: dict[str, Any] | None
) -> Result:
    state = state_after(agent.ending)
    error = None if state is State.SUCCEEDED else {"code": agent.ending.value, "detail": agent.detail}
    return Result(
        state,
        agent.ending.value,
        verified=verdict(checks) if state is State.SUCCEEDED else None,
        error=error,
        output=agent.output,
        check_results=[result.as_dict() for result in checks],
        pushed=pushed,
        **await _product(case, tree),
    )


async def _product(case: _Case, tree: JobTree) -> dict[str, Any]:
    """The diff as the platform sees it, kept at every ending."""
    found = await tree.diff(max_patch_bytes=case.bench.settings.patch_bytes)
    digest, size_bytes = await tree.save_patch()
    if not found.empty:
        keeper = Keeper(case.bench.store, case.bench.blobs, case.lease)
        await keeper.add("changes.patch", "text/x-diff", digest, size_bytes)
    return {
        "result_commit": tree.head,
        "changes": changes_of(found),
        "patch_digest": digest,
        "facts": {"files": len(found.files)},
    }


async def _cancelled(case: _Case) -> Result:
    return Result(State.CANCELLED, Ending.CANCELLED.value, **await _saved(case))


async def _failed(case: _Case, error: ShopfloorError) -> None:
    result = Result(State.FAILED, error.code(), error=error.as_dict(), **await _saved(case))
    await case.write(lambda tx: leases.finish(tx, case.lease, result))


async def _try_again(case: _Case, error: ShopfloorError) -> None:
    bench = case.bench
    await case.write(lambda tx: leases.try_again(tx, case.lease, error, bench.settings, chance=bench.chance))


async def _wait_for_provider(case: _Case, error: ShopfloorError) -> None:
    """Park the job, longer each time, until its provider answers or its patience ends."""
    settings = case.bench.settings
    parked, waited_s = await case.write(lambda tx: leases.parked_in_a_row(tx, case.lease))
    if waited_s > settings.provider_patience_s:
        await _failed(case, error)
        return
    asked_s = error.facts.get("retry_after_s")
    floor_s = float(asked_s) if isinstance(asked_s, int | float) else 1.0
    jitter_s = pause_s(parked + 1, base_s=2.0, longest_s=settings.provider_pause_longest_s, chance=case.bench.chance)
    wait_s = min(floor_s + jitter_s, settings.provider_pause_longest_s)
    await case.write(lambda tx: leases.park(tx, case.lease, WaitingReason.PROVIDER, wait_s=wait_s, error=error))


async def _saved(case: _Case) -> dict[str, Any]:
    """What could be saved of a run that ends before its time. The ending is recorded whatever becomes of it."""
    await _last_snapshot(case)
    if case.tree is None:
        return {}
    try:
        return await _product(case, case.tree)
    except (LeaseLost, DatabaseUnavailable):
        raise
    except (ShopfloorError, OSError):
        log.exception("run.product_lost", job_id=str(case.lease.job_id))
        return {}


async def _last_snapshot(case: _Case, *, needed: bool = False) -> None:
    """What changed since the last tool call, if it can be had quickly; what can't is the last recorded state.

    Raises: SnapshotFailed if it is `needed`: a result that leaves out what its agent did is none.
    """
    if case.tree is None or case.sandbox is None:
        return
    try:
        async with asyncio.timeout(_LAST_SNAPSHOT_S):
            await case.tree.take(case.sandbox)
    except (TimeoutError, WorkspaceError, WorkspaceLost):
        log.warning("run.last_snapshot_left_out", job_id=str(case.lease.job_id))
    except (ShopfloorError, OSError):
        if needed:
            raise
        log.warning("run.last_snapshot_failed", job_id=str(case.lease.job_id), exc_info=True)


async def _until(cancel: asyncio.Event, story: Awaitable[Result]) -> Result | None:
    """The story's result, or None once `cancel` is set; the story is then over, its commands killed."""
    work, asked = asyncio.ensure_future(story), asyncio.create_task(cancel.wait())
    try:
        await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            with suppress(asyncio.CancelledError):
                return await work
            return None
        return work.result()
    finally:
        asked.cancel()
        if not work.done():
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work


@asynccontextmanager
async def _opened(bench: Bench, lease: Lease) -> AsyncGenerator[_Case]:
    folder = bench.work_dir / str(lease.run_id)
    folder.mkdir(mode=0o700, parents=True)
    stack = AsyncExitStack()
    try:
        yield _Case(bench, lease, folder, stack)
    finally:
        await _to_its_end(stack.aclose())
        await _to_its_end(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


async def _to_its_end(closing: Coroutine[Any, Any, Any]) -> None:
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
async def _sandbox(case: _Case, purpose: Literal["agent", "check"]) -> AsyncGenerator[Sandbox]:
    sandbox = await case.bench.sandboxes.open(_spec(case, purpose))
    try:
        yield sandbox
    finally:
        await _to_its_end(sandbox.aclose())


def _spec(case: _Case, purpose: Literal["agent", "check", "build"]) -> SandboxSpec:
    job = case.lease.job
    return SandboxSpec(
        job_id=job.id,
        run_id=case.lease.run_id,
        purpose=purpose,
        limits=case.bench.sandbox_limits,
        egress=Egress(tuple(job.network)),
        image=case.image,
    )


@dataclass(frozen=True, slots=True)
class _Snapshots:
    """Implements journal.py::Snapshots for one sandbox."""

    tree: JobTree
    sandbox: Sandbox

    async def take(self) -> StoredSnapshot | None:
        """See journal.py::Snapshots.take."""
        return await self.tree.take(self.sandbox)
