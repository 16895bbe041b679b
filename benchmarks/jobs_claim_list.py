"""Admit, claim and list at 100,000 jobs against 1,000, on the embedded PostgreSQL: latency and CPU of client + server.

Reach: <= 1.5 times.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from jobs_database import fill, opened
from machine import report
from shopfloor.base.principal import Principal
from shopfloor.domain.jobs import dispatch, lease
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.infra.tx import Store, begin, begin_system

_WARM = 15

Work = Callable[[], Awaitable[Any]]


async def main(rounds: int, sizes: list[int]) -> None:
    async with AsyncExitStack() as stack:
        places = [await _prepared(stack, size) for size in sizes]
        for _ in range(_WARM):
            for place in places:
                await place.round()
        for place in places:
            place.forget()
        for _ in range(rounds):  # in turn, so that the machine's other work falls on all sizes alike
            for place in places:
                await place.round()
    small, large = places[0].figures(), places[-1].figures()
    ratios = {
        name: {kind: round(large[name][kind] / small[name][kind], 2) for kind in ("p50_ms", "cpu_ms")} for name in small
    }
    report(
        "jobs_claim_list",
        {
            "rounds": rounds,
            "by_jobs": {str(size): place.figures() for size, place in zip(sizes, places, strict=True)},
            "ratios": ratios,
            "worst_ratio_of_p50": max(each["p50_ms"] for each in ratios.values()),
            "worst_ratio_of_cpu": max(each["cpu_ms"] for each in ratios.values()),
            "reach": "<= 1.5",
        },
    )


@dataclass(slots=True)
class _Place:
    """One database with so many jobs, and what was measured on it."""

    url: str
    works: dict[str, Work]
    times: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    cpu: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    async def round(self) -> None:
        """Each piece of work once."""
        for name, work in self.works.items():
            before, started = _cpu_s(self.url), time.perf_counter()
            await work()
            self.times.setdefault(name, []).append((time.perf_counter() - started) * 1000)
            self.cpu.setdefault(name, []).append((_cpu_s(self.url) - before) * 1000)

    def forget(self) -> None:
        """The first rounds warmed the caches and the prepared statements."""
        self.times.clear()
        self.cpu.clear()

    def figures(self) -> dict[str, dict[str, float]]:
        """Milliseconds."""
        return {
            name: {
                "p50_ms": round(statistics.median(times), 3),
                "p90_ms": round(sorted(times)[len(times) * 9 // 10], 3),
                "cpu_ms": round(statistics.fmean(self.cpu[name]), 3),
            }
            for name, times in self.times.items()
        }


async def _prepared(stack: AsyncExitStack, size: int) -> _Place:
    store, owner, url = await stack.enter_async_context(opened())
    return _Place(url, _works(store, owner, fill(url, owner.organization_id, size)))


def _works(store: Store, owner: Principal, middle: UUID) -> dict[str, Work]:
    settings = JobsSettings(max_admitted=10**6)
    admitted: list[UUID] = []
    worker = lease.worker_principal(owner.organization_id, "bench")

    async def admit() -> None:
        async with begin_system(store) as tx:
            admitted.extend(await dispatch.admit(tx, settings))
        assert admitted

    async def claim() -> None:
        async with begin(store, worker) as tx:
            claimed = await lease.claim(tx, admitted.pop(), worker="bench")
            assert claimed is not None
        async with begin(store, worker) as tx:
            await lease.give_back(tx, claimed, "measured")
        admitted.clear()

    async def sweep() -> None:
        async with begin_system(store) as tx:
            await dispatch.rescue(tx, settings, chance=random.Random(1))  # noqa: S311 - jitter
            await dispatch.wake(tx)
            await dispatch.readmit(tx)

    def page(**wanted: Any) -> Work:
        after = wanted.pop("after", None)

        async def read() -> None:
            async with begin(store, owner) as tx:
                found = await jobs.jobs(tx, filters=wanted, after=after, limit=50)
            assert len(found) == 50 or wanted.get("state") == ["dead"]

        return read

    return {
        "admit": admit,
        "claim": claim,
        "rescue, wake, readmit": sweep,
        "list: first page": page(),
        "list: page in the middle": page(after=middle),
        "list: succeeded": page(state=["succeeded"]),
        "list: dead (5 of them)": page(state=["dead"]),
        "list: queued, running or dead": page(state=["queued", "running", "dead"]),
    }


def _cpu_s(url: str) -> float:
    """Of this process and of the server's processes for it."""
    ticks = os.sysconf("SC_CLK_TCK")
    own = time.process_time()
    return own + sum(_process_ticks(pid) for pid in _backends(url)) / ticks


_PIDS: dict[str, list[int]] = {}


def _backends(url: str) -> list[int]:
    if url not in _PIDS:
        with psycopg.connect(url, autocommit=True) as admin:
            rows = admin.execute("select pid from pg_stat_activity where usename like 'shopfloor%'").fetchall()
        _PIDS[url] = [row[0] for row in rows]
    return _PIDS[url]


def _process_ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - read often
        fields = stat.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])  # user and system time. Source: proc_pid_stat(5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 100_000])
    given = parser.parse_args()
    asyncio.run(main(given.rounds, given.sizes))
