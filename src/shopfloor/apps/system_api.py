"""What this installation is: its version and limits, and the agents it offers. Behind a key like everything else."""

from __future__ import annotations

import platform
from typing import Annotated, Any, Literal, Protocol, cast

from fastapi import APIRouter, Depends, Path, Request
from pydantic import Field

from shopfloor import __version__
from shopfloor.apps.settings import Settings
from shopfloor.base.principal import Principal
from shopfloor.domain.access.http import Require
from shopfloor.engine.agents.registry import all_agents, find_agent
from shopfloor.engine.agents.spec import AgentSpec
from shopfloor.infra.web.json_body import Reply

router = APIRouter(prefix="/api/v1")

SystemReader = Annotated[Principal, Depends(Require("system.read"))]
AgentReader = Annotated[Principal, Depends(Require("agent.read"))]
AgentName = Annotated[str, Path(min_length=1, max_length=100, description="As `GET /api/v1/agents` lists it.")]


class SystemState(Protocol):
    """What these routes need of `app.state.shopfloor`."""

    settings: Settings


class SystemReply(Reply):
    """What this installation is."""

    version: str
    python: str
    database: Literal["embedded", "external"]
    default_agent: str
    default_model: str | None
    profiles: dict[str, list[str]] = Field(description="What `strong`, `balanced`, `fast` stand for.")
    sandbox_runtime: str


class AgentReply(Reply):
    """An agent that a job can name."""

    name: str
    version: int
    description: str
    model: str | None = Field(description="Null: the job or the project chooses.")
    model_profile: str
    tools: list[str]
    delegates: list[str] = Field(description="Agents it may hand work to.")
    read_only: bool


class AgentDetail(AgentReply):
    """An agent with everything it is told."""

    instructions: str
    fallback_models: list[str]
    limits: dict[str, Any]
    policy: dict[str, Any]
    output: dict[str, Any] = Field(description="JSON Schema of what it hands over.")


class AgentsReply(Reply):
    """Every agent, by name."""

    items: list[AgentReply]


@router.get("/system", tags=["system"], summary="What this installation is")
async def get_system(request: Request, _: SystemReader) -> SystemReply:
    """Version, database and defaults."""
    settings = _settings(request)
    return SystemReply(
        version=__version__,
        python=platform.python_version(),
        database="external" if settings.database.url or settings.database.app_url else "embedded",
        default_agent=settings.jobs.default_agent,
        default_model=settings.jobs.default_model,
        profiles=settings.providers.profiles,
        sandbox_runtime=settings.sandbox.runtime,
    )


@router.get("/agents", tags=["agents"], summary="List agents")
async def list_agents(request: Request, _: AgentReader) -> AgentsReply:
    """The built-in agents, those of installed packages, and this installation's own."""
    agents = all_agents(_settings(request).agents_folder)
    return AgentsReply(items=[AgentReply(**_listed(agents[name])) for name in sorted(agents)])


@router.get("/agents/{name}", tags=["agents"], summary="One agent")
async def get_agent(request: Request, name: AgentName, _: AgentReader) -> AgentDetail:
    """One agent with its instructions, limits and output."""
    return agent_detail(find_agent(name, all_agents(_settings(request).agents_folder)))


def agent_detail(spec: AgentSpec) -> AgentDetail:
    """An agent as it is served."""
    return AgentDetail(
        **_listed(spec),
        instructions=spec.instructions_text,
        fallback_models=list(spec.fallback_models),
        limits=spec.limits.model_dump(mode="json"),
        policy=spec.policy.model_dump(mode="json"),
        output=spec.output_model.model_json_schema(),
    )


def _listed(spec: AgentSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "version": spec.version,
        "description": spec.description,
        "model": spec.model,
        "model_profile": spec.model_profile,
        "tools": list(spec.tools),
        "delegates": list(spec.delegates),
        "read_only": spec.read_only,
    }


def _settings(request: Request) -> Settings:
    return cast("SystemState", request.app.state.shopfloor).settings
