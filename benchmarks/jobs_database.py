"""A database for the benchmarks of jobs: the embedded PostgreSQL as it ships, migrated, with as many jobs as asked."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg

from shopfloor.base.principal import Principal
from shopfloor.domain.access.first_start import first_start, local_owner
from shopfloor.domain.jobs import dispatch
from shopfloor.infra import schema
from shopfloor.infra.database import Database, DatabaseSettings, urls_of
from shopfloor.infra.embedded import EmbeddedPostgres
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Store

_FIRST = 1_600_000_000_000  # milliseconds: before any job of the benchmark itself
_LOAD: LiteralString = (
    "insert into jobs (id, organization_id, project_id, agent, task, model, limits, state, finished_at, created_by) "
    "select (lpad(to_hex(%(first)s + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid, "
    "p.organization_id, p.id, 'coding', repeat('Fix it. ', 40), 'mock/small', "
    """'{"cost_nanos": 5000000000, "turns": 100, "timeout_s": 3600}', %(state)s::text, """
    "case when %(state)s in ('succeeded', 'dead') then now() end, p.organization_id "
    "from projects p, generate_series(1, %(count)s) n"
)


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Store, Principal, str]]:
    """A store, the owner, and the URL of the superuser."""
    with tempfile.TemporaryDirectory(prefix="sf-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # noqa: ASYNC240 - before anything is measured
        server = EmbeddedPostgres(Path(folder) / "postgres")
        url = server.start()
        try:
            schema.migrate(url)
            settings = DatabaseSettings(url=url)
            database = Database(urls_of(settings), settings)
            await database.open()
            store = Store(database)
            store.services.queue.task(dispatch.RUN_TASK, _nothing, queue=dispatch.RUN_QUEUE)
            await first_start(store, MasterKeySealer(bytes(range(32))))
            yield store, await local_owner(store), url
            await database.aclose()
        finally:
            server.stop()


async def _nothing(**arguments: Any) -> None:
    del arguments


def fill(url: str, organization_id: UUID, size: int) -> UUID:
    """Half of `size` ended, half in line, five dead; the id in the middle of the ended ones."""
    half = size // 2
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("update organizations set max_running_jobs = 1000000 where id = %s", (organization_id,))
        admin.execute("update projects set max_running_jobs = 1")  # one admission a round
        for state, first, count in (("succeeded", 0, half), ("queued", half, half), ("dead", -10, 5)):
            admin.execute(_LOAD, {"first": _FIRST + first, "state": state, "count": count})
        admin.execute("vacuum analyze")
        admin.execute("checkpoint")
    return UUID(f"{_FIRST + half // 2:012x}70008000{0:012x}")
