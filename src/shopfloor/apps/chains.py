"""Which models a run asks, in which order: its job's chain, and that of each agent it may hand work to."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from shopfloor.apps.settings import Settings
from shopfloor.base.clock import Clock
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.bench import OpenedModel, OpenModel, Tell
from shopfloor.domain.jobs.lease import Lease
from shopfloor.domain.jobs.meter import JobMeter
from shopfloor.domain.models.candidates import candidates, model_refs
from shopfloor.domain.models.gate import SharedGate
from shopfloor.domain.models.providers import ProviderDesk
from shopfloor.engine.agents.registry import all_agents
from shopfloor.engine.agents.spec import AgentSpec
from shopfloor.engine.providers.attempts import CallPolicy
from shopfloor.engine.providers.chain import Candidate, ChainModel
from shopfloor.engine.providers.port import ModelRef
from shopfloor.infra.secrets.envelope import EnvelopeSealer
from shopfloor.infra.tx import Store, begin


class ChainParts(Protocol):
    """What this needs of `wiring.py::Parts`."""

    @property
    def settings(self) -> Settings:
        """The installation's."""
        ...

    @property
    def store(self) -> Store:
        """The database."""
        ...

    @property
    def sealer(self) -> EnvelopeSealer:
        """Opens providers' keys."""
        ...

    @property
    def providers(self) -> ProviderDesk:
        """How providers are reached."""
        ...

    @property
    def gate(self) -> SharedGate:
        """Breakers and limits."""
        ...

    @property
    def clock(self) -> Clock:
        """The time."""
        ...

    @property
    def chance(self) -> random.Random:
        """Jitter."""
        ...


def own_model(settings: Settings, spec: AgentSpec) -> str | None:
    """The model that a spec names, else its profile if the installation has set that."""
    if spec.model is not None:
        return spec.model
    return spec.model_profile if spec.model_profile in settings.providers.profiles else None


def model_opener(parts: ChainParts) -> OpenModel:
    """How a worker opens the model of a run."""
    agents = all_agents(parts.settings.agents_folder)
    own_settings = parts.settings.providers
    policy = CallPolicy(
        timeout_s=own_settings.call_timeout_s,
        attempts=own_settings.attempts,
        limit_wait_s=own_settings.stress.limit_wait_s,
        limit_wait_with_fallback_s=own_settings.stress.limit_wait_with_fallback_s,
    )

    async def chain_of(lease: Lease, text: str, fallbacks: Sequence[str]) -> list[Candidate]:
        asked = model_refs(text, parts.settings.providers.model_profiles)
        refs = [*asked, *(ModelRef.parse(name) for name in fallbacks)]
        async with begin(parts.store, lease.principal) as tx:
            return await candidates(tx, parts.sealer, list(dict.fromkeys(refs)))

    async def open_model(lease: Lease, spec: AgentSpec, meter: JobMeter, tell: Tell) -> OpenedModel:
        """The job's chain. Each delegated run gets a chain of its own: one keeps to the model that last answered."""
        options: dict[str, Any] = {
            "meter": meter, "clock": parts.clock, "rng": parts.chance, "policy": policy,
            "transport": parts.providers.transport, "on_event": tell, "gate": parts.gate,
        }  # fmt: skip
        chain = await chain_of(lease, lease.job.model, spec.fallback_models)
        own: dict[str, list[Candidate]] = {}
        for name, below in _below(spec, agents).items():
            if (text := own_model(parts.settings, below)) is not None:
                own[name] = await chain_of(lease, text, below.fallback_models)
        async with begin(parts.store, lease.principal) as tx:
            last = await jobs.last_answered_by(tx, lease.job_id)
        model = await ChainModel.open(chain, first=await parts.gate.first_to_ask(chain, last), **options)
        opened = [model]

        def model_for(delegate: AgentSpec) -> ChainModel:
            opened.append(ChainModel(own.get(delegate.name, chain), **options))
            return opened[-1]

        async def close() -> None:
            for each in opened:
                await each.aclose()

        return OpenedModel(model, model_for, model.candidate.context_tokens, close)

    return open_model


def _below(spec: AgentSpec, agents: Mapping[str, AgentSpec]) -> dict[str, AgentSpec]:
    """The agents that `spec` may hand work to, and those below them."""
    found: dict[str, AgentSpec] = {}
    names = list(spec.delegates)
    while names:
        name = names.pop()
        if name in agents and name not in found:
            found[name] = agents[name]
            names += agents[name].delegates
    return found
