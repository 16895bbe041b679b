"""Dead letters over HTTP: the job whose worker died five times, tasks again and changed, many at once, who may."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access.permissions import ROLES
from shopfloor.domain.dead_letters import collect
from shopfloor.domain.jobs import lease as leases
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.lease import Result
from shopfloor.domain.jobs.lifecycle import State
from shopfloor.infra.tx import Store, begin, begin_system

PLACE = "/api/v1/dead-letters"
SECRET = "sk-ant-FAKE-of-this-test-0001"


async def _dead(store: Store, make_job, claim, lose, **fields: Any):
    job = await make_job(**fields)
    for _ in range(5):
        await claim(job.id)
        await lose(job.id)
    await collect.collect(store)
    return job


@pytest.fixture
async def ran(store: Store) -> list[dict[str, Any]]:
    """What the task `greet` was called with; it fails as long as `what` is `broken` or a secret."""
    calls: list[dict[str, Any]] = []

    async def greet(organization_id: str, what: str, to: str) -> None:
        calls.append({"what": what, "to": to})
        if what in {"broken", SECRET}:
            raise ConnectionError(what)

    store.services.queue.task("greet", greet)
    return calls


@pytest.fixture
async def given_up(store: Store, owner: Principal, ran, work_off, client: httpx2.AsyncClient):
    async def make(what: str = "broken", number: int = 1) -> list[str]:
        async with begin(store, owner) as tx:
            for _ in range(number):
                await tx.defer("greet", organization_id=str(owner.organization_id), what=what, to=str(new_id()))
        await work_off()
        await collect.collect(store)
        rows = (await client.get(PLACE, params={"state": "open", "limit": 100})).json()["items"]
        return [row["id"] for row in rows]

    return make


async def test_a_job_whose_worker_died_five_times_is_inspected_requeued_and_goes_on(
    store: Store, owner: Principal, client: httpx2.AsyncClient, make_job, claim, lose, look
):
    job = await _dead(store, make_job, claim, lose, task="Fix it with sk-ant-FAKE-of-this-test-0001")
    assert (await look(job.id)).state == "dead"

    listed = (await client.get(PLACE)).json()["items"]
    assert [(row["kind"], row["job_id"], row["state"]) for row in listed] == [("job", str(job.id), "open")]
    found = (await client.get(f"{PLACE}/{listed[0]['id']}")).json()
    assert found["reason"]["code"] == "worker-lost"
    assert [(line["attempt"], line["error"]["code"]) for line in found["history"]] == [
        (n, "worker-lost") for n in range(1, 6)
    ]
    assert found["payload"]["agent"] == "coding"
    assert SECRET not in str(found)

    again = await client.post(f"{PLACE}/{found['id']}/requeue", json={"limits": {"cost_usd": "2.50"}})
    assert again.status_code == 200, again.text
    letter = again.json()
    async with begin(store, owner) as tx:
        child = await jobs.job(tx, (await jobs.jobs(tx, filters={}, after=None, limit=1))[0].id)
    assert (letter["state"], letter["requeued_as"]) == ("requeued", str(child.id))
    assert (child.state, child.parent_id, child.limits["cost_nanos"]) == ("queued", job.id, 2_500_000_000)
    assert child.crashes == 0
    assert (await look(job.id)).state == "dead"  # terminal states never change

    twice = await client.post(f"{PLACE}/{found['id']}/requeue", json={})
    assert (twice.status_code, twice.json()["code"]) == (409, "dead-letter-settled")
    assert str(child.id) in twice.json()["detail"]
    await collect.collect(store)
    assert len((await client.get(PLACE)).json()["items"]) == 1
    lease = await claim(child.id)
    async with begin(store, lease.principal) as tx:
        await leases.finish(tx, lease, Result(State.SUCCEEDED, "finished"))
    assert (await look(child.id)).state == "succeeded"


async def test_a_requeued_job_takes_over_what_was_finished_and_paid(
    store: Store, owner: Principal, client: httpx2.AsyncClient, make_job, claim, lose, journal_of
):
    job = await make_job()
    lease = await claim(job.id)
    await _one_turn(store, lease)
    for _ in range(4):
        await lose(job.id)
        await claim(job.id)
    await lose(job.id)
    await collect.collect(store)
    [letter] = (await client.get(PLACE)).json()["items"]
    child_id = (await client.post(f"{PLACE}/{letter['id']}/requeue", json={})).json()["requeued_as"]
    async with begin(store, owner) as tx:
        [taken] = await jobs.steps(tx, child_id)
        child = await jobs.job(tx, child_id)
    assert (taken.turn, taken.state, taken.cost_nanos, child.fork_turn) == (1, "done", 0, 2)


async def _one_turn(store: Store, lease: Any) -> None:
    """A finished model reply, as the journal writes it."""
    async with begin(store, lease.principal) as tx:
        await tx.execute(
            "insert into steps (id, organization_id, job_id, run_id, scope, turn, kind, key, name, state, attempt, "
            "request, result, effects, cost_nanos, done_at, done_seq) values (%s, %s, %s, %s, '', 1, 'model', 'm1', "
            "'mock/small', 'done', 1, '{}', '{}', 'none', 7, now(), 1)",
            (new_id(), lease.job.organization_id, lease.job_id, lease.run_id),
        )


async def test_a_requeued_task_runs_again_the_same_or_with_changed_arguments(
    client: httpx2.AsyncClient, ran, given_up, work_off
):
    [first] = await given_up()
    found = (await client.get(f"{PLACE}/{first}")).json()
    assert (found["task"], found["reason"]["title"], found["payload"]["what"]) == ("greet", "ConnectionError", "broken")

    changed = await client.post(f"{PLACE}/{first}/requeue", json={"arguments": {"what": "mended"}})
    assert changed.json()["requeued_as"].isdigit()
    await work_off()
    assert [call["what"] for call in ran] == ["broken", "mended"]
    assert ran[0]["to"] == ran[1]["to"]  # what isn't named stays

    [second] = await given_up()  # the same again fails again: another letter
    assert (await client.post(f"{PLACE}/{second}/requeue", json={})).status_code == 200
    assert len(await given_up()) == 2


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"arguments": {"other": "x"}}, "takes no argument 'other'"),
        ({"arguments": {"what": 7}}, "is a str in JSON's sense, not a int"),
        ({"arguments": {"to": "nobody"}}, "is an id"),
        ({"arguments": {"organization_id": "00000000-0000-4000-8000-000000000000"}}, "stays in its organization"),
        ({"model": "mock/other"}, "changed in `arguments`"),
        ({"what": "x"}, "what"),
    ],
)
async def test_a_change_that_does_not_fit_is_refused_and_the_letter_stays_open(
    client: httpx2.AsyncClient, given_up, change: dict[str, Any], told: str
):
    [letter] = await given_up()
    refused = await client.post(f"{PLACE}/{letter}/requeue", json=change)
    assert refused.status_code == 422
    assert told in refused.text
    assert (await client.get(f"{PLACE}/{letter}")).json()["state"] == "open"


async def test_a_job_takes_no_arguments(store: Store, client: httpx2.AsyncClient, make_job, claim, lose):
    await _dead(store, make_job, claim, lose)
    [letter] = (await client.get(PLACE)).json()["items"]
    refused = await client.post(f"{PLACE}/{letter['id']}/requeue", json={"arguments": {"what": "x"}})
    assert (refused.status_code, "`model` and `limits`" in refused.text) == (422, True)


async def test_a_task_whose_secret_was_struck_out_goes_again_only_with_it_given_anew(
    client: httpx2.AsyncClient, ran, given_up, work_off
):
    [letter] = await given_up(SECRET)
    refused = await client.post(f"{PLACE}/{letter}/requeue", json={})
    assert (refused.status_code, "struck out" in refused.text, SECRET in refused.text) == (422, True, False)
    assert (await client.post(f"{PLACE}/{letter}/requeue", json={"arguments": {"what": "new"}})).status_code == 200
    await work_off()
    assert ran[-1]["what"] == "new"


async def test_a_discarded_letter_keeps_its_reason_and_is_never_tried_again(client: httpx2.AsyncClient, given_up):
    [letter] = await given_up()
    stale = await client.post(f"{PLACE}/{letter}/discard", json={"reason": "x"}, headers={"If-Match": '"9"'})
    assert stale.status_code == 412
    gone = await client.post(f"{PLACE}/{letter}/discard", json={"reason": "Nobody there"}, headers={"If-Match": '"1"'})
    assert (gone.json()["state"], gone.json()["discard_reason"], gone.json()["version"]) == (
        "discarded", "Nobody there", 2,
    )  # fmt: skip
    for verb, body in (("requeue", {}), ("discard", {"reason": "again"})):
        assert (await client.post(f"{PLACE}/{letter}/{verb}", json=body)).json()["code"] == "dead-letter-settled"


async def test_many_at_once_are_settled_each_by_itself(client: httpx2.AsyncClient, ran, given_up, work_off):
    letters = await given_up(number=5)
    await client.post(f"{PLACE}/{letters[0]}/discard", json={"reason": "first"})
    unknown = str(new_id())
    answer = (await client.post(f"{PLACE}/requeue", json={"ids": [letters[0], letters[1], unknown]})).json()
    assert [row["id"] for row in answer["done"]] == [letters[1]]
    assert {row["id"]: row["code"] for row in answer["refused"]} == {
        letters[0]: "dead-letter-settled", unknown: "dead-letter-unknown",
    }  # fmt: skip
    rest = await client.post(f"{PLACE}/discard", json={"filter": {"task": "greet"}, "reason": "all"})
    assert (len(rest.json()["done"]), rest.json()["more"]) == (3, False)
    none = await client.post(f"{PLACE}/discard", json={"filter": {"kind": "job"}, "reason": "all"})
    assert none.json() == {"done": [], "refused": [], "more": False}


@pytest.mark.parametrize(
    "body", [{}, {"ids": []}, {"ids": [str(new_id())], "filter": {}}, {"ids": [str(new_id()) for _ in range(101)]}]
)
async def test_many_at_once_are_bounded_and_said_in_one_way(client: httpx2.AsyncClient, body: dict[str, Any]):
    assert (await client.post(f"{PLACE}/requeue", json=body)).status_code == 422


async def test_lists_are_filtered_and_paged(store: Store, client: httpx2.AsyncClient, given_up, make_job, claim, lose):
    await given_up(number=3)
    job = await _dead(store, make_job, claim, lose)
    jobs_only = (await client.get(PLACE, params={"kind": "job", "project": "default"})).json()["items"]
    assert [row["job_id"] for row in jobs_only] == [str(job.id)]
    assert (await client.get(PLACE, params={"project": "nowhere"})).status_code in {404, 422}
    pages, cursor = [], None
    while True:
        page = (await client.get(PLACE, params={"limit": 3, **({"cursor": cursor} if cursor else {})})).json()
        pages.append(len(page["items"]))
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert pages == [3, 1]


async def test_a_stranger_sees_nothing_and_a_viewer_changes_nothing(
    client: httpx2.AsyncClient, viewer: httpx2.AsyncClient, stranger: httpx2.AsyncClient, given_up
):
    [letter] = await given_up()
    assert (await stranger.get(PLACE)).json()["items"] == []
    assert (await stranger.get(f"{PLACE}/{letter}")).json()["code"] == "dead-letter-unknown"
    assert (await stranger.post(f"{PLACE}/{letter}/requeue", json={})).json()["code"] == "dead-letter-unknown"
    assert (await viewer.get(f"{PLACE}/{letter}")).status_code == 200
    for verb, body in (("requeue", {}), ("discard", {"reason": "x"})):
        assert (await viewer.post(f"{PLACE}/{letter}/{verb}", json=body)).json()["code"] == "permission-denied"
    assert (await client.get(f"{PLACE}/{letter}")).json()["state"] == "open"


async def test_a_key_of_one_project_sees_its_letters_alone(
    store: Store, owner: Principal, clients, given_up, make_job, claim, lose
):
    await given_up()  # of no project: the whole organization's
    job = await _dead(store, make_job, claim, lose)
    mine = await clients.with_key(owner.organization_id, ROLES["owner"], project_ids=[job.project_id])
    other = await clients.with_key(owner.organization_id, ROLES["owner"], project_ids=[new_id()])
    [seen] = (await mine.get(PLACE)).json()["items"]
    assert seen["job_id"] == str(job.id)
    assert (await other.get(PLACE)).json()["items"] == []
    assert (await other.post(f"{PLACE}/{seen['id']}/requeue", json={})).json()["code"] == "dead-letter-unknown"
    assert (await mine.post(f"{PLACE}/{seen['id']}/requeue", json={})).status_code == 200


async def test_who_may_requeue_but_submits_nothing_is_refused_for_jobs(
    store: Store, owner: Principal, clients, make_job, claim, lose
):
    await _dead(store, make_job, claim, lose)
    held = {"deadletter.read", "deadletter.edit", "job.read"}
    limited = await clients.with_key(owner.organization_id, held, role="owner")
    [letter] = (await limited.get(PLACE)).json()["items"]
    refused = await limited.post(f"{PLACE}/{letter['id']}/requeue", json={})
    assert (refused.status_code, "job.submit" in refused.text) == (403, True)
    async with begin_system(store) as tx:
        assert len(await tx.all("select 1 from jobs")) == 1
