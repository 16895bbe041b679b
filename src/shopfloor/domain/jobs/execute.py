"""The worker's story of one run: from a leased job to a diff that the platform has checked itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import structlog
from psycopg.types.json import Jsonb
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel

from shopfloor.base.errors import ShopfloorError
from shopfloor.base.money import nanos_from_usd
from shopfloor.domain.budgets.port import BudgetExhausted
from shopfloor.domain.jobs import journal as journals
from shopfloor.domain.jobs import lease as leases
from shopfloor.domain.jobs.bench import Bench, Case, OpenedModel, opened_case, opened_sandbox, sandbox_spec
from shopfloor.domain.jobs.checks import CheckResult, detect_checks, run_checks, verdict
from shopfloor.domain.jobs.endings import (
    end_failed,
    last_snapshot,
    product,
    queue_again,
    result_of_cancelled,
    wait_for_budget,
    wait_for_provider,
)
from shopfloor.domain.jobs.errors import LeaseLost, ReplayDiverged
from shopfloor.domain.jobs.gate import ApprovalNeeded, Asked, ask_first, wait_for_approval
from shopfloor.domain.jobs.journal import JobJournal, StoredSnapshot
from shopfloor.domain.jobs.keep import Keeper
from shopfloor.domain.jobs.lease import Lease, Result, hold_fast
from shopfloor.domain.jobs.lifecycle import State, state_after
from shopfloor.domain.jobs.meter import JobMeter
from shopfloor.domain.jobs.publish import push_result, to_push
from shopfloor.domain.jobs.tree import JobTree, open_tree
from shopfloor.engine.agents.loop import run_agent
from shopfloor.engine.agents.outcome import AgentResult, Ending
from shopfloor.engine.agents.registry import find_agent
from shopfloor.engine.agents.spec import AgentSpec
from shopfloor.engine.agents.task import AgentLimits, AgentTask
from shopfloor.engine.providers.port import ProviderError
from shopfloor.engine.sandbox.port import Environment, Sandbox
from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.policy import ToolPolicy
from shopfloor.infra.database import DatabaseUnavailable
from shopfloor.infra.outbound import HostUnresolved
from shopfloor.infra.tx import Tx

log = structlog.get_logger(__name__)


async def execute(bench: Bench, lease: Lease, cancel: asyncio.Event) -> None:
    """Run the job to its end, or let it wait, or queue it again; whatever it is, it is recorded.

    Raises: LeaseLost when another worker owns the job by now; CancelledError when this worker shuts down.
    """
    async with opened_case(bench, lease) as case:
        try:
            result = await _until(cancel, _story(case))
            if result is None:
                result = await result_of_cancelled(case)
            await case.network.told()
            await case.write(lambda tx: leases.finish(tx, lease, result))
        except (LeaseLost, DatabaseUnavailable):
            raise
        except BudgetExhausted as error:
            await wait_for_budget(case, error)
        except ApprovalNeeded as error:
            await _wait_for_approval(case, error)
        except (ProviderError, HostUnresolved) as error:
            await wait_for_provider(case, error)
        except ShopfloorError as error:
            await (queue_again(case, error) if error.retryable else end_failed(case, error))
        except Exception as error:
            log.exception("run.crashed", job_id=str(lease.job_id))
            await queue_again(case, Defect(f"The platform failed: {type(error).__name__}: {error}"))
    bench.notifier.wake(f"job:{lease.job_id}")


async def _wait_for_approval(case: Case, error: ApprovalNeeded) -> None:
    gate = case.bench.gate
    assert gate is not None  # it was what asked
    await case.write(lambda tx: wait_for_approval(tx, case.lease, gate, error))


class Defect(ShopfloorError):
    """Something in Shopfloor itself failed while it ran a job; the log has the rest."""

    title = "A defect of the platform"
    retryable = True


async def _story(case: Case) -> Result:
    """The whole of it, in order; a provider's SDK is loaded meanwhile."""
    spec = find_agent(case.lease.job.agent, case.bench.agents)
    opening = asyncio.create_task(_model(case, spec))
    case.stack.push_async_callback(_closed, opening)
    tree = case.tree = await _repository(case)
    await _environment(case, tree)
    await _baseline(case, tree)
    agent = await _agent(case, tree, spec, opening)
    await last_snapshot(case, needed=True)
    passed: list[CheckResult] = []
    if agent.ending is Ending.FINISHED and case.checks:
        passed = await _check(case, tree, "after")
    pushed = await _push(case, tree, passed) if agent.ending is Ending.FINISHED else None
    return await _result(case, tree, agent, passed, pushed)


async def _repository(case: Case) -> JobTree:
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


async def _environment(case: Case, tree: JobTree) -> None:
    """The image that agent and checks start from: the project's own, built once, or the default."""
    wanted = case.lease.job.environment
    if not wanted:
        return
    job = case.lease.job
    environment = Environment(
        image=wanted.get("image"),
        setup=tuple(wanted.get("setup", ())),
        lock_files=tuple(wanted.get("lock_files", ())),
        scope=f"{job.organization_id}/{job.project_id}",
        commit=tree.base.sha,
    )

    async def fill(sandbox: Sandbox) -> None:
        await tree.load(sandbox, at_base=True)

    case.image = await case.bench.sandboxes.prepare(environment, sandbox_spec(case, "build"), fill)
    await case.say(("environment.ready", {"image": case.image}))


