"""The database gone for half a minute, the blob store without room: jobs wait and go on, nothing lost or doubled."""

import asyncio
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from lifecycle.shop import Shop, a_home, open_shop, settings_in, shell
from shopfloor.apps.worker import working
from shopfloor.domain.jobs.models import Job
from shopfloor.infra import schema
from shopfloor.infra.embedded import EmbeddedPostgres

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("life-stores")]

GONE_S = 30


@pytest.mark.slow
async def test_a_database_gone_for_half_a_minute_is_waited_for_and_nothing_is_lost_or_doubled(image: None) -> None:
    async with a_home() as home:
        server = EmbeddedPostgres(home.parent / "external")
        url = await asyncio.to_thread(server.start)
        await asyncio.to_thread(schema.migrate, url)
        async with open_shop(settings_in(home, database={"url": url})) as shop, working(shop.parts):
            await through_an_outage(shop, server, home.parent / "external" / "data")
        await asyncio.to_thread(server.stop)


async def through_an_outage(shop: Shop, server: EmbeddedPostgres, data: Path) -> None:
    counting = "echo x >> count.txt; sleep 5"
    tasks = {
        "down-call": shop.script(
            "down-call", shell("echo 1 >> a.txt"), {**shell("echo 2 >> a.txt"), "latency_ms": 5_000}
        ),
        "down-command": shop.script("down-command", shell(counting), shell("cat count.txt")),
    }
    jobs = [await shop.submit(task, checks=["true"]) for task in tasks.values()]
    await shop.asked("down-call", turn=1)
    await shop.seen(jobs[1].id, "tool.started", tool="shell")

    os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)  # as `pg_ctl stop -m immediate`
    await asyncio.sleep(GONE_S)
    await asyncio.to_thread(server.start)
    jobs = [await shop.ended(job.id, within_s=90) for job in jobs]

    for name, job in zip(tasks, jobs, strict=True):
        assert (job.state, job.verified, job.crashes) == ("succeeded", True, 0), await shop.story(job.id)
        await whole(shop, name, job)
    assert (await shop.patch(jobs[0])).count("+1\n+2\n") == 1
    assert (await shop.patch(jobs[1])).count("+x\n") == 1


async def whole(shop: Shop, name: str, job: Job) -> None:
    bill = shop.bill(name)
    assert set(Counter(entry.turn for entry in bill.billed).values()) == {1}, name
    assert (job.cost_nanos - job.unknown_nanos, job.held_nanos) == (bill.cost_nanos, 0)
    events = await shop.events(job.id)
    assert [event.seq for event in events] == list(range(1, job.last_seq + 1))
    finished = [event.data["call"] for event in events if event.kind == "tool.finished"]
    assert len(finished) == len(set(finished))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
async def test_a_blob_store_without_room_is_waited_for_and_named(image: None) -> None:
    async with a_home() as home:
        settings = settings_in(home)
        settings.blobs_folder.mkdir(parents=True)
        if not await asyncio.to_thread(done, "mount", "-t", "tmpfs", "-o", "size=3m", "test", settings.blobs_folder):
            pytest.skip("this machine does not let its tests mount")
        try:
            async with open_shop(settings) as shop, working(shop.parts):
                await without_room(shop, settings.blobs_folder)
        finally:
            assert await asyncio.to_thread(done, "umount", settings.blobs_folder)


async def without_room(shop: Shop, blobs: Path) -> None:
    task = shop.script("no-room", shell("echo 1 > one.txt"), shell("head -c 4000000 /dev/urandom > big.bin"))
    job = await shop.submit(task)
    failed = await shop.seen(job.id, "run.failed")
    assert failed.data["error"]["code"] == "blob-store-full", failed.data
    assert failed.data["error"]["detail"] == f"There is no room left in {blobs}. Free space or move the store."

    assert await asyncio.to_thread(done, "mount", "-o", "remount,size=64m", blobs)
    job = await shop.ended(job.id)

    assert (job.state, job.runs) == ("succeeded", 2), await shop.story(job.id)
    assert [change["path"] for change in job.changes or []] == ["big.bin", "one.txt"]
    assert Counter(entry.turn for entry in shop.bill("no-room").billed) == {0: 1, 1: 1, 2: 1}


def done(*command: str | Path) -> bool:
    return subprocess.run(list(map(str, command)), check=False, capture_output=True).returncode == 0
