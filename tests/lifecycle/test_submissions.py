"""What can't work is refused when it is submitted, or fails soon, in words that say what to do."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine.git.git_http_server import GitServer
from lifecycle.shop import MODEL, Shop, scenario_file, shell
from shopfloor.base.errors import InvalidInput
from shopfloor.engine.providers.port import PriceUnknown

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("life-input")]

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenarios"
AGENTS = "architect, backend, coding, deployment, frontend, monitoring, planner, review, testing"


async def test_what_names_nothing_is_refused_before_anything_is_stored(shop: Shop) -> None:
    before = await shop.do(lambda tx: tx.one("select count(*) as n from jobs"))

    refused = {
        "agent": await refusal(shop, "x", agent="wizard"),
        "provider": await refusal(shop, "x", model="nobody/demo"),
        "model": await refusal(shop, "x", model="demo"),
        "project": await refusal(shop, "x", project="nowhere"),
        "empty": await refusal(shop, " \n"),
        "NUL": await refusal(shop, "a\x00b"),
        "repository": await refusal(shop, "x", repo_url="ext::sh -c id"),
        "limits": await refusal(shop, "x", limits={"turns": 0}),
    }

    assert refused["agent"] == f"There is no agent 'wizard'. There are: {AGENTS}."
    assert "nobody" in refused["provider"]
    assert refused["model"].startswith("No models are set for the profile 'demo'")
    assert refused["project"] == "There is no project 'nowhere' in your organization, or none you may submit to."
    assert refused["empty"] == "The task is empty: say in a sentence or more what is to be done."
    assert refused["NUL"].startswith("The job holds a NUL character")
    assert "https" in refused["repository"]
    assert "turns" in refused["limits"]
    assert await shop.do(lambda tx: tx.one("select count(*) as n from jobs")) == before


async def test_a_model_without_a_price_is_refused_with_how_to_set_one(shop: Shop) -> None:
    with pytest.raises(PriceUnknown) as caught:
        await shop.submit("x", model="mock/never-priced")

    assert "mock/never-priced" in caught.value.detail
    assert "prices" in caught.value.detail


async def test_a_task_of_a_megabyte_is_refused_with_its_size_and_the_limit(shop: Shop) -> None:
    assert await refusal(shop, "x" * 1_048_576) == (
        "The task is 1,048,576 bytes long, 262,144 are allowed. Put long material into the repository and name the "
        "file in the task."
    )


async def test_a_repository_or_a_ref_that_is_not_there_fails_the_job_and_says_so(shop: Shop, server: GitServer) -> None:
    repository, ref, commit = await asyncio.gather(
        shop.run("x", repo_url=server.url("nothing.git")),
        shop.run("x", repo_url=server.url("sample.git"), repo_ref="no/such/branch"),
        shop.run("x", repo_url=server.url("sample.git"), repo_ref="f" * 40),
    )

    assert [(job.state, job.ending) for job in (repository, ref, commit)] == [
        ("failed", "repository-unknown"),
        ("failed", "ref-unknown"),
        ("failed", "ref-unknown"),
    ], await shop.story(commit.id)
    assert repository.error is not None
    assert ref.error is not None
    assert repository.error["detail"].startswith(f"There is no repository at {server.url('nothing.git')}, or it is")
    assert "no/such/branch" in ref.error["detail"]
    assert [job.cost_nanos for job in (repository, ref, commit)] == [0, 0, 0]


async def test_a_model_that_calls_what_is_not_there_is_told_and_goes_on(shop: Shop) -> None:
    scenario = scenario_file(EXAMPLES / "bad-tool-calls.yaml")
    replies = [reply.model_dump(exclude_none=True) for reply in scenario.replies]
    task = shop.script("bad-calls", *replies, shell("echo fine > fine.txt"))

    job = await shop.run(task)

    assert (job.state, job.ending, job.turns) == ("succeeded", "finished", 7), await shop.story(job.id)
    assert [change["path"] for change in job.changes or []] == ["fine.txt"]


async def test_a_task_may_be_in_any_script(shop: Shop) -> None:
    said = "שלום עולם \u202eright to left\u202c 日本語 हिन्दी 🦀👩‍👩‍👧 e\u0301 \u0000".replace("\u0000", "")
    task = shop.script("scripts", shell("printf '%s' 'שלום 🦀' > 'ملف 🦀.txt'"))

    job = await shop.run(f"{task} {said}", labels={"מפתח": "値"})

    assert job.state == "succeeded", await shop.story(job.id)
    assert job.task.endswith(said)
    assert [change["path"] for change in job.changes or []] == ["ملف 🦀.txt"]


async def refusal(shop: Shop, task: str, **fields: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        await shop.submit(task, **{"model": MODEL, **fields})
    return caught.value.detail
