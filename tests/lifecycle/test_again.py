"""Fork, retry, replay: what was paid is not paid again, and a replay needs neither key nor provider."""

import pytest

from engine.git.git_http_server import GitServer
from lifecycle.shop import Shop, shell
from shopfloor.domain.jobs import control, store
from shopfloor.domain.models import providers
from shopfloor.domain.models import store as models
from shopfloor.testing import sample_project
from shopfloor.testing.mock_provider import serve

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("life-again")]


async def test_a_fork_goes_on_from_the_tree_as_it_was_and_pays_for_nothing_before_it(
    shop: Shop, server: GitServer
) -> None:
    task = shop.script(
        "fork", shell("echo one > one.txt"), shell("echo two > two.txt"), shell("ls; echo three > three.txt")
    )
    parent = await shop.run(task, repo_url=server.url("sample.git"))
    assert (parent.state, parent.turns) == ("succeeded", 4), await shop.story(parent.id)
    paid = shop.bill("fork").cost_nanos
    assert parent.cost_nanos == paid

    child = await shop.again(
        lambda tx: control.fork(tx, shop.parts.desk, parent.id, before_turn=3, changes={"checks": ["test -e two.txt"]})
    )
    child = await shop.ended(child.id)

    assert (child.state, child.verified) == ("succeeded", True), await shop.story(child.id)
    turns = [entry.turn for entry in shop.bill("fork").billed]
    assert turns == [0, 1, 2, 3, 2, 3]
    assert child.cost_nanos == shop.bill("fork").cost_nanos - paid
    listing = (await shop.results(child.id))[-1]
    assert {"one.txt", "two.txt"} <= set(listing.split())
    assert "three.txt" not in listing
    assert sorted(change["path"] for change in child.changes or []) == ["one.txt", "three.txt", "two.txt"]


async def test_a_retry_asks_the_same_again_from_the_start(shop: Shop, server: GitServer) -> None:
    task = shop.script("retry", shell("echo 1 >> count.txt"))
    first = await shop.run(task, repo_url=server.url("sample.git"))

    again = await shop.again(lambda tx: control.retry(tx, first.id))
    again = await shop.ended(again.id)

    assert (again.state, again.parent_id, again.base_commit) == ("succeeded", first.id, first.base_commit)
    assert [entry.turn for entry in shop.bill("retry").billed] == [0, 1, 0, 1]
    assert (again.cost_nanos, again.changes) == (first.cost_nanos, first.changes)


async def test_a_replay_makes_the_same_diff_for_free_with_the_provider_gone_and_no_key(
    shop: Shop, server: GitServer
) -> None:
    async with serve(shop.mock.app.scenario) as gone:
        model = await shop.provider("leaving", gone.openai_url, "sk-mock-leaving")
        job = await shop.run(
            sample_project.TASK, model=model, repo_url=server.url("sample.git"), checks=[sample_project.CHECK]
        )
    assert job.verified is True, await shop.story(job.id)
    provider = (await shop.do(lambda tx: models.providers_named(tx, ["leaving"])))["leaving"]
    await shop.do(lambda tx: providers.remove_provider(tx, provider))

    replay = await shop.again(lambda tx: control.replay(tx, job.id))
    replay = await shop.ended(replay.id)

    assert (replay.state, replay.verified, replay.mode) == ("succeeded", True, "replay"), await shop.story(replay.id)
    assert (replay.cost_nanos, replay.held_nanos, replay.turns) == (0, 0, job.turns)
    assert replay.changes == job.changes
    assert await shop.patch(replay) == await shop.patch(job)
    assert replay.output == job.output
    assert await shop.do(lambda tx: store.calls(tx, replay.id)) == []


async def test_a_replay_that_leaves_the_record_says_so_and_keeps_its_diff(shop: Shop, server: GitServer) -> None:
    task = shop.script("diverges", shell("echo x > x.txt"), otherwise=None)
    job = await shop.run(task, repo_url=server.url("sample.git"), limits={"turns": 2})
    assert job.state == "failed", await shop.story(job.id)

    replay = await shop.again(lambda tx: control.replay(tx, job.id))
    replay = await shop.ended(replay.id)

    assert (replay.state, replay.ending) == ("failed", "replay-diverged"), await shop.story(replay.id)
    assert replay.error is not None
    assert replay.error["detail"] == (
        "The replay asks for turn 2, which the job it replays never finished. Retry or fork that job to go on with a "
        "model."
    )
    assert [change["path"] for change in replay.changes or []] == ["x.txt"]
