"""What else is told than budgets: a job that waits for a yes, and what was given up. Once, and only while it is so."""

from __future__ import annotations

from psycopg.types.json import Jsonb

from shopfloor.apps import notices
from shopfloor.base.ids import new_id
from shopfloor.infra.tx import Store, begin


async def told(store: Store, owner) -> list[tuple[str, str]]:
    async with begin(store, owner) as tx:
        return [(row["kind"], row["body"]) for row in await tx.all("select kind, body from notifications order by id")]


async def test_an_approval_is_told_once_and_not_after_its_answer(store: Store, owner, calls):
    ids = [new_id(), new_id()]
    async with begin(store, owner) as tx:
        for number, approval in enumerate(ids):
            await tx.execute(
                "insert into approvals (id, organization_id, project_id, job_id, run_id, kind, scope, turn, key, tool, "
                "arguments, digest, summary, expires_at, state, decided_at) values (%s, %s, %s, %s, %s, 'tool', '', "
                "%s, 'c', 'shell', '{}', '', 'shell: git push', now() + interval '1 day', %s, %s)",
                (
                    approval, tx.organization_id, calls.project_id, calls.job_id, calls.run_id, number,
                    "rejected" if number else "pending", tx.clock.now() if number else None,
                ),
            )  # fmt: skip
    for _ in range(2):
        for approval in ids:
            await notices.tell_of(store, "asked", owner.organization_id, approval, approval)
    [(kind, body)] = await told(store, owner)
    assert kind == "approval.asked"
    assert "git push" in body
    assert str(ids[0]) in body


async def test_a_dead_letter_is_told_once(store: Store, owner, database_url: str):
    import psycopg

    letter = new_id()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "insert into dead_letters (id, organization_id, kind, task, queue, task_id, reason, history, attempts, "
            "payload) values (%s, %s, 'task', 'mail.send', 'default', 1, %s, '[]', 1, '{}')",
            (letter, owner.organization_id, Jsonb({"code": "x", "title": "x", "detail": "x"})),
        )
    for _ in range(2):
        await notices.tell_of(store, "given up", owner.organization_id, letter, letter)
    [(kind, body)] = await told(store, owner)
    assert kind == "deadletter.added"
    assert "mail.send" in body
