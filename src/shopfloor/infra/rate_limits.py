"""How many requests pass: sliding windows, counted together or not at all. Pure arithmetic, and the counters in memory.

A window starts with its first request. Of the window before it as much still counts as it overlaps the last `window_s`
seconds: at no moment did more than `limit` pass evenly, and a counter costs the same however high its limit is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shopfloor.base.clock import Clock

MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class Quota:
    """So many requests in so many seconds."""

    name: str  # as clients see it: `key`
    limit: int
    window_s: int = MINUTE_S


@dataclass(frozen=True, slots=True)
class Window:
    """The quota of one subject."""

    quota: Quota
    subject: str
    group: str = "all"  # windows of one group are counted together or not at all, also on a Redis cluster

    @property
    def key(self) -> str:
        """What its counter is called; the braces keep a group on one node of a cluster."""
        return f"{{{self.group}}}:{self.quota.name}:{self.subject}"


@dataclass(frozen=True, slots=True)
class Count:
    """A counter as it was found, before the request that asks."""

    current: int = 0  # passed since the window started
    previous: int = 0  # passed in the window before
    elapsed_ms: int = 0  # since the window started


@dataclass(frozen=True, slots=True)
class Level:
    """How full a window is after the request that asked."""

    quota: Quota
    remaining: int
    reset_s: float  # until the window ends
    wait_s: float = 0.0  # until one more passes; 0: this one had room


def levels(windows: Sequence[Window], counts: Sequence[Count]) -> list[Level]:
    """What became of a request: it passed if no level has to wait."""
    pairs = list(zip(windows, counts, strict=True))
    taken = int(all(fits(window.quota, count) for window, count in pairs))
    return [_level(window.quota, count, taken) for window, count in pairs]


def fits(quota: Quota, count: Count) -> bool:
    """Whether one more passes."""
    return used(quota, count) < quota.limit


def used(quota: Quota, count: Count) -> int:
    """How much of the quota is taken: of the window before, as much as it overlaps, rounded up."""
    length_ms = quota.window_s * 1_000
    if not count.previous:
        return count.current
    return count.current - (-count.previous * (length_ms - count.elapsed_ms) // length_ms)


def wait_ms(quota: Quota, count: Count) -> int:
    """Until one more passes, if nobody else asks: until enough of the window before has slid out."""
    if fits(quota, count):
        return 0
    length_ms = quota.window_s * 1_000
    left_ms = length_ms - count.elapsed_ms
    if count.current >= quota.limit:  # not before this window is the one before
        return left_ms + _slid_out(count.current, quota.limit - 1, length_ms)
    return _slid_out(count.previous, quota.limit - 1 - count.current, length_ms) - count.elapsed_ms


def _slid_out(previous: int, may_stay: int, length_ms: int) -> int:
    """How long into a window at most `may_stay` of the `previous` ones still count, in milliseconds."""
    return -(-length_ms * (previous - may_stay) // previous) if previous > may_stay else 0


def _level(quota: Quota, count: Count, taken: int) -> Level:
    left_s = (quota.window_s * 1_000 - count.elapsed_ms) / 1_000
    return Level(quota, max(0, quota.limit - used(quota, count) - taken), left_s, wait_ms(quota, count) / 1_000)


@dataclass(slots=True)
class _Counter:
    started_ms: int
    current: int = 0
    previous: int = 0


class MemoryWindows:
    """The counters of one process.

    They live in two generations: what nobody asked for during a whole one is dropped with it, so a flood of new
    subjects costs memory for two generations and no sweep.
    """

    def __init__(self, clock: Clock, *, generation_s: float = 2.0 * MINUTE_S) -> None:
        self._clock = clock
        self._generation_s = generation_s
        self._young: dict[str, _Counter] = {}
        self._old: dict[str, _Counter] = {}
        self._turns_at_s = clock.monotonic() + generation_s

    def take(self, windows: Sequence[Window]) -> list[Count]:
        """Count one request in every window, or in none if one of them is full; the counts before it."""
        now_s = self._clock.monotonic()
        if now_s >= self._turns_at_s:
            # Asked after more than a whole generation: nothing in either still counts.
            self._old = self._young if now_s < self._turns_at_s + self._generation_s else {}
            self._young, self._turns_at_s = {}, now_s + self._generation_s
        now_ms = int(now_s * 1_000)
        counters = [self._counter(window, now_ms) for window in windows]
        counts = [Count(each.current, each.previous, now_ms - each.started_ms) for each in counters]
        if all(fits(window.quota, count) for window, count in zip(windows, counts, strict=True)):
            for counter in counters:
                counter.current += 1
        return counts

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def _counter(self, window: Window, now_ms: int) -> _Counter:
        key = window.key
        counter = self._young.get(key)
        if counter is None:
            counter = self._young[key] = self._old.pop(key, None) or _Counter(now_ms)
        length_ms = window.quota.window_s * 1_000
        elapsed_ms = now_ms - counter.started_ms
        if elapsed_ms >= 2 * length_ms:
            counter.started_ms, counter.current, counter.previous = now_ms, 0, 0
        elif elapsed_ms >= length_ms:
            counter.started_ms, counter.current, counter.previous = counter.started_ms + length_ms, 0, counter.current
        return counter
