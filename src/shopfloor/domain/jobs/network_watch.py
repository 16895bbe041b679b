"""What a job's sandboxes reach, and what they are refused, as lines of its stream."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from shopfloor.domain.jobs.errors import LeaseLost
from shopfloor.domain.jobs.events import EventData
from shopfloor.engine.sandbox.port import NetworkEvent
from shopfloor.infra.database import DatabaseUnavailable
from shopfloor.infra.ending import end

Say = Callable[..., Awaitable[None]]
Line = tuple[str, EventData]

_PATIENCE_S = 5.0  # at the end of a run; a job doesn't wait longer for its remarks


class NetworkWatch:
    """Between a proxy, which may not wait, and the job's stream, which is a transaction. For one run."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._seen: asyncio.Queue[NetworkEvent] = asyncio.Queue()  # the proxies bound how much they tell
        self._teller: asyncio.Task[None] | None = None

    def saw(self, event: NetworkEvent) -> None:
        """Tell it soon. Neither waits nor raises."""
        if self._teller is None:
            self._teller = asyncio.create_task(self._tell())
        self._seen.put_nowait(event)

    async def told(self) -> None:
        """Wait until everything that was seen stands in the stream, or can't any more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await self._seen.join()

    async def aclose(self) -> None:
        """Tell nothing more."""
        if self._teller is not None:
            await end(self._teller)

    async def _tell(self) -> None:
        while True:
            events = [await self._seen.get()]
            while not self._seen.empty():
                events.append(self._seen.get_nowait())
            try:
                await self._say(*(_line(event) for event in events))
            except (LeaseLost, DatabaseUnavailable):
                pass  # the job is another worker's, or ends: the log has them
            finally:
                for _ in events:
                    self._seen.task_done()


def _line(event: NetworkEvent) -> Line:
    return event.kind, {"place": event.place, **({"reason": event.reason} if event.reason else {})}
