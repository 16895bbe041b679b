"""The order of an agent's calls: what changes something runs alone, in the order asked; what only looks runs at once.

Every Journal uses this, so that the one in memory and the one in PostgreSQL can't differ.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from shopfloor.engine.agents.journal import Effects


class CallOrder:
    """One per job: agents that were delegated to share it, for they share the tree."""

    def __init__(self) -> None:
        self._writers = asyncio.Lock()  # fair: waiters are served first come, first served

    @asynccontextmanager
    async def turn(self, effects: Effects) -> AsyncGenerator[None]:
        """Wait until a call with these effects may run; calls without effects never wait."""
        if effects == "none":
            yield
            return
        async with self._writers:
            yield
