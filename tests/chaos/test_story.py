"""The story of dead letters with real workers and real sandboxes: dies five times, is looked at, requeued, succeeds."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chaos.ground import ground, why_not

pytestmark = [pytest.mark.docker, pytest.mark.redis, pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(300)]
JOB: dict[str, Any] = {"task": "[[conversation: story]] Write two lines.", "model": "mock/chaos", "checks": []}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below pytest's own: the database's user has to pass."""
    if (lacking := why_not()) is not None:
        pytest.skip(lacking)
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        pytest.skip("there is no container engine")
    made = Path(tempfile.mkdtemp(prefix="sf-story-", dir="/var/tmp" if os.geteuid() == 0 else None))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


async def test_a_job_whose_worker_dies_five_times_waits_as_a_letter_and_succeeds_once_requeued(folder: Path):
    async with ground(folder, max_crashes=5) as made, made.client(0) as client:
        for spare in made.workers[1:]:
            await asyncio.to_thread(spare.kill)
        job = (await client.post("/api/v1/jobs", json=JOB)).raise_for_status().json()
        for _ in range(5):
            await _reaches(client, job["id"], "running")
            await asyncio.to_thread(made.workers[0].kill)
            made.workers[0].start()
            await _reaches(client, job["id"], "queued", "dead")
        assert (await _reaches(client, job["id"], "dead"))["crashes"] == 5

        letter = await _letter(client)
        assert (letter["kind"], letter["job_id"], letter["reason"]["code"]) == ("job", job["id"], "worker-lost")
        assert [line["error"]["code"] for line in letter["history"]] == ["worker-lost"] * 5
        again = await client.post(f"/api/v1/dead-letters/{letter['id']}/requeue", json={})
        child = await _reaches(client, again.raise_for_status().json()["requeued_as"], "succeeded", "failed", "dead")
        assert (child["state"], child["parent_id"]) == ("succeeded", job["id"])
        assert (await _reaches(client, job["id"], "dead"))["state"] == "dead"


async def _reaches(client: httpx2.AsyncClient, job_id: str, *states: str) -> dict[str, Any]:
    async with asyncio.timeout(90):
        while (job := (await client.get(f"/api/v1/jobs/{job_id}")).json()).get("state") not in states:  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.02)
    return job


async def _letter(client: httpx2.AsyncClient) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while not (rows := (await client.get("/api/v1/dead-letters")).json()["items"]):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.2)
    [row] = rows
    return (await client.get(f"/api/v1/dead-letters/{row['id']}")).json()
