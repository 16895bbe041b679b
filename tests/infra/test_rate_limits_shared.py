"""Counters that processes share: exact on one server, behind Sentinel, on a cluster; without Redis each by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from redis_servers import RedisServer, cluster, one_server, sentinels, until
from shopfloor.base.ids import new_id
from shopfloor.infra.rate_limiter import RateLimiter
from shopfloor.infra.rate_limits import Quota, Window
from shopfloor.infra.rate_limits_shared import SharedWindows
from shopfloor.infra.redis import RedisSettings
from shopfloor.infra.redis_client import redis_storage

pytestmark = pytest.mark.redis


class ProbeClock:
    """The machine's clock, but a sleep ends when the test says so."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        assert delay_s > 0
        await self.wake.wait()
        self.wake.clear()


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with one_server() as started:
        yield started


@asynccontextmanager
async def limiter_on(url: str, clock: ProbeClock | None = None) -> AsyncIterator[RateLimiter]:
    """A process's limiter. The time-out is long: the machine that tests is busy, and an answer counts."""
    storage = redis_storage(RedisSettings(url=SecretStr(url), timeout_s=5))
    assert storage is not None
    limiter = RateLimiter(SharedWindows(storage, timeout_s=5), clock=clock)
    await limiter.start()
    try:
        yield limiter
    finally:
        await limiter.aclose()


def windows_of(limit: int, *, most: int = 100_000) -> list[Window]:
    """A key with `limit`, its organization and the installation with `most`, each of this test's own."""
    group, everybody = new_id().hex, new_id().hex
    return [
        Window(Quota("organization", most), group, group),
        Window(Quota("key", limit), new_id().hex, group),
        Window(Quota("global", most), everybody),
    ]


async def passed(limiter: RateLimiter, windows: list[Window]) -> bool:
    return not any(level.wait_s for level in await limiter.take(windows))


async def count_parallel(url: str, limit: int) -> int:
    """How many of 500 requests to two processes pass."""
    windows = windows_of(limit)
    async with limiter_on(url) as one, limiter_on(url) as other:
        answers = await asyncio.gather(*(passed((one, other)[n % 2], windows) for n in range(500)))
        assert (one.away, other.away) == (None, None)
    return sum(answers)


async def test_of_500_parallel_requests_to_two_processes_exactly_the_limit_passes(server: RedisServer):
    assert await count_parallel(server.url, 137) == 137


async def test_behind_sentinel_it_is_as_exact_and_a_new_primary_is_found():
    with sentinels() as started:
        assert await count_parallel(started.url, 137) == 137
        clock = ProbeClock()
        async with limiter_on(started.url, clock) as limiter:
            started.primary.stop()
            windows = windows_of(1)
            assert await passed(limiter, windows)  # by this process alone
            assert limiter.away is not None
            await asyncio.to_thread(until, lambda: started.replica.client().role()[0] == b"master", "no new primary")
            await _back(limiter, clock)
            assert await passed(limiter, windows)  # the new primary knows nothing of what the process counted
            assert not await passed(limiter, windows)
            assert any(windows[1].key in key.decode() for key in started.replica.client().scan_iter())


async def test_on_a_cluster_it_is_as_exact_and_a_group_lies_on_one_node():
    with cluster() as url:
        assert await count_parallel(url, 137) == 137
        async with limiter_on(url) as limiter:
            windows = windows_of(1)
            assert await passed(limiter, windows)
            assert not await passed(limiter, windows)


async def test_a_refused_request_counts_in_none_of_its_windows(server: RedisServer):
    windows = windows_of(3)
    async with limiter_on(server.url) as limiter:
        for _ in range(10):
            found = await limiter.take(windows)
    assert [level.remaining for level in found] == [100_000 - 3, 0, 100_000 - 3]
    assert [bool(level.wait_s) for level in found] == [False, True, False]


async def test_redis_and_memory_count_alike(server: RedisServer):
    async with limiter_on(server.url) as limiter:
        alone, windows = RateLimiter(), windows_of(4)
        for _ in range(6):
            ours, theirs = await alone.take(windows), await limiter.take(windows)
            assert [each.remaining for each in ours] == [each.remaining for each in theirs]
            assert [bool(each.wait_s) for each in ours] == [bool(each.wait_s) for each in theirs]


