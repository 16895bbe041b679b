"""One watcher of one job: its place in the stream, a bounded queue, and why it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, Protocol
from uuid import UUID

import structlog
from pydantic import BaseModel, ConfigDict, Field

from shopfloor.base.errors import InvalidInput, ShopfloorError
from shopfloor.infra import metrics
from shopfloor.infra.first_step import Rest, first_step
from shopfloor.infra.frames import Batch, Frame

EndReason = Literal["finished", "slow", "stalled", "revoked", "shutdown", "closed", "error"]
Authorized = Callable[[], Awaitable[bool]]
Write = Callable[[list[Batch]], Coroutine[Any, Any, None]]  # an empty list: a ping

SUBSCRIBERS = metrics.gauge("shopfloor_live_subscribers", "Streams open in this process.")
FRAMES = metrics.counter("shopfloor_live_frames_sent_total", "Events delivered to watchers.")
ENDED = metrics.counter("shopfloor_live_ended_total", "Streams ended, by reason.", ["reason"])
_UNCHECKED_FACTOR = 3  # an authority that can't be asked is believed for so many periods

log = structlog.get_logger(__name__)


class LiveLimits(BaseModel):
    """How much of it is kept and waited for, in this process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    page: int = Field(default=256, ge=1)  # events a read
    kept_frames: int = Field(default=1024, ge=1)  # the newest ones of each watched job, for those who come back
    kept_bytes: int = Field(default=4_194_304, ge=1)
    queued_frames: int = Field(default=1024, ge=1)  # of one subscriber; over it, it is dropped and resumes by id
    queued_bytes: int = Field(default=1_048_576, ge=1)
    subscribers: int = Field(default=5_000, ge=1)
    ping_s: float = Field(default=15.0, gt=0)
    recheck_s: float = Field(default=30.0, gt=0)  # how long a revoked key may still watch
    stall_s: float = Field(default=30.0, gt=0)  # how long one write may take
    poll_s: float = Field(default=5.0, gt=0)  # should a wake-up get lost
    read_timeout_s: float = Field(default=10.0, gt=0)
    tick_s: float = Field(default=1.0, gt=0)


class Source(Protocol):
    """Where a subscription reads from: the channel of its job."""

    async def history(self, seq: int) -> Batch | None:
        """What comes after `seq`, up to a page; None if there is nothing yet."""
        ...

    async def event_at(self, seq: int) -> Frame | None:
        """The event `seq` itself, if there is one."""
        ...

    def attach(self, subscription: Subscription) -> bool:
        """Push to it from now on; False if it has to read on first."""
        ...

    def detach(self, subscription: Subscription) -> None:
        """Push to it no more."""
        ...


