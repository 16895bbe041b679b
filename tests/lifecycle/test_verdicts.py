"""Who judges: checks that were named, detected or absent, an agent that claims or cheats, a project's environment."""

from pathlib import Path

import pytest

from engine.git.git_fixtures import Origin
from engine.git.git_http_server import GitServer
from lifecycle.shop import Shop, scenario_file, shell
from shopfloor.testing import sample_project

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("life-verdicts")]

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenarios"
PACKAGE = {
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "no"\n[project]\nname = "shelf"\nversion = "1"\n',
    "lib/shelf.py": "def total():\n    return 3\n",
    "tests/test_shelf.py": "import shelf\n\ndef test_total():\n    assert shelf.total() == 3\n",
}
SETUP = 'echo "$PWD/lib" > "$(/opt/env/bin/python -c \'import site; print(site.getsitepackages()[0])\')/shelf.pth"'


async def test_an_agent_that_claims_success_without_it_is_shown_as_unverified(shop: Shop, server: GitServer) -> None:
    replies = scenario_file(EXAMPLES / "false-claim.yaml").replies
    task = shop.script("claims", *(reply.model_dump(exclude_none=True) for reply in replies))

    job = await shop.run(task, repo_url=server.url("sample.git"), checks=[sample_project.CHECK])

    assert (job.state, job.ending, job.verified) == ("succeeded", "finished", False), await shop.story(job.id)
    assert job.output is not None
    assert "all tests pass" in job.output["summary"]
    assert [result["passed"] for result in job.check_results or []] == [False]
    assert job.changes == []


async def test_without_anything_to_check_a_job_is_neither_verified_nor_refuted(shop: Shop) -> None:
    task = shop.script("unchecked", shell("echo hello > hello.txt"))

    job = await shop.run(task, checks=None)

    assert (job.state, job.verified, job.checks, job.check_results) == ("succeeded", None, [], [])
    assert [change["path"] for change in job.changes or []] == ["hello.txt"]


async def test_checks_that_are_not_named_are_detected_before_the_agent_works(
    shop: Shop, origin: Origin, server: GitServer
) -> None:
    origin.commit({"Makefile": "all:\n\ttrue\n\ntest:\n\tgrep -q right answer.txt\n", "answer.txt": "wrong\n"})
    task = shop.script("detected", shell("echo right > answer.txt"))

    job = await shop.run(task, repo_url=server.url(origin.bare.name), checks=None)

    assert (job.checks, job.verified) == (["make test"], True), await shop.story(job.id)
    assert [result["passed"] for result in job.baseline or []] == [False]


async def test_an_agent_can_not_choose_its_judge_by_adding_one(shop: Shop, origin: Origin, server: GitServer) -> None:
    origin.commit({"notes.txt": "no tests here\n"})
    task = shop.script("judge", shell("printf 'test:\\n\\ttrue\\n' > Makefile"))

    job = await shop.run(task, repo_url=server.url(origin.bare.name), checks=None)

    assert (job.state, job.verified, job.checks) == ("succeeded", None, []), await shop.story(job.id)
    assert [change["path"] for change in job.changes or []] == ["Makefile"]


async def test_a_named_check_is_what_it_was_whatever_the_agent_does_to_the_sandbox(
    shop: Shop, origin: Origin, server: GitServer
) -> None:
    origin.commit({"answer.txt": "wrong\n"})
    fake = "mkdir -p bin; printf '#!/bin/sh\\nexit 0\\n' > bin/grep; chmod +x bin/grep"
    task = shop.script("bend", shell(f"{fake}; PATH=$PWD/bin:$PATH; grep -q right answer.txt"))

    job = await shop.run(task, repo_url=server.url(origin.bare.name), checks=["grep -q right answer.txt"])

    assert (job.state, job.verified) == ("succeeded", False), await shop.story(job.id)


async def test_a_projects_set_up_runs_once_and_serves_the_agent_and_the_checks(
    shop: Shop, origin: Origin, server: GitServer
) -> None:
    origin.commit(PACKAGE)
    project = await shop.project({"environment": {"setup": [SETUP]}})
    url, check = server.url(origin.bare.name), "python3 -m pytest -q"
    first = shop.script("environment-1", shell(check))
    second = shop.script("environment-2", shell(check))

    one = await shop.run(first, project=project, repo_url=url, checks=[check])
    two = await shop.run(second, project=project, repo_url=url, checks=[check])

    assert (one.state, one.verified, two.verified) == ("succeeded", True, True), await shop.story(one.id)
    images = [(await shop.told(job.id, "environment.ready")).data["image"] for job in (one, two)]
    assert images[0] == images[1]
    assert [result["passed"] for result in one.baseline or []] == [True]
    assert "1 passed" in (await shop.results(two.id))[0], await shop.story(two.id)


async def test_a_set_up_that_fails_ends_the_job_with_the_end_of_its_output(
    shop: Shop, origin: Origin, server: GitServer
) -> None:
    origin.commit({"notes.txt": "x\n"})
    project = await shop.project({"environment": {"setup": ["true", "echo cannot find libfrob >&2; exit 3"]}})

    job = await shop.run("anything", project=project, repo_url=server.url(origin.bare.name))

    assert (job.state, job.ending) == ("failed", "environment-failed"), await shop.story(job.id)
    assert job.error is not None
    assert "cannot find libfrob" in job.error["detail"]
    assert "exit 3" in job.error["detail"]
    assert (job.turns, job.cost_nanos, job.changes) == (0, 0, [])


async def test_every_check_runs_whatever_the_ones_before_came_to(shop: Shop) -> None:
    task = shop.script("all", shell("echo x > x"))

    job = await shop.run(task, checks=["false", "kill -9 $$", "true"])

    assert (job.verified, [result["passed"] for result in job.check_results or []]) == (False, [False, False, True])
