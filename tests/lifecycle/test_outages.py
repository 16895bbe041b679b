"""A provider that goes down under ten jobs: none fails for it, none is paid twice, and they go on by themselves."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from lifecycle.shop import Shop, a_home, open_shop, settings_in, shell
from shopfloor.apps.worker import working
from shopfloor.domain.models import breakers, store
from shopfloor.testing.mock_provider import serve

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("life-outages")]

BREAKER = {"least_calls": 4, "open_s": 0.5, "open_longest_s": 1.0}
JOBS = 10


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(image: None) -> AsyncIterator[Shop]:
    """An installation whose breakers open and are probed quickly."""
    async with a_home() as home:
        settings = settings_in(home, providers={"breaker": BREAKER}, jobs={"slots": 5})
        async with open_shop(settings) as opened, working(opened.parts):
            yield opened


async def test_ten_jobs_outlast_an_outage_and_go_on_by_themselves(shop: Shop) -> None:
    tasks = [shop.script(f"out{n}", shell(f"echo {n} > {n}.txt"), shell("ls")) for n in range(JOBS)]
    jobs = [await shop.submit(task) for task in tasks]
    await shop.asked("out0", 1, within_s=120)  # under way
    shop.mock.app.outage(3_600, 529)
    waiting = [job for job in jobs if await _parked(shop, job.id)]
    assert waiting
    opened = await _wait_until_open(shop)
    report = await shop.parts.health.report()
    assert (report.status, report.components["providers"].status) == ("degraded", "degraded")
    assert await shop.parts.health.ready()  # the API and the page stay up
    shop.mock.app.outage(0)

    ended = [await shop.ended(job.id, within_s=240) for job in jobs]

    assert {job.state for job in ended} == {"succeeded"}, await shop.story(ended[0].id)
    assert [(job.failures, job.crashes, job.unknown_nanos, job.held_nanos) for job in ended] == [(0, 0, 0, 0)] * JOBS
    bills = [shop.bill(f"out{n}") for n in range(JOBS)]
    assert [job.cost_nanos for job in ended] == [bill.cost_nanos for bill in bills]
    asked_of = Counter((entry.conversation, entry.turn) for bill in bills for entry in bill.billed)
    assert set(asked_of.values()) == {1}  # no reply was paid twice
    lines = [event.kind for job in ended for event in await shop.events(job.id)]
    assert "model.breaker-opened" in lines
    assert opened


async def test_with_a_chain_the_jobs_go_to_the_next_model_and_stay_there(shop: Shop) -> None:
    async with serve(shop.mock.app.scenario) as sick:
        model = await shop.provider("sick", sick.openai_url)
        sick.app.outage(3_600)
        tasks = [shop.script(f"chain{n}", shell(f"echo {n} > {n}.txt"), shell("ls")) for n in range(4)]
        jobs = await asyncio.gather(*(shop.run(task, model=f"{model},mock/demo", within_s=120) for task in tasks))
        asked = sick.bill().requests

    assert [(job.state, job.runs) for job in jobs] == [("succeeded", 1)] * 4, await shop.story(jobs[0].id)
    assert [job.cost_nanos for job in jobs] == [shop.bill(f"chain{n}").cost_nanos for n in range(4)]
    assert asked <= len(jobs)  # one failing call a run at most, not one a turn
    for job in jobs:
        assert len(await shop.events(job.id, "model.failed-over")) == 1


async def _parked(shop: Shop, job_id: Any) -> bool:
    """Whether the outage parks this job, or it had ended before."""
    async with asyncio.timeout(120):
        while not (job := await shop.job(job_id)).ended:
            if await shop.events(job_id, "job.waiting"):
                return True
            if job.state == "queued" and job.runs == 0:
                return False  # its turn comes later
            await asyncio.sleep(0.05)
    return False


async def _wait_until_open(shop: Shop) -> breakers.StoredBreaker:
    async with asyncio.timeout(60):
        provider_id = (await shop.do(lambda tx: store.providers_named(tx, ["mock"])))["mock"].id
        while True:
            for row in await shop.do(lambda tx: breakers.of_provider(tx, provider_id)):
                if row.open_until is not None:
                    return row
            await asyncio.sleep(0.05)
