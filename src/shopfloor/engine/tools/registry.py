"""The tools there are: the built-in ones, and those that installed packages register."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from shopfloor.base.errors import InvalidInput, SettingsError
from shopfloor.engine.tools import changes, delegation, files, patch, plan, search, shell
from shopfloor.engine.tools.tool import AnyTool, Tool

GROUP = "shopfloor.tools"  # each entry point names a Tool or a tuple of them
FINISH = "finish"  # the output tool: every agent has it, no package may take its name
BUILT_IN: tuple[AnyTool, ...] = (
    *shell.TOOLS,
    *files.TOOLS,
    *search.TOOLS,
    *patch.TOOLS,
    *changes.TOOLS,
    *plan.TOOLS,
    *delegation.TOOLS,
)


@lru_cache(maxsize=1)
def all_tools() -> Mapping[str, AnyTool]:
    """Every tool by name: built-in first, then the entry points of group `shopfloor.tools`. Raises: SettingsError."""
    return collect(entry_points(group=GROUP))


def collect(points: Iterable[EntryPoint]) -> Mapping[str, AnyTool]:
    """The built-in tools and those of `points`.

    Raises: SettingsError if a package registers something else, or a name that is taken.
    """
    tools = {tool.name: tool for tool in BUILT_IN}
    for point in points:
        for tool in _tools_of(point.name, point.load()):
            if tools.setdefault(tool.name, tool) is not tool or tool.name == FINISH:
                raise SettingsError(f"entry point {point.name!r} registers a tool named {tool.name!r}, which is taken")
    return tools


def pick(names: Iterable[str], tools: Mapping[str, AnyTool] | None = None) -> tuple[AnyTool, ...]:
    """The tools of these names, `finish` left out. Raises: InvalidInput with the names there are."""
    known = tools if tools is not None else all_tools()
    wanted = [name for name in dict.fromkeys(names) if name != FINISH]
    if unknown := [name for name in wanted if name not in known]:
        raise InvalidInput(
            f"unknown tools: {', '.join(unknown)}; there are {', '.join(sorted(known))}", unknown=unknown
        )
    return tuple(known[name] for name in wanted)


def _tools_of(name: str, loaded: object) -> tuple[AnyTool, ...]:
    found = cast("tuple[object, ...]", loaded if isinstance(loaded, tuple) else (loaded,))
    if not all(isinstance(tool, Tool) for tool in found):
        raise SettingsError(f"entry point {name!r} of group {GROUP} gives something that is not a Tool")
    return cast("tuple[AnyTool, ...]", found)
