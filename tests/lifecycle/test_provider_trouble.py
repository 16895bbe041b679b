"""A provider on a bad day: retried where that helps, waited for when it is down, given up where it can't help."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from lifecycle.shop import Shop, a_home, open_shop, scenario_file, settings_in, shell
from shopfloor.apps.worker import working
from shopfloor.testing.mock_provider import serve

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("life-trouble")]

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenarios"
FAULTS: dict[str, list[dict[str, Any]]] = {
    "limited": [{"status": 429, "retry_after_s": 0.3}],
    "broken": [{"status": 500}],
    "overloaded": [{"status": 529}],
    "cut": [{"kind": "cut"}],
    "malformed": [{"kind": "malformed"}],
    "reset": [{"kind": "reset"}],
    "silent": [{"kind": "hang", "hang_ms": 20_000}],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hasty(image: None) -> AsyncIterator[Shop]:
    """An installation that waits two seconds for a reply."""
    async with a_home() as home:
        patient = {"least_calls": 1_000}  # seven kinds of fault at once would open the breaker, as they should
        settings = settings_in(home, providers={"call_timeout_s": 2, "breaker": patient}, jobs={"slots": 8})
        async with open_shop(settings) as shop, working(shop.parts):
            yield shop


async def test_every_fault_that_passes_is_outlived_and_paid_for_once(hasty: Shop) -> None:
    write = shell("echo x > x.txt")
    tasks = {name: hasty.script(name, {**write, "faults": faults}) for name, faults in FAULTS.items()}

    jobs = await asyncio.gather(*(hasty.run(task) for task in tasks.values()))

    for name, job in zip(FAULTS, jobs, strict=True):
        assert (job.state, job.runs) == ("succeeded", 1), f"{name}\n{await hasty.story(job.id)}"
        retried = await hasty.events(job.id, "model.retrying")
        assert len(retried) == 1, name
        bill = hasty.bill(name)
        assert len([entry for entry in bill.billed if entry.delivered and not entry.fault]) >= 2, name
        paid_broken = sum(entry.cost_nanos for entry in bill.billed if entry.fault)
        assert job.cost_nanos - job.unknown_nanos == bill.cost_nanos - paid_broken, name
        assert job.unknown_nanos >= paid_broken, name
        assert job.held_nanos == 0
    waits = (await hasty.events(jobs[0].id, "model.retrying"))[0].data
    assert waits["wait_s"] >= 0.3


async def test_a_wrong_key_fails_the_job_at_once_and_says_which_one_and_what_to_do(hasty: Shop) -> None:
    model = await hasty.provider("mistyped", hasty.mock.openai_url, "sk-wrong-fake-key")

    job = await hasty.run("x", model=model)

    assert (job.state, job.ending, job.runs, job.cost_nanos) == ("failed", "provider-refused", 1, 0)
    assert job.error is not None
    assert job.error["detail"].startswith("Provider 'mistyped' (mock) refuses its key: 401 Incorrect API key provided.")
    assert "set it again" in job.error["detail"]
    assert "sk-wrong-fake-key" not in str(job) + await hasty.story(job.id)


async def test_an_empty_account_fails_the_job_without_a_second_try_and_keeps_its_diff(hasty: Shop) -> None:
    empty = [reply.model_dump(exclude_none=True) for reply in scenario_file(EXAMPLES / "out-of-money.yaml").replies]
    faults = empty[0]["faults"]
    task = hasty.script("empty", shell("echo kept > kept.txt"), {**shell("ls"), "faults": faults})

    job = await hasty.run(task)

    assert (job.state, job.ending, job.runs) == ("failed", "provider-refused", 1), await hasty.story(job.id)
    assert job.error is not None
    assert "is out of money or quota: 429 You exceeded your current quota." in job.error["detail"]
    assert hasty.bill("empty").requests == 2
    assert [change["path"] for change in job.changes or []] == ["kept.txt"]


async def test_a_job_waits_for_a_provider_that_is_down_and_goes_on_by_itself(hasty: Shop) -> None:
    port = _free_port()
    model = await hasty.provider("down", f"http://127.0.0.1:{port}/v1")
    task = hasty.script("down", shell("echo up > up.txt"))
    job = await hasty.submit(task, model=model)
    waiting = await hasty.seen(job.id, "job.waiting")
    assert waiting.data["reason"] == "provider"
    assert waiting.data["error"]["detail"].startswith("The connection to down/demo failed")

    async with serve(hasty.mock.app.scenario, port=port) as back:
        job = await hasty.ended(job.id)
        assert len(back.bill().billed) == job.turns

    assert (job.state, job.failures, job.crashes) == ("succeeded", 0, 0), await hasty.story(job.id)
    assert job.cost_nanos == back.bill().cost_nanos
    assert [event.seq for event in await hasty.events(job.id)] == list(range(1, job.last_seq + 1))


async def test_a_job_that_waits_for_its_provider_can_be_cancelled(hasty: Shop) -> None:
    model = await hasty.provider("never", f"http://127.0.0.1:{_free_port()}/v1")
    job = await hasty.submit("x", model=model)
    await hasty.seen(job.id, "job.waiting")

    await hasty.cancel(job.id)

    assert (await hasty.ended(job.id, within_s=15)).state == "cancelled"


async def test_patience_with_a_provider_counts_from_its_silence_not_from_the_jobs_beginning(image: None) -> None:
    async with a_home() as home:
        settings = settings_in(home, jobs={"provider_patience_s": 1.0, "provider_pause_longest_s": 0.5})
        async with open_shop(settings) as shop, working(shop.parts):
            model = await shop.provider("silent", f"http://127.0.0.1:{_free_port()}/v1")
            job = await shop.submit("x", model=model)
            await shop.do(lambda tx: tx.execute("update jobs set created_at = now() - interval '2 days'"))

            job = await shop.ended(job.id)

            assert (job.state, job.ending) == ("failed", "provider-error"), await shop.story(job.id)
            assert len(await shop.events(job.id, "job.waiting")) >= 1  # by its age alone it would not have waited
            assert (job.cost_nanos, job.changes) == (0, [])


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
