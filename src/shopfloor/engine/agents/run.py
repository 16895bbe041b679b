"""Everything that one run of an agent is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic_ai.models import Model

from shopfloor.base.clock import Clock
from shopfloor.engine.agents.journal import Journal
from shopfloor.engine.agents.spec import AgentSpec
from shopfloor.engine.agents.task import AgentLimits, AgentTask
from shopfloor.engine.tools.context import ToolContext

ModelFor = Callable[[AgentSpec], Model]  # the model of an agent that is delegated to


@dataclass(frozen=True, kw_only=True)
class AgentRun:
    """One run, a job's own or a delegated one."""

    spec: AgentSpec
    task: AgentTask
    model: Model
    journal: Journal
    tools: ToolContext
    limits: AgentLimits
    clock: Clock
    agents: Mapping[str, AgentSpec]  # whom it may delegate to, if its spec names them
    model_for: ModelFor | None = None
    depth: int = 0  # delegations above this run
