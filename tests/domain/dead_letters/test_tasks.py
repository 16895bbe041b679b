"""A task that fails in each attempt lands exactly once among the dead letters, however its attempts ended."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from shopfloor.base.errors import Unavailable
from shopfloor.base.principal import Principal
from shopfloor.domain.dead_letters import collect
from shopfloor.domain.dead_letters.events import DeadLetterAdded
from shopfloor.infra.redaction import MASK
from shopfloor.infra.tx import Store, begin, begin_system

SECRET = "sk-ant-FAKE-of-this-test-0001"


class Down(Unavailable):
    """What it needs doesn't answer."""


async def poison(organization_id: str, what: str) -> None:
    raise Down(f"{what} doesn't answer, said Bearer {SECRET}")


async def defect(organization_id: str, what: str) -> None:
    raise ZeroDivisionError(what)


async def _defer(store: Store, owner: Principal, task: str = "poison", **arguments: str) -> None:
    async with begin(store, owner) as tx:
        await tx.defer(task, organization_id=str(owner.organization_id), **({"what": "it"} | arguments))


@pytest.mark.parametrize(("run", "code"), [(poison, "down"), (defect, "defect")])
async def test_a_task_that_fails_each_time_is_one_letter_with_the_history_of_its_attempts(
    store: Store, owner: Principal, work_off, letters, run, code: str
):
    store.services.queue.task("poison", run, attempts=3)
    await _defer(store, owner)
    assert await letters() == []
    await work_off()
    for _ in range(2):
        [letter] = await letters()
    assert (letter["kind"], letter["task"], letter["state"], letter["attempts"]) == ("task", "poison", "open", 3)
    assert letter["reason"]["code"] == code
    assert [each["attempt"] for each in letter["history"]] == [1, 2, 3]
    assert {each["worker"] for each in letter["history"]} == {"worker-1"}
    assert letter["payload"] == {"organization_id": str(owner.organization_id), "what": "it"}
    assert SECRET not in str(letter)
    async with begin_system(store) as tx:
        assert await tx.all("select * from procrastinate_jobs") == []
        assert await tx.all("select * from task_failures") == []


async def test_a_task_that_succeeds_in_the_end_is_no_letter_and_leaves_nothing(
    store: Store, owner: Principal, work_off, letters
):
    tries: list[str] = []

    async def second_time(organization_id: str, what: str) -> None:
        tries.append(what)
        if len(tries) == 1:
            raise Down("not yet")

    store.services.queue.task("poison", second_time, attempts=3)
    await _defer(store, owner)
    await work_off()
    assert await letters() == []
    async with begin_system(store) as tx:
        assert len(await tx.all("select * from task_failures")) == 1  # the positive control
        assert await collect.store.forget_old_failures(tx, 10) == 1


async def test_a_worker_that_dies_in_each_attempt_makes_one_letter(
    store: Store, owner: Principal, fall_silent, letters
):
    store.services.queue.task("poison", poison, attempts=3)
    await _defer(store, owner)
    for attempt in (1, 2, 3):
        assert await letters() == []
        await fall_silent()
        found = await asyncio.gather(*(store.services.queue.rescue(store.database) for _ in range(3)))
        assert sum(found) == 1, f"attempt {attempt} was counted {sum(found)} times"
    [letter] = await letters()
    assert letter["attempts"] == 3
    assert [each["error"]["code"] for each in letter["history"]] == ["worker-lost"] * 3
    assert letter["reason"]["code"] == "worker-lost"


@pytest.mark.chaos
async def test_a_worker_process_killed_in_the_last_attempt_makes_one_letter(
    store: Store, owner: Principal, database_url: str, letters
):
    store.services.queue.task("poison", poison, attempts=1)
    await _defer(store, owner)
    for _ in range(3):  # a machine that dies once or twice is not the task's fault
        worker = await asyncio.create_subprocess_exec(sys.executable, "-c", _KILLS_ITSELF, database_url)
        assert await asyncio.wait_for(worker.wait(), 60) == -signal.SIGKILL
        assert await letters() == []  # nobody knows yet that it is dead
        async with begin_system(store) as tx:
            await tx.execute("update procrastinate_workers set last_heartbeat = now() - interval '1 minute'")
        assert await store.services.queue.rescue(store.database) == 1
        async with begin_system(store) as tx:
            await tx.execute("update procrastinate_jobs set scheduled_at = null where status = 'todo'")
    for _ in range(2):
        [letter] = await letters()
    assert letter["reason"]["code"] == "worker-lost"


_KILLS_ITSELF = """
import asyncio, os, signal, sys
from shopfloor.infra.database import Database, DatabaseSettings, urls_of
from shopfloor.infra.queue import Queue

async def poison(organization_id, what):
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    settings = DatabaseSettings(url=sys.argv[1])
    database = Database(urls_of(settings), settings)
    await database.open()
    queue = Queue()
    queue.task("poison", poison)
    await queue.work(database, queues=["default"], name="killed", concurrency=1)

asyncio.run(main())
"""


