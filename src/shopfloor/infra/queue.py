"""The queue: Procrastinate on the same database, so that a task and the rows it is about commit together."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import procrastinate
import psycopg
from procrastinate import JobContext, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from psycopg_pool import PoolTimeout, TooManyRequests

from shopfloor.infra import task_failures
from shopfloor.infra.database import Connection, Database, DatabaseUnavailable

Task = Callable[..., Awaitable[None]]

_STALLED_AFTER_S = 30.0  # of Procrastinate's own rows; runs have a heart-beat of their own (domain/jobs/lease.py)
_UNRECORDED_AFTER_S = 10.0  # an end that Procrastinate has not written by then was lost with a connection
_LEAST_DEATHS = 3  # so many attempts are lost before a death is taken for the task's own doing
_ATTEMPTS_OF_UNKNOWN = 5  # of a task whose name this version doesn't know
_RESCUED_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class _Ended:
    """A task that ended in this process."""

    at: float  # monotonic
    succeeded: bool


class Queue:
    """Named tasks. API processes defer them, workers run them; a task's arguments are JSON and hold ids only.

    A task that has used up its attempts stays in Procrastinate's table as `failed` until domain/dead_letters takes it
    from there; what went wrong in each attempt is in `task_failures`.
    """

    def __init__(self) -> None:
        self._app = procrastinate.App(connector=PsycopgConnector())
        self._attempts: dict[str, int | None] = {}
        self._ended: dict[int, _Ended] = {}
        self._database: Database | None = None

    def task(self, name: str, run: Task, *, queue: str = "default", attempts: int | None = 1) -> None:
        """Register what runs when `name` is on the queue; tried up to `attempts` times, with growing pauses.

        An attempt whose worker died counts too, and is followed by another up to the third. `attempts` None: tried
        once and never given up as dead, because its room brings the subject back by itself.
        """
        self._attempts[name] = attempts

        async def attempt(context: JobContext, **arguments: Any) -> None:
            await self._attempt(run, context, arguments)

        again = attempts is not None and attempts > 1
        retry = procrastinate.RetryStrategy(max_attempts=(attempts or 1) - 1, exponential_wait=2) if again else False
        self._app.task(name=name, queue=queue, retry=retry, pass_context=True)(attempt)

    async def _attempt(self, run: Task, context: JobContext, arguments: dict[str, Any]) -> None:
        task_id, succeeded = context.job.id, False
        assert task_id is not None
        self._ended.pop(task_id, None)
        try:
            await run(**arguments)
            succeeded = True
        except Exception as error:
            if self._database is not None and self._attempts.get(context.job.task_name) is not None:
                await task_failures.note(
                    self._database, task_id, context.job.attempts + 1, context.worker_name or "", error
                )
            raise
        finally:
            self._ended[task_id] = _Ended(time.monotonic(), succeeded)

    async def defer(
        self, connection: Connection, task: str, *, queue: str, priority: int, arguments: dict[str, Any]
    ) -> int:
        """Put a task on the queue in the transaction that `connection` is in; its number there."""
        deferrer = self._app.configure_task(task, queue=queue, priority=priority, connection=connection)
        try:
            return await deferrer.defer_async(**arguments)
        except ConnectorException as error:
            # The driver's own error: `begin` knows which of those mean that the database is away.
            raise error.__cause__ or error from None

    async def work(self, database: Database, *, queues: list[str], name: str, concurrency: int) -> None:
        """Run tasks until cancelled; on cancellation the running ones are cancelled at once."""
        self._database = database
        async with self._app.open_async(database.system):
            await self._app.run_worker_async(
                queues=queues, name=name, concurrency=concurrency, install_signal_handlers=False,
                shutdown_graceful_timeout=0, fetch_job_polling_interval=1.0, abort_job_polling_interval=60.0,
                delete_jobs="successful", update_heartbeat_interval=5.0, stalled_worker_timeout=_STALLED_AFTER_S,
                listen_notify=not database.settings.pgbouncer,  # transaction pooling loses LISTEN: then it polls
            )  # fmt: skip

    async def rescue(self, database: Database) -> int:
        """Bring back the tasks of dead workers, and those whose end was lost on its way to the database; how many.

        Again, or `failed` where that was the last attempt. Nothing in a process that runs no tasks: it doesn't know
        how often each may be tried. Raises: DatabaseUnavailable.
        """
        if not self._attempts:
            return 0
        before = time.monotonic() - _UNRECORDED_AFTER_S
        ended = {task_id: each.succeeded for task_id, each in self._ended.items() if each.at < before}
        try:
            async with database.system.connection() as connection, connection.transaction():
                found = await connection.execute(_STALLED, (_STALLED_AFTER_S, list(ended), _RESCUED_AT_ONCE))
                rows = await found.fetchall()
                for row in rows:
                    await self._bring_back(connection, row, ended=ended.get(row["id"]))
        except (PoolTimeout, TooManyRequests, psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise DatabaseUnavailable("The connection to the database broke. Try again.") from error
        for task_id in ended:
            self._ended.pop(task_id, None)
        return len(rows)

    async def _bring_back(self, connection: Connection, row: dict[str, Any], *, ended: bool | None) -> None:
        """`ended`: whether it succeeded in this process; None: its worker fell silent."""
        if ended:
            await connection.execute("select procrastinate_finish_job_v1(%s, 'succeeded', true)", (row["id"],))
            return
        limit = self._attempts.get(row["task_name"], _ATTEMPTS_OF_UNKNOWN)
        attempt = row["attempts"] + 1
        if limit is not None and ended is None:
            await task_failures.note_lost(connection, row["id"], attempt)
        if limit is None or attempt < (limit if ended is False else max(limit, _LEAST_DEATHS)):
            # The first death is as a rule the machine's, not the task's.
            wait_s = 0 if limit is None or attempt == 1 else 2**attempt
            await connection.execute(
                "select procrastinate_retry_job_v2(%s, now() + make_interval(secs => %s), null, null, null)",
                (row["id"], wait_s),
            )
        else:
            await connection.execute("select procrastinate_finish_job_v1(%s, 'failed', false)", (row["id"],))


_STALLED = """
select j.id, j.task_name, j.attempts from procrastinate_jobs j
left join procrastinate_workers w on w.id = j.worker_id
where j.status = 'doing' and (j.worker_id is null or w.last_heartbeat < now() - make_interval(secs => %s)
  or j.id = any(%s::bigint[]))
order by j.id limit %s for update of j skip locked
"""
