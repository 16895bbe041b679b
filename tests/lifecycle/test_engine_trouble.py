"""The container engine away, restarted, or without the image: jobs wait for it and go on, and say why."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
import pytest_asyncio

from lifecycle.engine_door import EngineDoor
from lifecycle.shop import Shop, a_home, open_shop, settings_in, shell
from shopfloor.apps.worker import working
from shopfloor.base.ids import new_id
from shopfloor.engine.sandbox.engine import engine_at
from shopfloor.engine.sandbox.records import OWNER_LABEL
from shopfloor.engine.sandbox.settings import default_engine_url

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("life-trouble")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(image: None) -> AsyncIterator[EngineDoor]:
    async with a_home() as home:
        made = EngineDoor(default_engine_url(), home.parent)
        await made.open()
        yield made
        await made.shut()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(door: EngineDoor) -> AsyncIterator[Shop]:
    """An installation that reaches its engine through the door."""
    async with a_home() as home:
        settings = settings_in(home, sandbox={"engine_url": door.url})
        async with open_shop(settings) as opened, working(opened.parts):
            yield opened


async def test_a_job_waits_for_an_engine_that_is_not_running_and_finishes_once_it_is(
    shop: Shop, door: EngineDoor
) -> None:
    await door.shut()
    try:
        job = await shop.submit(shop.script("no-engine", shell("echo x > x.txt")))
        failed = await shop.seen(job.id, "run.failed")
    finally:
        await door.open()
    assert failed.data["error"]["code"] == "sandbox-unavailable"
    assert "engine" in failed.data["error"]["detail"]
    assert "SHOPFLOOR_SANDBOX__ENGINE_URL" in failed.data["error"]["detail"]

    job = await shop.ended(job.id)

    assert (job.state, job.crashes) == ("succeeded", 0), await shop.story(job.id)
    assert [entry.turn for entry in shop.bill("no-engine").billed] == [0, 1]


async def test_a_container_killed_under_a_command_costs_that_command_alone(shop: Shop) -> None:
    task = shop.script("killed", shell("echo 1 >> one.txt"), shell("echo 2 >> two.txt; echo on; sleep 3"))
    job = await shop.submit(task)
    await shop.seen(job.id, "tool.output")

    assert await kill_containers_of(job.id) == 1
    job = await shop.ended(job.id)

    await went_on(shop, "killed", job.id)
    assert [change["path"] for change in job.changes or []] == ["one.txt", "two.txt"]
    assert "+2\n+2\n" not in await shop.patch(job)


async def test_an_engine_that_restarts_under_a_job_costs_no_finished_step(shop: Shop, door: EngineDoor) -> None:
    task = shop.script("restart", shell("echo 1 >> one.txt"), shell("echo 2 >> two.txt; echo on; sleep 3"))
    job = await shop.submit(task)
    await shop.seen(job.id, "tool.output")

    await door.shut()
    await shop.seen(job.id, "run.failed")
    await door.open()
    job = await shop.ended(job.id)

    await went_on(shop, "restart", job.id)
    assert "+2\n+2\n" not in await shop.patch(job)


async def test_without_the_image_a_job_fails_and_says_how_to_get_it(door: EngineDoor) -> None:
    async with a_home() as home:
        settings = settings_in(home, sandbox={"image": f"shopfloor-test-missing:{new_id().hex[-8:]}"})
        async with open_shop(settings) as shop, working(shop.parts):
            job = await shop.run("x")

    assert (job.state, job.ending) == ("failed", "image-missing")
    assert job.error is not None
    assert "shopfloor-test-missing" in job.error["detail"]


async def went_on(shop: Shop, name: str, job_id: UUID) -> None:
    """It succeeded in a second run; no reply was paid for twice, no finished step done again, no event lost."""
    job = await shop.job(job_id)
    assert (job.state, job.runs, job.crashes) == ("succeeded", 2, 0), await shop.story(job_id)
    assert Counter(entry.turn for entry in shop.bill(name).billed) == {0: 1, 1: 1, 2: 1}
    assert job.cost_nanos == shop.bill(name).cost_nanos
    finished = [event.data["call"] for event in await shop.events(job_id, "tool.finished")]
    assert len(finished) == len(set(finished))
    assert [event.seq for event in await shop.events(job_id)] == list(range(1, job.last_seq + 1))


async def kill_containers_of(job_id: UUID) -> int:
    """As an operator would, by hand; how many."""
    async with asyncio.timeout(10), engine_at(default_engine_url()) as engine:
        found = [one for one in await engine.labelled(OWNER_LABEL) if str(job_id) in one["Labels"].values()]
        for container in found:
            await engine.kill(container["Id"])
        return len(found)
