"""Submit: latency through the verb with its commit, one after another and 500 within ten seconds, none lost.

The floor, in the same run, is one row in one transaction on the same pool. Reach: p99 <= 200 ms, none lost.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from jobs_database import opened
from machine import report
from shopfloor.base.ids import new_id
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.domain.jobs.submit import Desk, Submission, submit
from shopfloor.infra.tx import Store, Tx, begin, begin_system

_BURST, _WITHIN_S = 500, 10.0


async def main(rounds: int) -> None:
    async with opened() as (store, owner, _):
        desk = Desk(JobsSettings(default_model="mock/small"), lambda: ["coding"], _any_model, _any_repository)

        async def one() -> None:
            async with begin(store, owner) as tx:
                await submit(tx, desk, Submission("Fix the failing test"), idempotency_key=new_id().hex)

        async def floor() -> None:
            async with begin(store, owner) as tx:
                await tx.execute("update projects set updated_at = now()")

        await _times(one, 20)
        lone, least = await _times(one, rounds), await _times(floor, rounds)
        before = await _jobs(store)
        burst, took_s = await _burst(one)
        lost = before + _BURST - await _jobs(store)
    report(
        "jobs_submit",
        {
            "one_at_a_time_ms": _spread(lone),
            "floor_one_row_one_commit_ms": _spread(least),
            "times_the_floor_p50": round(statistics.median(lone) / statistics.median(least), 2),
            f"{_BURST}_in_{_WITHIN_S:.0f}_s_ms": _spread(burst),
            "burst_took_s": round(took_s, 2),
            "lost": lost,
            "reach": "p99 <= 200 ms, 500 in 10 s, 0 lost",
        },
    )


async def _times(work: Callable[[], Awaitable[None]], rounds: int) -> list[float]:
    found: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter()
        await work()
        found.append((time.perf_counter() - started) * 1000)
    return found


async def _burst(work: Callable[[], Awaitable[None]]) -> tuple[list[float], float]:
    """Evenly over the ten seconds, each from when it was due: a submission that waits for another counts as slow."""
    begun = time.perf_counter()

    async def at(due_s: float) -> float:
        await asyncio.sleep(begun + due_s - time.perf_counter())
        await work()
        return (time.perf_counter() - begun - due_s) * 1000

    found = await asyncio.gather(*(at(number * _WITHIN_S / _BURST) for number in range(_BURST)))
    return list(found), time.perf_counter() - begun


async def _jobs(store: Store) -> int:
    async with begin_system(store) as tx:
        row = await tx.one("select count(*) as n from jobs j join events e on e.job_id = j.id where e.seq = 1")
    assert row is not None
    return int(row["n"])


def _spread(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "p50": round(statistics.median(ordered), 2),
        "p99": round(ordered[int(len(ordered) * 0.99)], 2),
        "worst": round(ordered[-1], 2),
    }


async def _any_model(tx: Tx, model: str) -> str:
    del tx
    return model


def _any_repository(url: str, hosts: list[str]) -> None:
    del url, hosts


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=300)
    asyncio.run(main(parser.parse_args().rounds))
