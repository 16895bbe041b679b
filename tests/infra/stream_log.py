"""A job's events in memory, as the store shows them: committed, in order, without gaps."""

import asyncio
import random
from datetime import UTC, datetime
from uuid import uuid4

from shopfloor.infra.frames import LiveEvent

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class StreamLog:
    """Append with `add`; `feed.changed` is called as the LISTEN loop would, unless `silent`."""

    def __init__(self) -> None:
        self.job_id = uuid4()
        self.events: list[LiveEvent] = []
        self.reads = 0
        self.hold: asyncio.Event | None = None  # the next answer waits for it, with what it saw before
        self.chance = random.Random(7)
        self.feed = None
        self.fail_with: Exception | None = None

    async def read(self, job_id, after, limit):
        self.reads += 1
        if self.fail_with is not None:
            raise self.fail_with
        assert job_id == self.job_id
        seen = self.events[after : after + limit]
        held, self.hold = self.hold, None
        if held is not None:
            await held.wait()
        for _ in range(self.chance.randrange(4)):  # a real answer is a little old when it arrives
            await asyncio.sleep(0)
        return seen

    def add(self, count=1, *, kind="tool.output", silent=False, data=None):
        for _ in range(count):
            seq = len(self.events) + 1
            self.events.append(LiveEvent(seq, kind, data or {"line": f"line {seq}"}, AT))
        if self.feed is not None and not silent:
            self.feed.changed(self.job_id, len(self.events))

    def finish(self):
        self.add(kind="job.finished")


def is_last(event):
    return event.kind == "job.finished"