class Subscription:
    """Made by `LiveFeed.subscribe`. One task takes from it; the feed offers to it."""

    def __init__(
        self,
        source: Source,
        after: int,
        limits: LiveLimits,
        *,
        authorized: Authorized | None,
        on_close: Callable[[Subscription], None],
        retry_on: tuple[type[Exception], ...] = (ShopfloorError, OSError),
        group: UUID | None = None,
    ) -> None:
        self.group = group  # the organization of who watches
        self.cursor = after  # the last event handed over or queued
        self.reason: EndReason | None = None
        self.on_stall: Callable[[], object] = lambda: None
        self._source = source
        self._retry_on = retry_on
        self._limits = limits
        self._authorized = authorized
        self._on_close = on_close
        self._live = False
        self._closed = False
        self._write: Write | None = None
        self._unfinished: Rest | None = None  # a write that the feed began and that has to wait
        self._sending = False
        self._sent_frames = 0  # since the last tick
        self._queue: list[Batch] = []
        self._queued_frames = self._queued_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._steps = 0  # counts takes and writes: a stalled one shows as no progress
        self._seen_steps: int = -1
        now_s = asyncio.get_running_loop().time()
        self._made_s = self._moved_s = self._pinged_s = self._checked_s = self._known_good_s = now_s
        self._ping_due = self._check_due = False
        SUBSCRIBERS.inc()

    async def start(self) -> bool:
        """Check the place to start from. False if the stream ended there already: nothing will ever follow.

        Raises: InvalidInput for a place beyond the last event.
        """
        if self.cursor <= 0:
            self.cursor = 0
            return True
        event = await self._source.event_at(self.cursor)
        if event is None:
            raise InvalidInput(
                f"this stream has no event {self.cursor}. Start again from 0, or from an id that it gave you.",
                after=self.cursor,
            )
        if event.is_last:
            self.end("finished")
            return False
        return True

    async def deliver(self, write: Write) -> None:
        """Write everything until it ends, see `reason`. Raises what `write` raises.

        While nothing waits, the feed itself takes the first step of each write, and only the rest is left to this task.
        """
        self._write = write
        while (batches := await self.take()) is not None:
            self._sending = True
            await write(batches)
            self._sending = False
            self._sent_frames += sum([len(batch.frames) for batch in batches])

    async def take(self) -> list[Batch] | None:
        """What came, in order. An empty list: nothing for so long that a ping is due. None: it ended, see `reason`."""
        self._steps += 1
        while True:
            if self._unfinished is not None:
                await self._finish_write()
            if self._check_due:
                await self._recheck()
            if self._queue:
                queue, self._queue = self._queue, []
                self._queued_frames = self._queued_bytes = 0
                return queue
            if self.reason is not None:
                return None
            if not self._live:
                if (batch := await self._history()) is not None:
                    return [batch]
            elif self._ping_due:
                self._ping_due = False
                return []
            else:
                await self._something()

    def offer(self, batch: Batch) -> None:
        """Queue what it doesn't have yet. Over the limit it is dropped: it resumes by id when it can read faster."""
        fresh = batch.after(self.cursor)
        if fresh is None or self.reason is not None:
            return
        self.cursor = fresh.last_seq
        if self._write is not None and self._idle():
            self._write_now(self._write, fresh)
        else:
            self._enqueue(fresh)
        if fresh.is_last:
            self.end("finished")

    def _idle(self) -> bool:
        """Whether its task sleeps with nothing queued and nothing half written: only then may a write go past it."""
        return self._waiter is not None and not self._waiter.done()  # whatever it has to do wakes it first

    def _write_now(self, write: Write, batch: Batch) -> None:
        self._steps += 1
        self._sent_frames += len(batch.frames)
        try:
            self._unfinished = first_step(write([batch]))
        except Exception as error:  # noqa: BLE001 (one watcher's connection must not stop the others)
            log.debug("live.write_failed", error=str(error))
            self.end("closed")
        if self._unfinished is not None:
            self._wake()

    async def _finish_write(self) -> None:
        rest, self._unfinished = self._unfinished, None
        assert rest is not None
        self._sending = True
        await rest
        self._sending = False

    def _enqueue(self, fresh: Batch) -> None:
        self._queue.append(fresh)
        self._queued_frames += len(fresh.frames)
        self._queued_bytes += fresh.size_bytes
        if self._queued_frames > self._limits.queued_frames or self._queued_bytes > self._limits.queued_bytes:
            self.end("slow")
        else:
            self._wake()

    def end(self, reason: EndReason) -> None:
        """No more after what is queued; nothing queued either, unless the stream came to its end."""
        if self.reason is not None:
            return
        self.reason = reason
        self._source.detach(self)
        if reason != "finished":
            self._queue.clear()
        self._wake()

    def close(self) -> None:
        """Let go of everything. The transport calls it, however it ended; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        self.end("closed")
        self._queue.clear()
        if self._unfinished is not None:
            self._unfinished.close()
        FRAMES.inc(self._sent_frames)
        ENDED.labels(self.reason).inc()
        SUBSCRIBERS.dec()
        self._on_close(self)

    def recheck(self) -> None:
        """Ask at once, and not at the next period, whether it may go on."""
        if self._authorized is not None:
            self._check_due = True
            self._wake()

    def tick(self, now_s: float) -> None:
        """Once a second: see whether a ping, a re-check or an end is due."""
        if self._steps != self._seen_steps:
            self._seen_steps = self._steps
            self._moved_s = self._pinged_s = now_s
            FRAMES.inc(self._sent_frames)
            self._sent_frames = 0
        if not self._steps and now_s - self._made_s >= self._limits.stall_s:
            self.close()  # its answer was never sent
            return
        if self._sending and now_s - self._moved_s >= self._limits.stall_s:
            self.end("stalled")
            self.on_stall()
            return
        if now_s - self._pinged_s >= self._limits.ping_s:
            self._pinged_s = now_s
            self._ping_due = True
            self._wake()
        if self._authorized is not None and now_s - self._checked_s >= self._limits.recheck_s:
            self._checked_s = now_s
            self._check_due = True
            self._wake()

    async def _history(self) -> Batch | None:
        try:
            batch = await self._source.history(self.cursor)
        except self._retry_on as error:  # the client comes back with its last id
            log.warning("live.history_failed", after=self.cursor, error=str(error))
            self.end("error")
            return None
        if batch is None:
            self._live = self._source.attach(self)
            return None
        self.cursor = batch.last_seq
        if batch.is_last:
            self.end("finished")
        return batch

    async def _recheck(self) -> None:
        self._check_due = False
        assert self._authorized is not None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._limits.read_timeout_s):
                allowed = await self._authorized()
        except self._retry_on as error:
            log.warning("live.recheck_failed", error=str(error))
            allowed = loop.time() - self._known_good_s < _UNCHECKED_FACTOR * self._limits.recheck_s
        else:
            self._known_good_s = loop.time()
        if not allowed:
            self.end("revoked")

    async def _something(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
