"""What a rate limit check costs: four windows (organization, key, person, installation) and the headers that tell them.

In memory: CPU of a check. In Redis: the wall clock of one check at a time on loopback, and CPU a check when 500 come at
once; next to it the same four windows by the `limits` library's own strategy, one after the other, with what is left of
each. Exact: how many of 500 parallel requests to two processes' limiters pass a limit of 137.

    python benchmarks/rate_limits.py [--checks 5000] [--url redis://127.0.0.1:6379/0]
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from limits import RateLimitItemPerMinute
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from pydantic import SecretStr

from machine import report
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.infra.rate_limiter import RateLimiter
from shopfloor.infra.rate_limits import Quota, Window
from shopfloor.infra.rate_limits_shared import SharedWindows
from shopfloor.infra.redis import RedisSettings
from shopfloor.infra.redis_client import close_storage, redis_storage
from shopfloor.infra.web.rate_limiting import LimitsSettings, RequestLimits, Tally

MEMORY_US, REDIS_MS, PARALLEL, LIMIT = 30, 0.7, 500, 137
_MANY = 100_000_000
_ROUNDS = 7

Check = Callable[[], Awaitable[Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checks", type=int, default=5_000, help="a round")
    parser.add_argument("--url", help="of a Redis; left out: one is started")
    options = parser.parse_args()
    with _redis(options.url) as url:
        figures = asyncio.run(_measured(options.checks, url))
    reached = (
        figures["memory_cpu_us"] <= MEMORY_US
        and figures["redis_wall_ms"]["p50"] <= REDIS_MS
        and figures["passed_of_500_in_parallel"] == LIMIT
    )
    reach = f"<= {MEMORY_US} us in memory, <= {REDIS_MS} ms in Redis, {LIMIT} of {PARALLEL} exactly"
    report("rate_limits", {**figures, "checks": options.checks, "reach": reach, "reached": reached})


async def _measured(checks: int, url: str) -> dict[str, Any]:
    principal = Principal("key", new_id(), new_id(), user_id=new_id())
    memory = await _cpu_us(_check(RateLimiter(), principal), checks)
    one, other = _limiter(url), _limiter(url)
    check = _check(one, principal)
    await _wall_ms(check, 200)
    alone = await _wall_ms(check, checks // 5)
    started = time.process_time()
    for _ in range(10):
        await asyncio.gather(*(check() for _ in range(PARALLEL)))
    crowd = (time.process_time() - started) / 10 / PARALLEL * 1e6
    windows = [Window(Quota(name, LIMIT if name == "key" else _MANY), new_id().hex) for name in ("user", "key")]
    passed = await asyncio.gather(*((one, other)[n % 2].take(windows) for n in range(PARALLEL)))
    assert one.away is None
    assert other.away is None
    await one.aclose()
    await other.aclose()
    return {
        "memory_cpu_us": round(memory, 1),
        "redis_wall_ms": alone,
        "redis_cpu_us_in_a_crowd": round(crowd, 1),
        "limits_own_strategy_wall_ms": await _peer(url, checks // 20),
        "passed_of_500_in_parallel": sum(not any(level.wait_s for level in found) for found in passed),
    }


def _check(limiter: RateLimiter, principal: Principal) -> Check:
    names = ("key_per_minute", "user_per_minute", "organization_per_minute", "global_per_minute")
    limits = RequestLimits(LimitsSettings.model_validate(dict.fromkeys(names, _MANY)), limiter)
    return lambda: Tally(limits).principal(principal)


def _limiter(url: str) -> RateLimiter:
    storage = redis_storage(RedisSettings(url=SecretStr(url)))
    assert storage is not None
    return RateLimiter(SharedWindows(storage, timeout_s=5))


async def _peer(url: str, checks: int) -> dict[str, float]:
    storage = redis_storage(RedisSettings(url=SecretStr(url), timeout_s=2))
    assert storage is not None
    strategy, item, names = SlidingWindowCounterRateLimiter(storage), RateLimitItemPerMinute(_MANY), "abcd"

    async def check() -> None:
        for name in names:
            await strategy.hit(item, name)
            await strategy.get_window_stats(item, name)

    await _wall_ms(check, 20)
    found = await _wall_ms(check, checks)
    await close_storage(storage)
    return found


async def _cpu_us(check: Check, checks: int) -> float:
    rounds: list[float] = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        for _ in range(checks):
            await check()
        rounds.append((time.process_time() - started) / checks * 1e6)
    return statistics.median(rounds)


async def _wall_ms(check: Check, checks: int) -> dict[str, float]:
    times: list[float] = []
    for _ in range(checks):
        started = time.perf_counter()
        await check()
        times.append((time.perf_counter() - started) * 1_000)
    times.sort()
    return {"p50": round(statistics.median(times), 3), "p99": round(times[len(times) * 99 // 100], 3)}


@contextmanager
def _redis(url: str | None) -> Iterator[str]:
    if url is not None:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="sf-redis-") as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", ""]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            for _ in range(200):
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
