"""Wake-ups between processes: they arrive, also after a cut, and are hints only."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest

from shopfloor.infra.notify import Notifier
from shopfloor.infra.tx import Store


@asynccontextmanager
async def started(store: Store, number: int = 2) -> AsyncIterator[list[tuple[Notifier, list[str]]]]:
    """So many notifiers, as of as many processes, and what each has heard."""
    notifiers = [Notifier(store.database) for _ in range(number)]
    heard: list[list[str]] = [[] for _ in notifiers]
    for notifier, keys in zip(notifiers, heard, strict=True):
        notifier.listen(keys.append)
        await notifier.start()
    try:
        for keys in heard:
            await _until(lambda keys=keys: "*" in keys)
        yield list(zip(notifiers, heard, strict=True))
    finally:
        for notifier in notifiers:
            await notifier.aclose()


async def _until(true: Callable[[], bool], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(0.005)


async def test_a_wake_up_reaches_every_process_its_own_included(store: Store):
    async with started(store, 3) as all_:
        all_[0][0].wake("job:1")
        all_[2][0].wake("job:2")
        for _, heard in all_:
            await _until(lambda heard=heard: {"job:1", "job:2"} <= set(heard))


async def test_many_wake_ups_at_once_all_arrive_in_few_notifications(store: Store):
    keys = {f"job:{number:032x}" for number in range(2_000)}
    async with started(store) as ((first, _), (_, heard)):
        for _ in range(3):
            for key in keys:
                first.wake(key)
        await _until(lambda: keys <= set(heard))
        assert len(heard) == len(keys) + 1  # asked for three times, told once


async def test_a_listener_that_lost_its_connection_is_told_that_it_may_have_missed_some(store: Store, postgres: str):
    async with started(store) as ((first, _), (_, heard)):
        heard.clear()
        async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as admin:
            await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen %%'")
        await _until(lambda: "*" in heard)
        first.wake("job:after")
        await _until(lambda: "job:after" in heard)


async def test_wake_ups_go_on_after_the_pools_connections_were_cut(store: Store, postgres: str):
    async with started(store) as ((first, _), (_, heard)):
        async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as admin:
            await admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where usename like 'shopfloor%%'"
            )

        def there() -> bool:
            first.wake("job:again")  # a hint that is lost is sent again by whoever needs it
            return "job:again" in heard

        await _until(there)


@pytest.mark.parametrize("payload", ["hello", '"text"', "{}", "[1, null]", "", "[" * 7_000, "7"])
async def test_a_notification_that_is_not_ours_is_passed_over(store: Store, postgres: str, payload: str):
    async with started(store) as ((first, _), (_, heard)):
        heard.clear()
        async with store.database.system.connection() as connection:
            await connection.execute("select pg_notify('shopfloor_wake', %s)", (payload,))
        first.wake("job:after")
        await _until(lambda: "job:after" in heard)
        assert heard == ["job:after"]  # "*" would tell of a connection that was lost over it


@pytest.mark.slow  # the driver gives a stopped server two more times five seconds
async def test_a_server_that_stops_answering_is_left_for_a_new_connection(store: Store):
    notifier, heard = Notifier(store.database, idle_check_s=0.2), list[str]()
    notifier.listen(heard.append)
    await notifier.start()
    await _until(lambda: "*" in heard)
    heard.clear()
    async with store.database.system.connection() as connection:
        cursor = await connection.execute(
            "select pid from pg_stat_activity where application_name = 'shopfloor-listen'"
            " and datname = current_database()"
        )
        row = await cursor.fetchone()
    assert row is not None
    os.kill(row["pid"], signal.SIGSTOP)
    try:
        await _until(lambda: "*" in heard, within_s=60)
    finally:
        os.kill(row["pid"], signal.SIGCONT)
        await notifier.aclose()


async def test_a_notifier_that_was_never_started_takes_wake_ups_quietly(store: Store):
    notifier = Notifier(store.database)
    notifier.wake("job:1")
    await notifier.aclose()
