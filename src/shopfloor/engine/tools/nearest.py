"""Paths that a mistaken one may have meant."""

from __future__ import annotations

import difflib

from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.workspace import WorkspaceError


async def nearest_paths(context: ToolContext, path: str, *, limit: int = 4) -> list[str]:
    """At most `limit` existing files: same name elsewhere first, then similar spellings."""
    try:
        listing = await context.workspace.list_files(".", depth=8, limit=5_000)
    except WorkspaceError:
        return []
    paths = [entry.path for entry in listing.entries if entry.kind == "file" and not context.policy.hides(entry.path)]
    name = path.rsplit("/", 1)[-1]
    same = [other for other in paths if other.rsplit("/", 1)[-1] == name]
    close = difflib.get_close_matches(path, paths, n=limit, cutoff=0.75)
    return list(dict.fromkeys([*same, *close]))[:limit]
