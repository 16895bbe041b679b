"""The agents there are: the built-in ones, those of installed packages, and a folder of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import cast

from shopfloor.base.errors import NotFound, SettingsError
from shopfloor.engine.agents.spec import AgentSpec, load_spec, parse_spec

GROUP = "shopfloor.agents"  # each entry point names a function () -> Iterable[AgentSpec]


@lru_cache(maxsize=1)
def builtin_agents() -> tuple[AgentSpec, ...]:
    """The specs that come with Shopfloor, by name."""
    folder = files("shopfloor.engine.agents") / "specs"
    texts = sorted((item.name, item.read_text("utf-8")) for item in folder.iterdir() if item.name.endswith(".yaml"))
    return tuple(parse_spec(text, source=f"built-in {name}") for name, text in texts)


@lru_cache(maxsize=8)
def all_agents(folder: Path | None = None) -> Mapping[str, AgentSpec]:
    """Every agent by name. A spec in `folder` replaces one of the same name; packages may not.

    Raises: SettingsError for a name that is taken, SpecInvalid for a spec that doesn't hold.
    """
    agents = {spec.name: spec for spec in builtin_agents()}
    for point in entry_points(group=GROUP):
        for spec in cast("Callable[[], Iterable[AgentSpec]]", point.load())():
            if agents.setdefault(spec.name, spec) != spec:
                raise SettingsError(f"entry point {point.name!r} names an agent {spec.name!r}, which is taken")
    if folder is not None:
        agents |= {spec.name: spec for spec in map(load_spec, sorted(folder.glob("*.yaml")))}
    return agents


def find_agent(name: str, agents: Mapping[str, AgentSpec] | None = None) -> AgentSpec:
    """The agent of this name. Raises: NotFound, with the names there are."""
    known = agents if agents is not None else all_agents()
    if name not in known:
        raise NotFound(f"there is no agent {name!r}; there are {', '.join(sorted(known))}", agent=name)
    return known[name]