async def test_a_task_that_no_worker_knows_is_a_letter(store: Store, owner: Principal, work_off, letters):
    store.services.queue.task("poison", poison)
    await _defer(store, owner, task="of.another.version")
    await work_off()
    [letter] = await letters()
    assert (letter["task"], letter["reason"]["code"]) == ("of.another.version", "not-recorded")


async def test_a_task_shut_down_in_its_last_attempt_is_a_letter(store: Store, owner: Principal, letters):
    started = asyncio.Event()

    async def hang(organization_id: str, what: str) -> None:
        started.set()
        await asyncio.Event().wait()

    store.services.queue.task("poison", hang)
    await _defer(store, owner)
    work = asyncio.create_task(store.services.queue.work(store.database, queues=["default"], name="one", concurrency=1))
    await asyncio.wait_for(started.wait(), 20)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    [letter] = await letters()
    assert letter["reason"]["code"] == "not-recorded"


async def test_an_end_that_was_lost_on_its_way_to_the_database_is_found(store: Store, owner: Principal, letters):
    """Procrastinate writes it once: a connection that broke just then left a task `doing` for ever."""
    queue = store.services.queue
    ends: dict[str, bool] = {}

    async def run(organization_id: str, what: str) -> None:
        ends[what] = True
        if what == "fails":
            raise Down("it")

    queue.task("poison", run)
    for what in ("fails", "succeeds"):
        await _defer(store, owner, what=what)
    work = asyncio.create_task(queue.work(store.database, queues=["default"], name="one", concurrency=2))
    async with asyncio.timeout(20):
        while len(ends) < 2:  # noqa: ASYNC110 - two tasks, whichever comes last
            await asyncio.sleep(0.02)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    async with begin_system(store) as tx:  # as the broken connection left them, its worker alive
        await tx.execute(
            "with w as (insert into procrastinate_workers default values returning id) "
            "update procrastinate_jobs set status = 'doing', worker_id = w.id from w"
        )
        left = await tx.all("select args->>'what' as what from procrastinate_jobs")
    assert [row["what"] for row in left] == ["fails"]
    assert await queue.rescue(store.database) == 0  # it may be just about to be written
    for task_id, ended in queue._ended.items():
        queue._ended[task_id] = type(ended)(ended.at - 60, ended.succeeded)
    assert await queue.rescue(store.database) == 1
    assert len(await letters()) == 1


async def test_collectors_at_the_same_time_make_one_letter_and_tell_of_it_once(
    store: Store, owner: Principal, work_off, letters
):
    store.services.queue.task("poison", poison)
    store.services.queue.task("heard", defect)
    store.services.subscriptions.subscribe(
        DeadLetterAdded, "heard", lambda event: {"organization_id": str(event.organization_id), "what": event.kind}
    )
    for number in range(7):
        await _defer(store, owner, what=str(number))
    await work_off()
    added = await asyncio.gather(*(collect.collect(store) for _ in range(4)))
    assert sum(added) == 7
    assert len(await letters()) == 7
    async with begin_system(store) as tx:
        assert len(await tx.all("select 1 from procrastinate_jobs where task_name = 'heard'")) == 7


async def test_a_collector_killed_before_its_commit_loses_no_task(store: Store, owner: Principal, work_off, letters):
    store.services.queue.task("poison", poison)
    await _defer(store, owner)
    await work_off()

    async def killed() -> None:
        async with begin_system(store) as tx:
            [task] = await collect.store.tasks_given_up(tx, 10)
            assert await collect._of_task(tx, task)
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await killed()
    assert len(await letters()) == 1


async def test_an_argument_that_is_a_secret_is_struck_out(store: Store, owner: Principal, work_off, letters):
    store.services.queue.task("poison", poison)
    await _defer(store, owner, what=SECRET)
    await work_off()
    [letter] = await letters()
    assert (letter["payload"]["what"], letter["struck_out"]) == (MASK, True)


async def test_a_task_of_no_organization_is_the_operators(store: Store, owner: Principal, work_off, letters):
    async def tick() -> None:
        raise Down("tick")

    store.services.queue.task("tick", tick)
    async with begin_system(store) as tx:
        await tx.defer("tick")
    await work_off()
    [letter] = await letters()
    assert letter["organization_id"] == owner.organization_id


async def test_a_run_task_that_failed_is_no_letter_for_its_job_comes_back_by_itself(
    registered: Store, make_job, admit, letters
):
    job = await make_job()
    assert await admit() == [job.id]
    async with begin_system(registered) as tx:
        await tx.execute("update procrastinate_jobs set status = 'failed'")
    assert await letters() == []
    async with begin_system(registered) as tx:
        assert await tx.all("select 1 from procrastinate_jobs") == []
