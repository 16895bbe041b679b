"""Agents that work for an agent: fewer tools, the same files, a journal of their own, the same purse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from shopfloor.engine.agents.outcome import AgentResult, Ending
from shopfloor.engine.agents.run import AgentRun
from shopfloor.engine.agents.spec import AgentSpec
from shopfloor.engine.agents.task import AgentTask
from shopfloor.engine.providers.port import ContextTooLong
from shopfloor.engine.tools.bounds import bounded
from shopfloor.engine.tools.registry import all_tools
from shopfloor.engine.tools.result import ToolRefused, ToolResult

Lead = Callable[[AgentRun], Awaitable[AgentResult]]


@dataclass
class Delegations:
    """The delegations of one run. Agents that only read work side by side; those that write, one after the other."""

    run: AgentRun
    lead: Lead
    _order: dict[str, int] = field(default_factory=dict[str, int])  # call id -> which delegation it is, from 1
    _writers: asyncio.Lock = field(default_factory=asyncio.Lock)

    def register(self, call_id: str) -> None:
        """Count a call, made now or recorded before: a resumed run refuses the same ones."""
        self._order.setdefault(call_id, len(self._order) + 1)

    async def delegate(self, call_id: str, agent: str, task: str, tools: tuple[str, ...]) -> ToolResult:
        """Run `agent` to its end. Raises: ToolRefused where the bounds or the spec don't allow it."""
        spec = self._narrowed(agent, tools)
        self._count(call_id)
        if any(all_tools()[name].effects != "none" for name in spec.tools):
            async with self._writers:
                return await self._led(call_id, spec, task)
        return await self._led(call_id, spec, task)

    async def _led(self, call_id: str, spec: AgentSpec, task: str) -> ToolResult:
        try:
            return _reported(spec, await self.lead(self._child(call_id, spec, task)))
        except ContextTooLong as error:
            return ToolResult(f"The {spec.name} agent's work is too long for its model: {error.detail}", ok=False)

    def _narrowed(self, agent: str, tools: tuple[str, ...]) -> AgentSpec:
        """The spec of `agent` with no tool that this run's own agent lacks."""
        allowed = self.run.spec.delegates
        if agent not in allowed:
            raise ToolRefused(f"{agent!r} is not one of the agents this one may delegate to: {', '.join(allowed)}")
        if agent not in self.run.agents:
            raise ToolRefused(f"there is no agent {agent!r} here; do this work without it", agent=agent)
        spec = self.run.agents[agent]
        if unknown := [name for name in tools if name not in spec.tools]:
            raise ToolRefused(f"{agent} has no tool {', '.join(unknown)}; it has {', '.join(spec.tools)}")
        mine = set(self.run.spec.tools)
        deeper = spec.delegates if self.run.depth + 2 <= self.run.limits.depth else ()
        kept = [name for name in tools or spec.tools if name in mine and (name != "delegate" or deeper)]
        return spec.model_copy(update={"tools": tuple(kept), "delegates": deeper})

    def _count(self, call_id: str) -> None:
        limits = self.run.limits
        if self.run.depth >= limits.depth:
            raise ToolRefused(f"delegation goes at most {limits.depth} deep: do this work here")
        if self._order.get(call_id, 0) > limits.delegations:
            raise ToolRefused(f"this run has delegated {limits.delegations} times, which is its limit")

    def _child(self, call_id: str, spec: AgentSpec, task: str) -> AgentRun:
        run = self.run
        limits = replace(run.limits, turns=min(run.limits.turns, spec.limits.turns))
        return replace(
            run,
            spec=spec,
            task=AgentTask(task, facts={"asked by": f"the {run.spec.name} agent"}, checks=run.task.checks),
            model=run.model_for(spec) if run.model_for else run.model,
            journal=run.journal.child(call_id),
            tools=replace(run.tools, policy=run.tools.policy.narrowed(run.spec.policy)),
            limits=limits,
            depth=run.depth + 1,
        )


def _reported(spec: AgentSpec, result: AgentResult) -> ToolResult:
    facts = {"agent": spec.name, "ending": result.ending.value, "turns": result.turns}
    if result.ending is not Ending.FINISHED:
        text = f"The {spec.name} agent did not finish ({result.ending.value}): {result.detail}"
        return ToolResult(text, ok=False, facts=facts)
    text = json.dumps(result.output, ensure_ascii=False, indent=1)
    return ToolResult(bounded(text, 20_000), facts=facts)
