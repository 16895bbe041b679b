"""What a job may only do once somebody has said yes: it waits, goes on from its journal, and does it once."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from engine.git.git_fixtures import plain_git
from engine.git.git_http_server import GitServer
from lifecycle.shop import Shop, shell
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access.permissions import ROLES
from shopfloor.domain.approvals import decide, store
from shopfloor.domain.approvals.errors import ApprovalDecided, OwnApproval
from shopfloor.domain.approvals.models import Approval
from shopfloor.domain.jobs import control
from shopfloor.infra.tx import Tx, begin

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("life-ends")]


async def waiting(shop: Shop, job_id: UUID) -> Approval:
    """What the job waits for."""
    pending = {"job_id": job_id, "state": "pending"}
    async with asyncio.timeout(60):
        while True:
            rows = await shop.do(
                lambda tx: store.approvals(tx, filters=pending, project_ids=None, before=None, limit=1)
            )
            if rows and (await shop.job(job_id)).state == "waiting":
                return rows[0]
            await shop._something()


async def answered(shop: Shop, approval: Approval, verdict: Any, **more: Any) -> None:
    await shop.do(lambda tx: decide.answer(tx, approval.id, verdict, **more))
    shop.parts.dispatcher.poke()


async def test_a_command_that_is_asked_for_runs_once_after_a_yes_and_not_before(shop: Shop) -> None:
    task = shop.script(
        "approved", shell("echo before >> free"), shell("cd . && echo done >> gated"), shell("cat gated")
    )
    project = await shop.project({"approvals": {"commands": ["echo done*"]}})
    job = await shop.submit(task, project=project)
    approval = await waiting(shop, job.id)
    assert (approval.kind, approval.tool, approval.summary) == ("tool", "shell", "shell: cd . && echo done >> gated")
    assert len(await shop.results(job.id)) == 1, "the call before it is done, the one that waits isn't"
    assert (await shop.job(job.id)).state == "waiting"
    await answered(shop, approval, "approved")
    ended = await shop.ended(job.id)
    assert ended.state == "succeeded", await shop.story(job.id)
    assert "done" in (await shop.results(job.id))[2]
    assert shop.bill("approved").requests == 4, "no reply was paid for twice"
    assert {each["path"] for each in ended.changes or []} == {"free", "gated"}


async def test_a_rejected_command_never_runs_and_the_agent_is_told_why(shop: Shop) -> None:
    task = shop.script("rejected", shell("touch never"), shell("ls -A"))
    job = await shop.submit(task, approvals={"tools": ["shell"]})
    await answered(shop, await waiting(shop, job.id), "rejected", reason="not on a Friday")
    listing = await waiting(shop, job.id)
    await answered(shop, listing, "approved")
    ended = await shop.ended(job.id)
    first, second = (await shop.results(job.id))[:2]
    assert "not on a Friday" in first
    assert "never" not in second
    assert ended.state == "succeeded"
    assert not ended.changes


async def test_a_yes_to_be_remembered_is_not_asked_again_for_the_same_call(shop: Shop) -> None:
    task = shop.script("remembered", shell("date"), shell("date"), shell("date -u"))
    job = await shop.submit(task, approvals={"commands": ["date*"]})
    await answered(shop, await waiting(shop, job.id), "approved", remember=True)
    other = await waiting(shop, job.id)
    assert other.arguments["command"] == "date -u"
    await answered(shop, other, "approved")
    assert (await shop.ended(job.id)).state == "succeeded"
    assert len(await shop.events(job.id, "approval.asked")) == 2


async def test_an_answer_counts_once_and_a_cancelled_job_wants_none(shop: Shop) -> None:
    job = await shop.submit(shop.script("twice", shell("date")), approvals={"tools": ["shell"]})
    approval = await waiting(shop, job.id)
    await answered(shop, approval, "approved")
    with pytest.raises(ApprovalDecided):
        await answered(shop, approval, "rejected")
    await shop.ended(job.id)

    gone = await shop.submit(shop.script("gone", shell("date")), approvals={"tools": ["shell"]})
    asked = await waiting(shop, gone.id)
    await shop.cancel(gone.id)
    assert (await shop.ended(gone.id)).state == "cancelled"
    await shop.do(lambda tx: store.withdraw(tx, gone.id))
    with pytest.raises(ApprovalDecided):
        await answered(shop, asked, "approved")


async def test_whoever_submitted_it_does_not_decide_where_others_have_to(shop: Shop) -> None:
    job = await shop.submit(shop.script("others", shell("date")), approvals={"tools": ["shell"], "by_others": True})
    approval = await waiting(shop, job.id)
    with pytest.raises(OwnApproval):
        await answered(shop, approval, "approved")
    colleague = Principal("user", new_id(), shop.owner.organization_id, ROLES["developer"], name="colleague")
    async with begin(shop.parts.store, colleague) as tx:
        await decide.answer(tx, approval.id, "approved")
    shop.parts.dispatcher.poke()
    assert (await shop.ended(job.id)).state == "succeeded"


async def test_what_nobody_answers_in_time_counts_as_rejected(shop: Shop) -> None:
    job = await shop.submit(shop.script("late", shell("date")), approvals={"tools": ["shell"]})
    approval = await waiting(shop, job.id)

    async def make_it_late(tx: Tx) -> None:
        await tx.execute("update approvals set expires_at = now() - interval '1 s' where id = %s", (approval.id,))

    await shop.do(make_it_late)
    assert await decide.expire(shop.parts.store, shop.parts.notifier) <= 1  # the worker's own chore may be faster
    shop.parts.dispatcher.poke()
    assert (await shop.ended(job.id)).state == "succeeded"
    assert "nobody answered in time" in (await shop.results(job.id))[0]


async def test_a_result_is_pushed_only_after_a_yes_and_a_no_leaves_the_branch_unmade(
    shop: Shop, server: GitServer
) -> None:
    bare = server.root / "sample.git"
    for verdict, branch in (("rejected", "ask/no"), ("approved", "ask/yes")):
        task = shop.script(f"push-{verdict}", shell("echo pushed >> notes.txt"))
        job = await shop.submit(
            task, repo_url=server.url("sample.git"), checks=["true"], push_branch=branch, approvals={"push": True}
        )
        approval = await waiting(shop, job.id)
        assert (approval.kind, approval.arguments["branch"], approval.arguments["verified"]) == ("push", branch, True)
        assert branch not in plain_git("branch", "--list", "--all", cwd=bare), "it was pushed before anybody answered"
        await answered(shop, approval, verdict)
        ended = await shop.ended(job.id)
        assert ended.state == "succeeded", await shop.story(job.id)
        assert ended.pushed is not None
        made = branch in plain_git("branch", "--list", "--all", cwd=bare)
        assert (made, "commit" in ended.pushed) == (verdict == "approved", verdict == "approved")
        assert shop.bill(f"push-{verdict}").requests == 2, "the turns came from the journal after the wait"


async def test_a_replay_asks_nobody(shop: Shop) -> None:
    job = await shop.submit(shop.script("replayed", shell("date > when")), approvals={"tools": ["shell"]})
    await answered(shop, await waiting(shop, job.id), "approved")
    await shop.ended(job.id)
    again = await shop.again(lambda tx: control.replay(tx, job.id))
    assert (await shop.ended(again.id)).state == "succeeded", await shop.story(again.id)
    assert await shop.events(again.id, "approval.asked") == []
