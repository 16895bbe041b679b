"""Live events: one reader per job and process, its frames fanned out to all who watch, none lost, none twice."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from uuid import UUID

import structlog

from shopfloor.base.errors import ShopfloorError, Unavailable
from shopfloor.infra.frames import Batch, Frame, LiveEvent
from shopfloor.infra.subscription import Authorized, EndReason, LiveLimits, Subscription

Read = Callable[[UUID, int, int], Awaitable[Sequence[LiveEvent]]]  # (job id, after seq, limit) -> events in order

log = structlog.get_logger(__name__)


class LiveFeed:
    """Everything watched in this process.

    `read` sees committed events only and in order of `seq`. `is_last` says which event ends a job's stream.
    `retry_on` are the errors of `read` after which it is asked again; any other ends the streams of that job.
    """

    def __init__(
        self,
        read: Read,
        *,
        is_last: Callable[[LiveEvent], bool],
        limits: LiveLimits | None = None,
        retry_on: tuple[type[Exception], ...] = (ShopfloorError, OSError),  # TimeoutError is one
    ) -> None:
        self.limits = limits or LiveLimits()
        self.retry_on = retry_on
        self._read = read
        self._is_last = is_last
        self._channels: dict[UUID, Channel] = {}
        self._subscriptions: set[Subscription] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._closed = False

    def changed(self, job_id: UUID, seq: int | None = None) -> None:
        """Wake those who watch `job_id`: events up to `seq` are committed. Cheap, and free if nobody watches."""
        channel = self._channels.get(job_id)
        if channel is not None:
            channel.wake(seq)

    def recheck(self, group: UUID | None = None) -> None:
        """Ask those who watch as part of `group`, or all, whether they still may: some access was taken away."""
        for subscription in tuple(self._subscriptions):
            if group is None or subscription.group == group:
                subscription.recheck()

    def subscribe(
        self, job_id: UUID, after: int = 0, *, authorized: Authorized | None = None, group: UUID | None = None
    ) -> Subscription:
        """Everything of `job_id` with `seq > after`, from history and then live.

        Call `start` once, `take` until it gives None, and `close` whatever happened.
        `authorized` is asked again every `recheck_s`, and at once by `recheck(group)`; once it says no the stream ends.
        Raises: Unavailable if the process is full or stopping.
        """
        if self._closed:
            raise Unavailable("this server is stopping. Connect again, another one answers.", retry_after_s=1)
        if len(self._subscriptions) >= self.limits.subscribers:
            raise Unavailable("too many streams are open on this server. Try again soon.", retry_after_s=5)
        channel = self._channels.get(job_id)
        if channel is None:
            channel = self._channels[job_id] = Channel(self, job_id)
        subscription = Subscription(
            channel,
            after,
            self.limits,
            authorized=authorized,
            on_close=partial(self._left, channel),
            retry_on=self.retry_on,
            group=group,
        )
        channel.watchers += 1
        self._subscriptions.add(subscription)
        if self._ticker is None:
            self._ticker = asyncio.create_task(self._tick(), name="live-ticker")
        return subscription

    async def close(self) -> None:
        """End every stream: the server is stopping. Clients resume elsewhere by their last id."""
        self._closed = True
        for subscription in tuple(self._subscriptions):
            subscription.end("shutdown")
        await asyncio.sleep(0)

    @property
    def subscribers(self) -> int:
        """How many watch at the moment."""
        return len(self._subscriptions)

    @property
    def channels(self) -> int:
        """How many jobs are watched at the moment."""
        return len(self._channels)

    async def frames_after(self, job_id: UUID, seq: int, limit: int) -> list[Frame]:
        """Up to `limit` frames, from the store."""
        async with asyncio.timeout(self.limits.read_timeout_s):
            events = await self._read(job_id, seq, limit)
        return [Frame(event, is_last=self._is_last(event)) for event in events]

    def _left(self, channel: Channel, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)
        channel.watchers -= 1
        if channel.watchers == 0:
            channel.stop()
            if self._channels.get(channel.job_id) is channel:
                del self._channels[channel.job_id]
        if not self._subscriptions and self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None

    async def _tick(self) -> None:
        """One clock for all: pings, re-checks and stalls cost nothing per delivery."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.limits.tick_s)
            now_s = loop.time()
            for subscription in tuple(self._subscriptions):
                subscription.tick(now_s)


