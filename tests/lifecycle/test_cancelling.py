"""Cancel at any place: the job ends soon, what was done is kept, nothing runs on."""

from typing import Any

import pytest

from lifecycle.shop import Shop, shell
from shopfloor.domain.access import projects
from shopfloor.domain.jobs.models import Job

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("life-ends")]

SOON_S = 15  # far below the minute that each of these would last; benchmarks/cancel.py has the figure
SLOW: dict[str, Any] = {"tool_calls": [{"name": "finish", "arguments": "from-schema"}], "latency_ms": 60_000}


async def cancelled(shop: Shop, job: Job) -> Job:
    await shop.cancel(job.id)
    ended = await shop.ended(job.id, within_s=SOON_S)
    assert (ended.state, ended.ending, ended.verified) == ("cancelled", "cancelled", None), await shop.story(job.id)
    assert ended.held_nanos == 0
    events = await shop.events(job.id)
    assert [event.seq for event in events] == list(range(1, ended.last_seq + 1))
    assert events[-1].kind == "job.cancelled"
    return ended


async def test_a_model_call_under_way_is_broken_off_and_booked_at_its_bound(shop: Shop) -> None:
    task = shop.script("cancel-call", shell("echo one > one.txt"), SLOW)
    job = await shop.submit(task)
    await shop.asked("cancel-call", turn=1)

    job = await cancelled(shop, job)

    assert [change["path"] for change in job.changes or []] == ["one.txt"]
    assert job.unknown_nanos > 0
    assert job.cost_nanos - job.unknown_nanos == shop.bill("cancel-call").cost_nanos


async def test_a_command_under_way_is_killed_and_what_it_wrote_is_kept(shop: Shop) -> None:
    task = shop.script("cancel-command", shell("echo half > half.txt; sync half.txt; echo ready; sleep 60"))
    job = await shop.submit(task)
    await shop.seen(job.id, "tool.output")

    job = await cancelled(shop, job)

    assert [change["path"] for change in job.changes or []] == ["half.txt"]


async def test_a_queued_job_ends_at_once_without_ever_running(shop: Shop) -> None:
    slug = await shop.project({})
    await shop.do(lambda tx: _one_at_a_time(tx, slug))
    task = shop.script("cancel-queued", SLOW)
    first = await shop.submit(task, project=slug)
    second = await shop.submit(task, project=slug)
    await shop.seen(first.id, "job.running")

    ended = await cancelled(shop, second)

    assert (ended.runs, ended.cost_nanos, ended.last_seq) == (0, 0, 2)
    await cancelled(shop, first)


async def _one_at_a_time(tx: Any, slug: str) -> None:
    project = await projects.find_project(tx, slug)
    await projects.change_project(tx, project, {"max_running_jobs": 1})


async def test_a_baseline_check_under_way_is_killed(shop: Shop) -> None:
    job = await shop.submit("anything", checks=["sleep 60"])
    await shop.seen(job.id, "repository.ready")

    job = await cancelled(shop, job)

    assert (job.turns, job.cost_nanos, job.changes) == (0, 0, [])


async def test_cancelling_twice_is_fine_and_ends_it_once(shop: Shop) -> None:
    job = await shop.submit(shop.script("cancel-twice", SLOW))
    await shop.asked("cancel-twice")
    await shop.cancel(job.id)
    await shop.cancel(job.id)

    job = await shop.ended(job.id, within_s=SOON_S)

    assert (job.state, len(await shop.events(job.id, "job.cancelled"))) == ("cancelled", 1)
