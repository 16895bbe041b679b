"""The counters that several processes share, in Redis: one script counts, one round trip serves all who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar, cast

from limits.aio.storage import RedisStorage
from redis.exceptions import RedisError

from shopfloor.infra.rate_limits import Count, Window
from shopfloor.infra.redis_client import client_of, close_storage

_MOST_AT_ONCE = 128
_SLICES = 10

# Redis runs a script alone, so nothing comes between looking and counting. The clock is Redis's own: processes on
# machines whose clocks differ count alike. The arithmetic is that of rate_limits.py, in whole numbers.
# ARGV: for each request how many windows it has, then limit and length in milliseconds of each; KEYS: their counters.
_COUNT = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local answer, key, place = {}, 0, 1
while place <= #ARGV do
  local count, states, fits = tonumber(ARGV[place]), {}, true
  for n = 1, count do
    local limit, length = tonumber(ARGV[place + 2 * n - 1]), tonumber(ARGV[place + 2 * n])
    local found = redis.call('HMGET', KEYS[key + n], 's', 'c', 'p')
    local start, current, previous = tonumber(found[1]) or now, tonumber(found[2]) or 0, tonumber(found[3]) or 0
    local elapsed = math.max(0, now - start)
    if elapsed >= 2 * length then
      start, elapsed, current, previous = now, 0, 0, 0
    elseif elapsed >= length then
      start, elapsed, current, previous = start + length, elapsed - length, 0, current
    end
    local used = current + math.floor((previous * (length - elapsed) + length - 1) / length)
    fits = fits and used < limit
    states[n] = {start, current, previous, length}
    answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = current, previous, elapsed
  end
  if fits then
    for n = 1, count do
      local state = states[n]
      redis.call('HSET', KEYS[key + n], 's', state[1], 'c', state[2] + 1, 'p', state[3])
      redis.call('PEXPIRE', KEYS[key + n], 2 * state[4])
    end
  end
  key, place = key + count, place + 2 * count + 1
end
return answer
"""

_Asked = tuple[Sequence[Window], "asyncio.Future[list[Count]]"]


class SharedWindows:
    """The counters in Redis. `limits` reaches it (one server, Sentinel, Cluster); the script is ours.

    Requests that come while an answer is under way go together with the next script: the cost of a round trip is
    shared, and a pool is never short of connections.
    """

    # What says that Redis is gone, or not well.
    AWAY: ClassVar[tuple[type[Exception], ...]] = (RedisError, OSError, TimeoutError)

    def __init__(self, storage: RedisStorage, *, timeout_s: float = 0.2) -> None:
        self._storage = storage
        self._timeout_s = timeout_s
        self._script = client_of(storage).register_script(_COUNT)
        self._waiting: list[_Asked] = []
        self._sender: asyncio.Task[None] | None = None

    async def take(self, windows: Sequence[Window]) -> list[Count]:
        """As `MemoryWindows.take`; on a cluster each group by itself. Raises: AWAY."""
        answer: asyncio.Future[list[Count]] = asyncio.get_running_loop().create_future()
        self._waiting.append((windows, answer))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())
        return await answer

    async def probe(self) -> None:
        """Whether a counter can be written. Raises: as `take`."""
        await self._patiently(self._script(keys=[], args=[]))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        await close_storage(self._storage)

    async def _send(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
            try:
                counts = await self._counted([windows for windows, _ in batch])
            except BaseException as error:
                for _, answer in batch:
                    if not answer.done():
                        answer.set_exception(error if isinstance(error, Exception) else TimeoutError())
                if not isinstance(error, Exception):
                    raise
            else:
                for (_, answer), found in zip(batch, counts, strict=True):
                    if not answer.done():  # whoever asked may have left
                        answer.set_result(found)

    async def _counted(self, requests: list[Sequence[Window]]) -> list[list[Count]]:
        """The counts of each request's windows, in their order."""
        if self._storage.MODE != "CLUSTER":
            return await self._run(requests)
        # A script reaches the keys of one node: each group of each request counts by itself.
        parts: dict[str, list[tuple[int, list[int]]]] = {}
        for place, windows in enumerate(requests):
            for group in dict.fromkeys(window.group for window in windows):
                parts.setdefault(group, []).append(
                    (place, [n for n, each in enumerate(windows) if each.group == group])
                )
        runs = [
            self._run([[requests[place][n] for n in numbers] for place, numbers in members])
            for members in parts.values()
        ]
        found = [[Count()] * len(windows) for windows in requests]
        for members, answers in zip(parts.values(), await asyncio.gather(*runs), strict=True):
            for (place, numbers), counts in zip(members, answers, strict=True):
                for n, count in zip(numbers, counts, strict=True):
                    found[place][n] = count
        return found

    async def _run(self, requests: Sequence[Sequence[Window]]) -> list[list[Count]]:
        keys = [self._storage.bridge.prefixed_key(window.key) for windows in requests for window in windows]
        arguments: list[int] = []
        for windows in requests:
            arguments.append(len(windows))
            for window in windows:
                arguments += (window.quota.limit, window.quota.window_s * 1_000)
        flat = iter(cast("list[int]", await self._patiently(self._script(keys=keys, args=arguments))))
        return [[Count(next(flat), next(flat), next(flat)) for _ in windows] for windows in requests]

    async def _patiently(self, asking: Any) -> Any:
        """The answer, waited for in ten slices.

        A process that was busy for long has waited for one of them only, and doesn't take its own slowness for a Redis
        that is gone.
        """
        task = asyncio.ensure_future(asking)
        try:
            for _ in range(_SLICES):
                done, _pending = await asyncio.wait({task}, timeout=self._timeout_s / _SLICES)
                if done:
                    return task.result()
            raise TimeoutError(f"Redis did not answer within {self._timeout_s:g} s")
        finally:
            task.cancel()
