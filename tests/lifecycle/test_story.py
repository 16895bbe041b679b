"""The whole story: a task on a repository over HTTP, a real sandbox, a real provider client, a pushed branch."""

from collections import Counter
from dataclasses import asdict

import pytest

from engine.git.git_fixtures import Origin, plain_git
from engine.git.git_http_server import GitServer
from lifecycle.conftest import CREDENTIALS
from lifecycle.shop import Shop, marker
from shopfloor.testing import sample_project
from shopfloor.testing.mock_provider import Bill

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("life-story")]

TASK = f"{marker('story')} {sample_project.TASK}"


async def test_a_task_becomes_a_verified_pushed_change_whose_cost_is_the_providers_bill(
    shop: Shop, server: GitServer
) -> None:
    job = await shop.run(TASK, repo_url=server.url("sample.git"), checks=[sample_project.CHECK], push_branch="fix/half")

    assert (job.state, job.ending, job.verified) == ("succeeded", "finished", True), await shop.story(job.id)
    assert [result["passed"] for result in job.baseline or []] == [False]
    assert job.changes is not None
    assert [(change["path"], change["status"]) for change in job.changes] == [(sample_project.FIXED_FILE, "modified")]
    assert "+    return share if amount_cents >= 0 else -share" in await shop.patch(job)

    bill = shop.bill("story")
    assert (job.cost_nanos, job.held_nanos, job.unknown_nanos) == (bill.cost_nanos, 0, 0)
    assert len(bill.billed) == job.turns == 7
    assert job.usage == {**_used(bill), "requests": 7}

    events = await shop.events(job.id)
    assert [event.seq for event in events] == list(range(1, job.last_seq + 1))
    assert "changes.patch" in await shop.artifacts(job.id)

    bare = server.root / "sample.git"
    assert job.pushed is not None
    pushed = plain_git("rev-parse", "refs/heads/fix/half", cwd=bare)
    assert job.pushed == {"branch": "fix/half", "commit": pushed}
    plain_git("fetch", "-q", str(bare), "fix/half", cwd=(check := server.root.parent / "sample"))
    assert plain_git("diff", "--name-only", "HEAD", "FETCH_HEAD", cwd=check) == sample_project.FIXED_FILE
    assert plain_git("rev-parse", f"{pushed}^", cwd=bare) == job.base_commit


async def test_a_private_repository_is_fetched_and_pushed_with_the_credentials_set_for_its_host(
    shop: Shop, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("private")
    (folder / "served").mkdir()
    private = Origin(folder / "served", folder / "work", "private.git")
    private.commit({"notes.txt": "one\n"})
    server = GitServer(folder / "served")
    server.credentials = CREDENTIALS
    task = shop.script(
        "private", {"tool_calls": [{"name": "shell", "arguments": {"command": "echo two >> notes.txt"}}]}
    )
    try:
        job = await shop.run(f"{task} add a line", repo_url=server.url("private.git"), push_branch="two")
    finally:
        server.close()

    assert (job.state, job.verified) == ("succeeded", None), await shop.story(job.id)
    assert plain_git("show", "two:notes.txt", cwd=private.bare) == "one\ntwo"
    kept = [event.data for event in await shop.events(job.id)]
    assert CREDENTIALS[1] not in str(kept) + str(job)


def _used(bill: Bill) -> dict[str, int]:
    """The provider's own count, in the platform's classes."""
    counted: Counter[str] = Counter()
    for entry in bill.billed:
        counted.update({f"{name}_tokens": count for name, count in asdict(entry.usage).items() if count})
    return dict(counted)
