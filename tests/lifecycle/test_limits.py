"""What a job may use: turns, time, money, patience with circles. Past it the job fails with its diff kept."""

import asyncio

import pytest

from lifecycle.shop import Shop, shell

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("life-ends")]

SLOW = {**shell("true"), "latency_ms": 60_000}


async def test_each_limit_ends_a_job_with_its_name_and_keeps_the_diff(shop: Shop) -> None:
    write = shell("echo kept > kept.txt")
    turns = shop.script("turn-limit", write, shell("echo 2"), shell("echo 3"), shell("echo 4"))
    time = shop.script("time-limit", write, SLOW)
    command = shop.script("time-limit-command", write, shell("sleep 60"))
    stuck = shop.script("stuck", write, otherwise=shell("cat kept.txt"))

    ends = await asyncio.gather(
        shop.run(turns, limits={"turns": 3}, checks=["test -e kept.txt"]),
        shop.run(time, limits={"timeout_s": 10}),
        shop.run(command, limits={"timeout_s": 10}),
        shop.run(stuck),
    )

    told = [(job.state, job.ending, job.verified) for job in ends]
    assert told == [
        ("failed", "turn-limit", None),
        ("failed", "time-limit", None),
        ("failed", "time-limit", None),
        ("failed", "stuck", None),
    ], "\n".join([await shop.story(job.id) for job in ends])
    assert [[change["path"] for change in job.changes or []] for job in ends] == [["kept.txt"]] * 4
    details = [job.error["detail"] for job in ends if job.error]
    assert details[:2] == ["the limit of 3 turns is reached", "the time limit is reached"]
    assert "it called shell 4 times in a row and got the same result, after a reminder" in details[3]
    assert len(await shop.events(ends[3].id, "agent.nudged")) == 1
    assert [job.held_nanos for job in ends] == [0] * 4


async def test_a_job_never_costs_more_than_its_limit(shop: Shop) -> None:
    limit = 200_000_000  # 0.20 USD: two or three turns of this size
    usage = {"input": 1_000, "output": 3_000}
    task = shop.script(
        "cost-limit", {**shell("echo kept > kept.txt"), "usage": usage}, otherwise={**shell("date +%N"), "usage": usage}
    )

    job = await shop.run(task, limits={"cost_nanos": limit})

    assert (job.state, job.ending) == ("failed", "cost-limit"), await shop.story(job.id)
    bill = shop.bill("cost-limit")
    assert len(bill.billed) >= 2
    assert bill.cost_nanos == job.cost_nanos <= limit
    assert [change["path"] for change in job.changes or []] == ["kept.txt"]


async def test_a_limit_that_no_call_fits_costs_nothing_and_says_what_to_raise(shop: Shop) -> None:
    job = await shop.run(shop.script("penniless"), limits={"cost_nanos": 1_000})

    assert (job.state, job.ending, job.cost_nanos) == ("failed", "cost-limit", 0), await shop.story(job.id)
    assert job.error is not None
    assert job.error["detail"] == (
        "The next model call could pass the job's cost limit, so it was not made. Raise limits.cost_usd and fork the "
        "job to go on from here."
    )
    assert shop.bill("penniless").requests == 0
