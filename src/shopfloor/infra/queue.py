"""The queue: Procrastinate on the same database, so that a task and the rows it is about commit together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import procrastinate
import psycopg
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException

from shopfloor.infra.database import Connection, Database, DatabaseUnavailable

Task = Callable[..., Awaitable[None]]

_STALLED_AFTER_S = 30.0  # of Procrastinate's own rows; runs have a heart-beat of their own (domain/jobs/lease.py)


class Queue:
    """Named tasks. API processes defer them, workers run them; a task's arguments are JSON and hold ids only."""

    def __init__(self) -> None:
        self._app = procrastinate.App(connector=PsycopgConnector())

    def task(self, name: str, run: Task, *, queue: str = "default", attempts: int = 1) -> None:
        """Register what runs when `name` is on the queue; tried up to `attempts` times, with growing pauses."""
        retry = procrastinate.RetryStrategy(max_attempts=attempts - 1, exponential_wait=2) if attempts > 1 else False
        self._app.task(name=name, queue=queue, retry=retry)(run)

    async def defer(
        self, connection: Connection, task: str, *, queue: str, priority: int, arguments: dict[str, Any]
    ) -> None:
        """Put a task on the queue in the transaction that `connection` is in."""
        deferrer = self._app.configure_task(task, queue=queue, priority=priority, connection=connection)
        try:
            await deferrer.defer_async(**arguments)
        except ConnectorException as error:
            # The driver's own error: `begin` knows which of those mean that the database is away.
            raise error.__cause__ or error from None

    async def work(self, database: Database, *, queues: list[str], name: str, concurrency: int) -> None:
        """Run tasks until cancelled; on cancellation the running ones are cancelled at once."""
        async with self._app.open_async(database.system):
            await self._app.run_worker_async(
                queues=queues, name=name, concurrency=concurrency, install_signal_handlers=False,
                shutdown_graceful_timeout=0, fetch_job_polling_interval=1.0, abort_job_polling_interval=60.0,
                delete_jobs="successful", update_heartbeat_interval=5.0, stalled_worker_timeout=_STALLED_AFTER_S,
                listen_notify=not database.settings.pgbouncer,  # transaction pooling loses LISTEN: then it polls
            )  # fmt: skip

    async def rescue(self, database: Database) -> int:
        """Put the tasks of dead workers back on the queue; how many. Raises: DatabaseUnavailable."""
        try:
            async with self._app.open_async(database.system):
                manager = self._app.job_manager
                stalled = list(await manager.get_stalled_jobs(seconds_since_heartbeat=_STALLED_AFTER_S))
                for job in stalled:
                    await manager.retry_job(job)
                return len(stalled)
        except (ConnectorException, psycopg.OperationalError) as error:
            raise DatabaseUnavailable("The connection to the database broke. Try again.") from error
