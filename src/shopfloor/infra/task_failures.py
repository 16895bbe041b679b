"""What went wrong in each attempt at a task of the queue: kept until the task is a dead letter, or is done."""

from __future__ import annotations

from typing import Any, Final, LiteralString

import psycopg
import structlog
from psycopg_pool import PoolTimeout, TooManyRequests

from shopfloor.base.errors import ShopfloorError
from shopfloor.infra.database import Connection, Database
from shopfloor.infra.json_column import jsonb
from shopfloor.infra.redaction import REDACTOR

WORKER_LOST: Final[dict[str, Any]] = {
    "code": "worker-lost",
    "title": "The worker died",
    "detail": "The worker fell silent while it ran this task.",
}
UNRECORDED: Final[dict[str, Any]] = {
    "code": "not-recorded",
    "title": "What went wrong was not recorded",
    "detail": "The worker doesn't know this task, was shut down in its last attempt, or had no database to say what "
    "went wrong. Its log has it.",
}
_MOST_CHARS = 2_000
_INSERT: LiteralString = (
    "insert into task_failures (organization_id, task_id, attempt, worker, error) "
    "select nullif(args->>'organization_id', '')::uuid, id, %(attempt)s, %(worker)s, %(error)s "
    "from procrastinate_jobs where id = %(id)s on conflict (task_id, attempt) do nothing"
)

log = structlog.get_logger(__name__)


async def note(database: Database, task_id: int, attempt: int, worker: str, error: Exception) -> None:
    """Keep what went wrong, without secrets. A database that is away is passed over: the log says it as well."""
    given = {"id": task_id, "attempt": attempt, "worker": worker, "error": jsonb(plain(error))}
    try:
        async with database.system.connection() as connection:
            await connection.execute(_INSERT, given)
    except (psycopg.Error, PoolTimeout, TooManyRequests) as away:
        log.warning("task.failure_not_recorded", task_id=task_id, attempt=attempt, why=type(away).__name__)


async def note_lost(connection: Connection, task_id: int, attempt: int) -> None:
    """Its worker died in this attempt. What the attempt itself had said before that stays."""
    given = {"id": task_id, "attempt": attempt, "worker": "", "error": jsonb(WORKER_LOST)}
    await connection.execute(_INSERT, given)


def plain(error: Exception) -> dict[str, Any]:
    """`{code, title, detail}` without secrets."""
    if isinstance(error, ShopfloorError):
        told = {"code": error.code(), "title": error.title, "detail": error.detail}
    else:
        told = {"code": "defect", "title": type(error).__name__, "detail": str(error)}
    return {name: REDACTOR.text(text)[:_MOST_CHARS] for name, text in told.items()}
