"""How long a cancel takes while the model is thinking for a minute: from POST cancel until the API says `cancelled`.

API, worker, mock provider and database are processes of their own, the sandbox is real. The peer in the same run is the
provider's own client: closing its connection in the middle of the same call. Reach: <= 1.5 s.
Run: `python benchmarks/cancel.py --samples 20` (needs a Docker engine and the sandbox image).
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from contextlib import suppress

import httpx2

from installation import Installation, installation
from machine import report

SCENARIO = """
prices: {"*": {input: "3", output: "15"}}
otherwise: {tool_calls: [{name: finish, arguments: from-schema}], latency_ms: 60000}
"""
REACH_S = 1.5


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--samples", type=int, default=20)
    samples = arguments.parse_args().samples
    async with installation(SCENARIO) as made:
        await made.start_worker()
        ours = [await _cancel_one(made) for _ in range(samples)]
        peer = [await _hang_up(made.mock) for _ in range(samples)]
    report(
        "cancel",
        {
            "samples": samples,
            "cancel_s": _spread(ours),
            "hang_up_of_a_plain_client_s": _spread(peer),
            "within_reach": sum(each <= REACH_S for each in ours),
            "reach": f"<= {REACH_S} s",
        },
    )


async def _cancel_one(made: Installation) -> float:
    before = await _asked(made.mock)
    job = await made.submit()
    async with asyncio.timeout(60):
        while await _asked(made.mock) == before:  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.02)
    started = time.perf_counter()
    await made.post(f"jobs/{job['id']}/cancel", {})
    await made.reaches(job["id"], "cancelled", look_s=0.01)
    return time.perf_counter() - started


async def _hang_up(mock: httpx2.AsyncClient) -> float:
    """A call of the same kind without a platform around it, broken off after 100 ms."""
    body = {"model": "bench", "messages": [{"role": "user", "content": "x"}]}
    headers = {"Authorization": "Bearer sk-mock-bench"}
    call = asyncio.create_task(mock.post("/v1/chat/completions", json=body, headers=headers))
    await asyncio.sleep(0.1)
    started = time.perf_counter()
    call.cancel()
    with suppress(asyncio.CancelledError):
        await call
    return time.perf_counter() - started


async def _asked(mock: httpx2.AsyncClient) -> int:
    return len((await mock.get("/_mock/requests")).json()["requests"])


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {"p50": round(statistics.median(ordered), 4), "worst": round(ordered[-1], 4)}


if __name__ == "__main__":
    asyncio.run(main())
