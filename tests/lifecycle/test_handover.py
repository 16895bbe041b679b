"""A worker that has to go gives its jobs back at once; the next one goes on where it was and pays nothing again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lifecycle.shop import Shop, a_home, open_shop, settings_in, shell
from shopfloor.apps.wiring import open_parts
from shopfloor.apps.worker import working

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("life-ends")]

SLOW = {**shell("echo three > three.txt"), "latency_ms": 4_000}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def idle(image: None) -> AsyncIterator[Shop]:
    """An installation without a worker."""
    async with a_home() as home, open_shop(settings_in(home)) as shop:
        yield shop


async def test_jobs_given_back_in_a_model_call_and_in_a_command_go_on_at_another_worker(idle: Shop) -> None:
    in_call = idle.script("stop-call", shell("echo one > one.txt"), shell("echo two > two.txt"), SLOW)
    in_command = idle.script("stop-command", shell("echo 1 >> a.txt"), shell("echo x >> b.txt; echo on; sleep 4"))
    async with open_parts(idle.parts.settings) as first:
        async with working(first):
            calling, commanding = await asyncio.gather(idle.submit(in_call), idle.submit(in_command))
            await idle.asked("stop-call", turn=2)
            await idle.seen(commanding.id, "tool.output")
            given_back_from = asyncio.get_running_loop().time()
        took_s = asyncio.get_running_loop().time() - given_back_from

    assert took_s < 3.5, "a model call and a command of four seconds were waited for"
    for job in (calling, commanding):
        now = await idle.job(job.id)
        assert (now.state, now.crashes, now.held_nanos) == ("queued", 0, 0), await idle.story(job.id)

    async with open_parts(idle.parts.settings) as second, working(second):
        calling, commanding = await asyncio.gather(idle.ended(calling.id), idle.ended(commanding.id))

    assert [(job.state, job.runs) for job in (calling, commanding)] == [("succeeded", 2)] * 2
    assert [change["path"] for change in calling.changes or []] == ["one.txt", "three.txt", "two.txt"]
    assert "+x\n" in (patch := await idle.patch(commanding))
    assert patch.count("+x\n") == patch.count("+1\n") == 1
    for name, job in (("stop-call", calling), ("stop-command", commanding)):
        bill = idle.bill(name)
        assert set(Counter(entry.turn for entry in bill.billed).values()) == {1}, name
        assert job.cost_nanos - job.unknown_nanos == bill.cost_nanos
        steps = [event.data["call"] for event in await idle.events(job.id, "tool.finished")]
        assert len(steps) == len(set(steps))
        assert [event.seq for event in await idle.events(job.id)] == list(range(1, job.last_seq + 1))
    assert calling.unknown_nanos > 0
    assert commanding.unknown_nanos == 0
