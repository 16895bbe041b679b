"""Jobs of somebody who may nothing any more."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access import people
from shopfloor.domain.access.events import MemberDisabled
from shopfloor.domain.access.permissions import ROLES
from shopfloor.domain.jobs import departed
from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store, begin, begin_system


async def _join(store: Store, owner: Principal) -> tuple[Principal, Principal]:
    """A developer, and a key of theirs."""
    user_id, key_id = new_id(), new_id()
    async with begin_system(store) as tx:
        await tx.execute(
            "insert into users (id, organization_id, email, name, role) values (%s, %s, 'dev@example.org', 'Dev', "
            "'developer')",
            (user_id, owner.organization_id),
        )
        await tx.execute(
            "insert into api_keys (id, organization_id, user_id, name, public_id, secret_hash, permissions) "
            "values (%s, %s, %s, 'ci', 'fake', 'fake', '{}')",
            (key_id, owner.organization_id, user_id),
        )
    person = Principal("user", user_id, owner.organization_id, ROLES["developer"], name="Dev", user_id=user_id)
    return person, replace(person, kind="key", id=key_id)


async def _cancel(store: Store, owner: Principal, user_id: UUID) -> int:
    return await departed.cancel_jobs_of(store, Notifier(store.database), owner.organization_id, user_id)


async def test_a_disabled_members_jobs_are_cancelled_also_those_of_their_keys(
    make_job, claim, look, events_of, registered: Store, owner: Principal
):
    person, key = await _join(registered, owner)
    running = await claim((await make_job(by=person)).id)
    queued, others = await make_job(by=key), await make_job()
    async with begin(registered, owner) as tx:
        await people.disable_member(tx, person.id)

    assert await _cancel(registered, owner, person.id) == 2
    assert (await look(running.job_id)).cancel_requested_at is not None  # its worker ends it
    assert (await look(queued.id)).state == "cancelled"
    assert (await look(others.id)).state == "queued"
    assert (await events_of(queued.id))[-1].data == {"by": "system"}
    assert await _cancel(registered, owner, person.id) == 0  # twice changes nothing


async def test_whoever_is_enabled_again_before_the_task_ran_keeps_their_jobs(
    make_job, look, registered: Store, owner: Principal
):
    person, _ = await _join(registered, owner)
    job = await make_job(by=person)
    assert await _cancel(registered, owner, person.id) == 0
    assert (await look(job.id)).state == "queued"


async def test_disabling_defers_the_task_in_the_same_commit(registered: Store, owner: Principal):
    async def nothing(**_: str) -> None: ...

    person, _ = await _join(registered, owner)
    registered.services.queue.task(departed.TASK, nothing)
    registered.services.subscriptions.subscribe(MemberDisabled, departed.TASK, departed.arguments_of)
    for _ in range(2):  # disabling twice tells it once
        async with begin(registered, owner) as tx:
            await people.disable_member(tx, person.id)
    async with begin_system(registered) as tx:
        rows = await tx.all("select args from procrastinate_jobs where task_name = %s", (departed.TASK,))
    assert [row["args"] for row in rows] == [{"organization_id": str(owner.organization_id), "user_id": str(person.id)}]