class Channel:
    """One job while somebody watches it: follows its events and keeps the newest."""

    def __init__(self, feed: LiveFeed, job_id: UUID) -> None:
        self.job_id = job_id
        self.watchers = 0
        self.head: int | None = None  # the last event pushed to those attached; None before the first attaches
        self._feed = feed
        self._attached: set[Subscription] = set()
        self._recent: deque[Frame] = deque()
        self._recent_bytes = 0
        self._pages: OrderedDict[int, Batch] = OrderedDict()
        self._reading = asyncio.Lock()
        self._woken = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None

    def wake(self, seq: int | None = None) -> None:
        """Look for events after the head, unless `seq` says that there are none."""
        if seq is None or self.head is None or seq > self.head:
            self._woken.set()

    async def history(self, seq: int) -> Batch | None:
        """What comes after `seq`, up to a page: from memory if it is there, else from the store. None: nothing yet."""
        if (found := self._remembered(seq)) is not None:
            return found
        async with self._reading:  # a thousand who come at once read each page once
            if (found := self._remembered(seq)) is not None:
                return found
            frames = await self._feed.frames_after(self.job_id, seq, self._feed.limits.page)
        if not frames:
            return None
        batch = Batch(frames)
        if len(frames) == self._feed.limits.page:  # a full page never changes again
            self._pages[seq] = batch
            if len(self._pages) > _KEPT_PAGES:
                self._pages.popitem(last=False)
        return batch

    async def event_at(self, seq: int) -> Frame | None:
        """The event `seq` itself, if there is one."""
        frames = await self._feed.frames_after(self.job_id, seq - 1, 1)
        return frames[0] if frames and frames[0].seq == seq else None

    def attach(self, subscription: Subscription) -> bool:
        """Push to `subscription` from now on. False if the head has gone past its cursor: it reads on first."""
        if self.head is not None and self.head > subscription.cursor:
            return False
        self._attached.add(subscription)
        if self.head is None:
            self.head = subscription.cursor
        if self._follower is None:
            self._follower = asyncio.create_task(self._follow(), name=f"live-{self.job_id}")
        return True

    def detach(self, subscription: Subscription) -> None:
        """Push to it no more."""
        self._attached.discard(subscription)

    def stop(self) -> None:
        """Nobody watches any more."""
        if self._follower is not None:
            self._follower.cancel()
            self._follower = None

    async def _follow(self) -> None:
        try:
            while await self._push_new():
                pass
        except Exception:  # whatever it was, those who watch must not wait for ever
            log.exception("live.reader_crashed", job_id=str(self.job_id))
            self._follower = None  # who comes next starts another
            self._end("error")

    async def _push_new(self) -> bool:
        """Wait, read and push once. False after the last event."""
        limits = self._feed.limits
        try:
            async with asyncio.timeout(limits.poll_s):
                await self._woken.wait()
        except TimeoutError:
            pass  # a wake-up may have been lost
        self._woken.clear()
        assert self.head is not None
        try:
            frames = await self._feed.frames_after(self.job_id, self.head, limits.page)
        except self._feed.retry_on as error:
            log.warning("live.read_failed", job_id=str(self.job_id), error=str(error), retry_in_s=limits.poll_s)
            return True
        if not frames:
            return True
        if len(frames) == limits.page:
            self._woken.set()  # there may be more
        await self._push(Batch(frames))
        return not frames[-1].is_last

    async def _push(self, batch: Batch) -> None:
        assert self.head is not None
        if batch.first_seq != self.head + 1:
            log.warning("live.gap", job_id=str(self.job_id), after=self.head, found=batch.first_seq)
        self.head = batch.last_seq
        self._remember(batch)
        for number, subscription in enumerate(tuple(self._attached), 1):
            subscription.offer(batch)
            if number % _OFFERS_A_TURN == 0:
                await asyncio.sleep(0)  # a thousand writes at once would hold up everybody else

    def _end(self, reason: EndReason) -> None:
        for subscription in tuple(self._attached):
            subscription.end(reason)

    def _remember(self, batch: Batch) -> None:
        self._recent.extend(batch.frames)
        self._recent_bytes += batch.size_bytes
        limits = self._feed.limits
        while len(self._recent) > limits.kept_frames or (self._recent_bytes > limits.kept_bytes and self._recent):
            self._recent_bytes -= len(self._recent.popleft().sse)

    def _remembered(self, seq: int) -> Batch | None:
        if self._recent and self._recent[0].seq <= seq + 1 and self._recent[-1].seq > seq:
            newer = [frame for frame in self._recent if frame.seq > seq]
            return Batch(newer[: self._feed.limits.page])
        return self._pages.get(seq)


_KEPT_PAGES = 8
_OFFERS_A_TURN = 64
