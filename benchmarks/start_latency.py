"""From submit to running on an idle worker, and submits over HTTP: alone, and 500 within ten seconds.

Submit -> running is what the database saw: from the job's creation to the worker's claim, before any sandbox. The floor
of the HTTP figures, in the same run, is the cheapest route of the same server (GET /livez).
Reach: p50 <= 50 ms to running; p99 <= 200 ms for a submit; 500 submits in 10 s, none lost.
Run: `python benchmarks/start_latency.py` (needs a Docker engine and the sandbox image).
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import uuid4

from installation import JOB, Installation, answered, installation
from machine import report

SCENARIO = """
prices: {"*": {input: "3", output: "15"}}
otherwise: {tool_calls: [{name: finish, arguments: from-schema}]}
"""
BURST, WITHIN_S = 500, 10.0
IDLE_S = 0.6  # a worker removes a job's sandbox after its end; then it is idle


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--samples", type=int, default=50)
    samples = arguments.parse_args().samples
    async with installation(SCENARIO) as made:
        await made.start_worker()
        running = [await _until_running(made) for _ in range(samples)]
        made.stop()  # the rest is about taking jobs in; two cores can't run 500 sandboxes beside it
        lone = [await _timed(lambda: _submit(made)) for _ in range(samples)]
        floor = [await _timed(lambda: made.client.get("/livez")) for _ in range(samples)]
        answers, burst, took_s = await _burst(made)
        lost = len(answers - await _stored(made, answers))
    report(
        "start_latency",
        {
            "submit_to_running_ms": _spread(running),
            "samples": samples,
            "submit_http_alone_ms": _spread(lone),
            "livez_http_ms": _spread(floor),
            f"submit_http_{BURST}_in_{WITHIN_S:.0f}_s_ms": _spread(burst),
            "burst_took_s": round(took_s, 2),
            "answered_202": len(answers),
            "lost": lost,
            "reach": "p50 <= 50 ms to running; submit p99 <= 200 ms; 500 in 10 s, 0 lost",
        },
    )


async def _until_running(made: Installation) -> float:
    """Milliseconds; the worker is idle before, and idle again when this returns."""
    job = await made.submit()
    done = await made.reaches(job["id"], "succeeded", "failed", "dead")
    events = (await made.get(f"jobs/{job['id']}/events?limit=10"))["items"]
    at = next(event["at"] for event in events if event["kind"] == "job.running")
    created = datetime.fromisoformat(done["created_at"])
    await asyncio.sleep(IDLE_S)
    return (datetime.fromisoformat(at) - created).total_seconds() * 1000


async def _submit(made: Installation) -> str:
    headers = {"Idempotency-Key": uuid4().hex}
    return str(answered(await made.client.post("/api/v1/jobs", json=JOB, headers=headers))["id"])


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return (time.perf_counter() - started) * 1000


async def _burst(made: Installation) -> tuple[set[str], list[float], float]:
    """Submits evenly over ten seconds, each from when it was due: a late one is not excused."""
    answers: set[str] = set()
    started = time.perf_counter()

    async def one(number: int) -> float:
        due = started + number * WITHIN_S / BURST
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        answers.add(await _submit(made))
        return (time.perf_counter() - due) * 1000

    times = await asyncio.gather(*(one(number) for number in range(BURST)))
    return answers, list(times), time.perf_counter() - started


async def _stored(made: Installation, wanted: set[str]) -> set[str]:
    found: set[str] = set()
    cursor = ""
    while True:
        page = await made.get(f"jobs?limit=100{cursor}")
        found |= {job["id"] for job in page["items"]} & wanted
        if page["next_cursor"] is None or found == wanted:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def _spread(milliseconds: list[float]) -> dict[str, float]:
    ordered = sorted(milliseconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"p50": round(statistics.median(ordered), 2), "p99": round(p99, 2), "worst": round(ordered[-1], 2)}


if __name__ == "__main__":
    asyncio.run(main())
