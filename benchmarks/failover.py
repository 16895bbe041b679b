"""Fail-over: from a provider's failing reply to the request at the next one; and what an open breaker costs per call.

The first figure is of a whole installation (API, worker, provider, database each a process), read from the provider's
own books: between the end of the reply that failed and the start of the request to the next model. The second is of the
gate in one process on a real database, with the bare call of an empty coroutine as its floor in the same run.
Reach: <= 50 ms and <= 1 ms.
Run: `python benchmarks/failover.py --samples 20` (needs a Docker engine and the sandbox image).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from datetime import datetime
from typing import Any

from installation import Installation, installation
from jobs_database import opened
from machine import report
from shopfloor.base.clock import SystemClock
from shopfloor.domain.models.gate import SharedGate
from shopfloor.domain.models.providers import NewProvider, add_provider
from shopfloor.engine.providers.breaker import BreakerPolicy
from shopfloor.engine.providers.gate import Ended, Lane, ProviderResting
from shopfloor.engine.providers.port import ProviderError
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import begin

SCENARIO = """
prices: {"*": {input: "3", output: "15"}}
scenes:
  - {name: sick, when: {model: "sick-*"}, otherwise: {text: x, faults: [{status: 529, times: always}]}}
  - {name: well, otherwise: {tool_calls: [{name: finish, arguments: from-schema}]}}
"""
REACH_FAIL_OVER_S = 0.050
REACH_OPEN_S = 0.001
CALLS = 20_000


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--samples", type=int, default=20)
    samples = arguments.parse_args().samples
    async with installation(SCENARIO) as made:
        sick = [f"sick-{n}" for n in range(samples)]  # each with a breaker of its own, which stays closed
        for model in ("well", *sick):
            for unit, usd in (("input", "3"), ("output", "15")):
                await made.post("prices", {"provider": "mock", "model": model, "unit": unit, "usd_per_million": usd})
        await made.start_worker()
        gaps = [await _fail_over(made, model) for model in sick]
    costs = await _open_breaker()
    report(
        "failover",
        {
            "samples": samples,
            "fail_over_s": {"p50": round(statistics.median(gaps), 4), "worst": round(max(gaps), 4)},
            "within_reach": sum(gap <= REACH_FAIL_OVER_S for gap in gaps),
            "open_breaker_per_call_s": costs,
            "reach": f"<= {REACH_FAIL_OVER_S} s; open breaker <= {REACH_OPEN_S} s a call",
        },
    )


async def _fail_over(made: Installation, model: str) -> float:
    """Seconds between the end of the failing reply and the next request, by the provider's books."""
    before = len(await _requests(made))
    job = await made.submit(model=f"mock/{model},mock/well")
    await made.reaches(job["id"], "succeeded", look_s=0.25)
    failed, answered = (await _requests(made))[before:][:2]
    assert (failed["model"], failed["status"], answered["model"]) == (model, 529, "well")
    return (_at(answered["started_at"]) - _at(failed["finished_at"])).total_seconds()


async def _requests(made: Installation) -> list[dict[str, Any]]:
    return (await made.mock.get("/_mock/requests")).json()["requests"]


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def _open_breaker() -> dict[str, float]:
    """Of one call that an open breaker refuses: processor time, and that of the empty coroutine."""
    async with opened() as (store, owner, _):
        async with begin(store, owner) as tx:
            new = NewProvider("mock", "mock", "sk-mock-bench", "http://127.0.0.1:9/v1")
            provider = await add_provider(tx, MasterKeySealer(bytes(range(32))), new)
        policy = BreakerPolicy(least_calls=3, open_s=600, open_longest_s=600)
        gate = SharedGate(store, clock=SystemClock(), chance=random.Random(1), policy=policy)  # noqa: S311 - jitter
        lane = Lane(owner.organization_id, provider.id, "mock", "small", "c0ffee00")
        for _ in range(policy.least_calls):
            failed = Ended(error=ProviderError("broken", http_status=500))
            await gate.leave(await gate.enter(lane, tokens=1, patience_s=1), failed)
        await _refused(gate, lane)  # reads once that it is open

        started = time.process_time()
        for _ in range(CALLS):
            await _refused(gate, lane)
        ours = (time.process_time() - started) / CALLS
        started = time.process_time()
        for _ in range(CALLS):
            await _empty()
        floor = (time.process_time() - started) / CALLS
    return {"cpu": round(ours, 7), "cpu_of_an_empty_coroutine": round(floor, 7), "calls": CALLS}


async def _refused(gate: SharedGate, lane: Lane) -> None:
    try:
        await gate.enter(lane, tokens=1, patience_s=1)
    except ProviderResting:
        return
    raise AssertionError("the breaker let it through")


async def _empty() -> None:
    """Nothing."""


if __name__ == "__main__":
    asyncio.run(main())
