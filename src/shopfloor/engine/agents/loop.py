"""The loop: a model and its tools, turn by turn, until it finishes or a limit ends it; all through the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent, ToolOutput, UsageLimits
from pydantic_ai.exceptions import ContentFilterError, UnexpectedModelBehavior, UsageLimitExceeded
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from shopfloor.base.clock import Clock, SystemClock
from shopfloor.engine.agents.delegation import Delegations
from shopfloor.engine.agents.durable import Durable
from shopfloor.engine.agents.fitting import Fitting
from shopfloor.engine.agents.guidance import read_guidance
from shopfloor.engine.agents.journal import Journal
from shopfloor.engine.agents.outcome import AgentResult, Ending
from shopfloor.engine.agents.prompt import HOUSE_RULES, first_message
from shopfloor.engine.agents.registry import all_agents
from shopfloor.engine.agents.run import AgentRun, ModelFor
from shopfloor.engine.agents.spec import AgentSpec
from shopfloor.engine.agents.steering import Steering, Stop
from shopfloor.engine.agents.task import AgentLimits, AgentTask
from shopfloor.engine.agents.toolset import NEVER_GIVE_UP, JobTools
from shopfloor.engine.providers.port import CostLimitReached
from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.registry import FINISH, pick

FINISH_TEXT = "End the work and hand over its result. Call it once, when everything is done or nothing more can be."


async def run_agent(
    spec: AgentSpec,
    task: AgentTask,
    *,
    model: Model,
    journal: Journal,
    tools: ToolContext,
    limits: AgentLimits | None = None,
    clock: Clock | None = None,
    agents: Mapping[str, AgentSpec] | None = None,
    model_for: ModelFor | None = None,
) -> AgentResult:
    """Run `spec` on `task` to its end; given the journal of an earlier run, go on from where that one was.

    `tools` brings the workspace and the job's policy, which the spec's own only narrows. `agents` are those that
    may be delegated to (all registered ones), `model_for` chooses their models (the same one). An ending is a value.
    Raises: ProviderError and WorkspaceLost (retryable: call again with the same journal), ProviderRefused,
    ContextTooLong, and whatever the journal raises. Cancellation passes through.
    """
    run = AgentRun(
        spec=spec,
        task=task,
        model=model,
        journal=journal,
        tools=tools,
        limits=limits or spec.agent_limits(),
        clock=clock or SystemClock(),
        agents=agents if agents is not None else all_agents(),
        model_for=model_for,
    )
    return await lead(run)


async def lead(run: AgentRun) -> AgentResult:
    """One run, whether a job's own or a delegated one."""
    durable = _capability(run)
    agent = _agent(run, durable)
    try:
        guidance = await read_guidance(run.tools.workspace, run.journal) if run.spec.guidance else {}
        prompt = first_message(run.task, guidance, durable.tools.context.policy, run.tools.workspace.root)
        output = await _in_time(run, durable.steering, agent, prompt)
        return _result(durable, Ending.FINISHED, "", output.model_dump(mode="json"))
    except Stop as stop:
        return _result(durable, stop.ending, stop.detail)
    except CostLimitReached as error:
        if error.retryable:
            raise  # a budget: it may have room again, and the job goes on from here
        return _result(durable, Ending.COST_LIMIT, error.detail)
    except UsageLimitExceeded as error:
        return _result(durable, Ending.TURN_LIMIT, str(error))
    except ContentFilterError as error:
        return _result(durable, Ending.REFUSED, f"the model or its provider declined: {error.message}")
    except UnexpectedModelBehavior as error:
        return _result(durable, Ending.REFUSED, f"the model gave no usable reply: {error.message}")


async def _in_time(run: AgentRun, steering: Steering, agent: Agent[None, BaseModel], prompt: str) -> BaseModel:
    """The agent's output. Raises: Stop at the deadline, also in the middle of a call."""
    remaining_s = steering.remaining_s()
    bounded = 0 < remaining_s < float("inf")  # past it, recorded turns are still read; the first new call stops it
    limit = asyncio.timeout(remaining_s if bounded else None)
    try:
        async with limit:
            result = await agent.run(
                prompt, usage_limits=UsageLimits(request_limit=run.limits.turns + 1), model_settings=_settings(run)
            )
            return result.output
    except TimeoutError as error:
        if limit.expired():
            raise Stop(Ending.TIME_LIMIT, "the time limit is reached") from error
        raise


def _capability(run: AgentRun) -> Durable:
    spec = run.spec
    context = replace(
        run.tools,
        policy=run.tools.policy.narrowed(spec.policy),
        checks=run.tools.checks or run.task.checks,
        note=run.journal.note,
        delegate=None,
        seen={},
    )
    delegations = Delegations(run, lead)
    context.delegate = delegations.delegate if spec.delegates else None
    return Durable(
        delegations=delegations,
        journal=run.journal,
        tools=JobTools(pick(spec.tools), context),
        steering=Steering(run.limits, run.journal, run.clock),
        fitting=Fitting(run.limits, run.journal),
    )


def _agent(run: AgentRun, durable: Durable) -> Agent[None, BaseModel]:
    return Agent(
        run.model,
        deps_type=type(None),
        name=run.spec.name,
        instructions=[HOUSE_RULES, run.spec.instructions_text],
        output_type=ToolOutput(run.spec.output_model, name=FINISH, description=FINISH_TEXT),
        toolsets=[durable.tools],
        capabilities=[durable],
        retries={"tools": NEVER_GIVE_UP, "output": NEVER_GIVE_UP},
    )


def _settings(run: AgentRun) -> ModelSettings:
    settings: dict[str, Any] = dict(run.spec.model_settings or {})
    if run.limits.max_output_tokens is not None:
        settings["max_tokens"] = min(run.limits.max_output_tokens, settings.get("max_tokens", 1 << 30))
    return ModelSettings(**settings)


def _result(durable: Durable, ending: Ending, detail: str, output: dict[str, Any] | None = None) -> AgentResult:
    facts = {"compactions": durable.fitting.compactions, "nudged": durable.steering.nudged}
    return AgentResult(
        ending,
        output,
        detail,
        turns=min(durable.turn, durable.steering.limits.turns),
        tool_calls=durable.tool_calls,
        facts=facts,
    )
