"""What this room publishes, and how a line is added to a job's ordered stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shopfloor.base.ids import new_id
from shopfloor.infra.json_column import jsonb
from shopfloor.infra.tx import Tx

EventData = dict[str, Any]


@dataclass(frozen=True, slots=True)
class JobFinished:
    """A job reached a terminal state."""

    organization_id: UUID
    job_id: UUID
    state: str


class Once:
    """Lines that are added by `perform`: a second try, after a commit whose answer was lost, adds nothing."""

    def __init__(self, *lines: tuple[str, EventData]) -> None:
        self._lines = lines
        self._batch = new_id()
        self._tried = False

    async def emit(self, tx: Tx, job_id: UUID) -> None:
        """Add them, unless an earlier try did."""
        if self._tried and await tx.one(
            "select 1 from events where job_id = %s and batch = %s limit 1", (job_id, self._batch)
        ):
            return
        self._tried = True
        await emit(tx, job_id, *self._lines, batch=self._batch)


async def emit(tx: Tx, job_id: UUID, *lines: tuple[str, EventData], batch: UUID | None = None) -> int:
    """Add lines to the stream, in the transaction that makes them true; the last one's sequence.

    The job's row is locked until the commit: sequences become visible in order and without a gap.
    """
    row = await tx.one(
        "update jobs set last_seq = last_seq + %s where id = %s returning last_seq, organization_id",
        (len(lines), job_id),
    )
    assert row is not None
    first = row["last_seq"] - len(lines) + 1
    await tx.execute(
        "insert into events (organization_id, job_id, seq, kind, data, batch) "
        "select %s, %s, %s + ordinality - 1, kind, data, %s "
        "from unnest(%s::text[], %s::jsonb[]) with ordinality as line(kind, data, ordinality)",
        (row["organization_id"], job_id, first, batch, [kind for kind, _ in lines], [jsonb(data) for _, data in lines]),
    )
    return int(row["last_seq"])