async def _baseline(case: Case, tree: JobTree) -> None:
    """How the checks do before the agent touched anything; found out once per job."""
    job = case.lease.job
    if job.checks is not None and (job.baseline is not None or not job.checks):
        case.checks = job.checks
        return
    async with opened_sandbox(case, "check") as sandbox:
        await tree.load(sandbox, at_base=True)
        case.checks = job.checks if job.checks is not None else await detect_checks(sandbox)
        results = await run_checks(sandbox, case.checks, timeout_s=case.check_timeout_s())
    found = [result.as_dict() for result in results]

    async def keep(tx: Tx) -> None:
        await hold_fast(tx, case.lease)
        await tx.execute(
            "update jobs set checks = %s, baseline = %s where id = %s", (case.checks, Jsonb(found), job.id)
        )

    await case.write(keep)
    await case.say(("checks.baseline", {"results": found, "detected": job.checks is None}))


async def _model(case: Case, spec: AgentSpec) -> OpenedModel:
    async def tell(kind: str, data: dict[str, Any]) -> None:
        await case.say((kind, data))

    if case.lease.job.mode == "replay":
        return OpenedModel(FunctionModel(_no_model), lambda _: FunctionModel(_no_model), None, _nothing)
    cost_usd = spec.limits.cost_usd
    limit_nanos = nanos_from_usd(cost_usd) if cost_usd is not None else None
    meter = JobMeter(case.bench.ledger, case.lease, agent_limit_nanos=limit_nanos)
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


async def _agent(case: Case, tree: JobTree, spec: AgentSpec, opening: asyncio.Task[OpenedModel]) -> AgentResult:
    bench, lease, job = case.bench, case.lease, case.lease.job
    sandbox = case.sandbox = await case.stack.enter_async_context(opened_sandbox(case, "agent"))
    await tree.load(sandbox)
    await case.say(("sandbox.opened", {"isolation": asdict(sandbox.isolation)}))
    record = await case.write(lambda tx: journals.load(tx, job))
    # A replay repeats in a sandbox without a network what was answered the first time.
    gate = bench.gate if job.mode == "run" else None
    journal = JobJournal(bench.store, lease, bench.notifier, _Snapshots(tree, sandbox), record, gate=gate)
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


async def _window(case: Case, opened: OpenedModel) -> int | None:
    """The model's context as the job's first run found it, so that each later run shortens at the same turn."""
    job = case.lease.job
    if job.context_tokens is not None or opened.context_tokens is None:
        return job.context_tokens

    async def keep(tx: Tx) -> None:
        await hold_fast(tx, case.lease)
        await tx.execute("update jobs set context_tokens = %s where id = %s", (opened.context_tokens, job.id))

    await case.write(keep)
    return opened.context_tokens


def _tools(case: Case, sandbox: Sandbox, tree: JobTree) -> ToolContext:
    bench, lease = case.bench, case.lease
    return ToolContext(
        workspace=sandbox,
        policy=ToolPolicy(network=bool(lease.job.network)),
        artifacts=Keeper(bench.store, bench.blobs, lease),
        checks=tuple(case.checks),
        base_ref=tree.base.sha,
    )


def _limits(case: Case, spec: AgentSpec, context_tokens: int | None) -> AgentLimits:
    job = case.lease.job
    limit = job.limit()
    left_s = min(case.left_s(), max(0.0, spec.limits.timeout_s - job.spent_s))
    return AgentLimits(
        turns=min(limit.turns, spec.limits.turns),
        deadline=case.bench.clock.now() + timedelta(seconds=left_s),
        context_tokens=min(spec.limits.context_tokens, context_tokens or spec.limits.context_tokens),
        max_output_tokens=spec.limits.max_output_tokens,
    )


async def _check(case: Case, tree: JobTree, when: str) -> list[CheckResult]:
    """The platform's own look at the result, in a sandbox that the agent never saw."""
    await case.say((f"checks.{when}.started", {"commands": case.checks}))
    async with opened_sandbox(case, "check") as sandbox:
        await tree.load(sandbox)
        results = await run_checks(sandbox, case.checks, timeout_s=case.check_timeout_s())
    await case.say((f"checks.{when}", {"results": [result.as_dict() for result in results]}))
    return results


async def _push(case: Case, tree: JobTree, checks: list[CheckResult]) -> dict[str, Any] | None:
    bench, job = case.bench, case.lease.job
    if bench.gate is not None and job.rules().push and to_push(job, tree, verdict(checks)):
        facts = {"branch": job.push_branch, "commit": tree.head, "verified": verdict(checks)}
        refused = await ask_first(case.write, case.lease, bench.gate, Asked("push", "", 0, tree.head, "push", facts))
        if refused is not None:
            told = {"branch": job.push_branch, "error": {"code": "not-approved", "detail": refused["text"]}}
            await case.say(("result.not_pushed", told))
            return told
    pushed = await push_result(
        bench.git, tree, case.lease.job, verified=verdict(checks), credentials_of=bench.credentials_of
    )
    if pushed is not None:
        await case.say(("result.pushed" if "commit" in pushed else "result.not_pushed", pushed))
    return pushed


async def _result(
    case: Case, tree: JobTree, agent: AgentResult, checks: list[CheckResult], pushed: dict[str, Any] | None
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
        **await product(case, tree),
    )


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


@dataclass(frozen=True, slots=True)
class _Snapshots:
    """Implements journal.py::Snapshots for one sandbox."""

    tree: JobTree
    sandbox: Sandbox

    async def take(self) -> StoredSnapshot | None:
        """See journal.py::Snapshots.take."""
        return await self.tree.take(self.sandbox)