async def test_a_counter_ends_by_itself_and_names_nobody_but_by_id(server: RedisServer):
    windows = windows_of(4)
    async with limiter_on(server.url) as limiter:
        await limiter.take(windows)
    key = f"shopfloor:{windows[1].key}"
    assert 60 < server.client().ttl(key) <= 120
    assert server.client().hget(key, "c") == b"1"


async def test_a_window_slides_in_redis_as_it_does_in_memory(server: RedisServer):
    windows = [Window(Quota("key", 10), new_id().hex)]
    key = f"shopfloor:{windows[0].key}"
    async with limiter_on(server.url) as limiter:
        assert [await passed(limiter, windows) for _ in range(11)] == [True] * 10 + [False]
        client = server.client()
        client.hincrby(key, "s", -90_000)  # as if it had started a minute and a half ago
        found = await limiter.take(windows)
        assert found[0].remaining == 4  # half of the ten still count, and this one
        client.hincrby(key, "s", -120_000)
        assert (await limiter.take(windows))[0].remaining == 9


async def test_without_redis_each_process_counts_by_itself_and_comes_back(server: RedisServer):
    with one_server() as own:
        clock, windows = ProbeClock(), windows_of(2)
        async with limiter_on(own.url, clock) as limiter:
            assert await passed(limiter, windows)
            own.stop()
            with capture_logs() as logs:
                answers = await asyncio.gather(*(passed(limiter, windows) for _ in range(20)))
            assert sum(answers) == 2  # a fresh count, exact within the process
            assert [line["event"] for line in logs] == ["redis.away"]  # told once, not at each request
            own.start()
            with capture_logs() as logs:
                await _back(limiter, clock)
            assert [line["event"] for line in logs] == ["redis.back"]
            assert await passed(limiter, windows)
            assert own.client().dbsize() == 3


async def test_a_process_starts_while_redis_is_away(server: RedisServer):
    with one_server() as own:
        own.stop()
        clock = ProbeClock()
        async with limiter_on(own.url, clock) as limiter:
            assert limiter.away is not None
            assert await passed(limiter, windows_of(2))
            own.start()
            await _back(limiter, clock)


async def test_a_redis_that_is_gone_without_a_word_is_waited_for_once():
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(True)
        await reader.read()  # until the other side gives up
        writer.close()

    asked: list[bool] = []
    hole = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = hole.sockets[0].getsockname()[1]
    storage = redis_storage(RedisSettings(url=SecretStr(f"redis://127.0.0.1:{port}/0"), timeout_s=0.05))
    assert storage is not None
    limiter = RateLimiter(SharedWindows(storage, timeout_s=0.05), clock=ProbeClock())
    answers = await asyncio.gather(*(passed(limiter, windows_of(5)) for _ in range(50)))
    assert all(answers)
    assert len(asked) == 1
    assert "did not answer within 0.05 s" in str(limiter.away)
    assert all([await passed(limiter, windows_of(5)) for _ in range(50)])
    assert len(asked) == 1  # the breaker is open: nobody waits again
    await limiter.aclose()
    hole.close()


async def test_a_replica_that_cannot_be_written_is_as_good_as_away(server: RedisServer):
    with one_server("--replicaof", f"127.0.0.1 {server.port}") as replica:
        until(lambda: replica.client().info("replication")["master_link_status"] == "up", "no replication")
        async with limiter_on(replica.url, ProbeClock()) as limiter:
            assert await passed(limiter, windows_of(5))
            assert "read only" in str(limiter.away).lower()


async def test_a_password_is_used_and_never_told():
    with one_server("--requirepass", "visibly-fake-0000") as own:
        right = own.url.replace("redis://", "redis://:visibly-fake-0000@")
        wrong = own.url.replace("redis://", "redis://:visibly-fake-1111@")
        async with limiter_on(right) as limiter:
            assert await passed(limiter, windows_of(5))
            assert limiter.away is None
        with capture_logs() as logs:
            async with limiter_on(wrong, ProbeClock()) as limiter:
                assert limiter.away is not None
        assert "visibly-fake" not in str(logs) + str(RedisSettings(url=SecretStr(right)))


async def _back(limiter: RateLimiter, clock: ProbeClock) -> None:
    """Let it probe until Redis is well again."""
    async with asyncio.timeout(30):
        while limiter.away is not None:
            clock.wake.set()
            await asyncio.sleep(0.01)
