"""Every query of this room, always inside the organization of the transaction's principal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, LiteralString, TypeVar
from uuid import UUID

from shopfloor.domain.delivery.models import Environment, Record, Release, Sprint
from shopfloor.infra.tx import Tx

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Noun(Generic[R]):
    """One kind of record: its table, what it has beside the common columns, the row that is made of it."""

    one: LiteralString  # `release`; the table is its plural
    own: Sequence[LiteralString]
    row: type[R]

    @property
    def columns(self) -> LiteralString:
        """As `select` names them."""
        return "id, project_id, name, version, created_at, updated_at, " + ", ".join(self.own)


ENVIRONMENTS = Noun("environment", ("kind", "protected"), Environment)
RELEASES = Noun("release", ("status", "notes"), Release)
SPRINTS = Noun("sprint", ("goal", "starts", "ends"), Sprint)


async def records(tx: Tx, noun: Noun[R], *, project_ids: list[UUID] | None, after: UUID | None, limit: int) -> list[R]:
    """Oldest first; `project_ids` None: of every project."""
    rows = await tx.all(
        f"select {noun.columns} from {noun.one}s where organization_id = %s and (%s::uuid is null or id > %s) "
        "and (%s::uuid[] is null or project_id = any(%s)) order by id limit %s",
        (tx.organization_id, after, after, project_ids, project_ids, limit),
    )
    return [noun.row(**row) for row in rows]


async def record(tx: Tx, noun: Noun[R], record_id: UUID) -> R | None:
    """By id."""
    row = await tx.one(f"select {noun.columns} from {noun.one}s where id = %s", (record_id,))
    return noun.row(**row) if row else None


async def add(tx: Tx, noun: Noun[R], record_id: UUID, project_id: UUID, fields: dict[str, Any]) -> bool:
    """False when the project has one of this name."""
    names = ("name", *noun.own)
    added = await tx.execute(
        f"insert into {noun.one}s (id, organization_id, project_id, {', '.join(names)}) "
        f"values (%(id)s, %(organization)s, %(project)s, {', '.join(f'%({name})s' for name in names)}) "
        "on conflict (organization_id, project_id, name) do nothing",
        {**fields, "id": record_id, "organization": tx.organization_id, "project": project_id},
    )
    return added == 1


async def change(tx: Tx, noun: Noun[R], record: Record, fields: dict[str, Any]) -> bool:
    """False when it has changed since. Raises: psycopg.errors.UniqueViolation when the name is taken."""
    names = ("name", *noun.own)
    changed = await tx.execute(
        f"update {noun.one}s set {', '.join(f'{name} = %({name})s' for name in names)}, version = version + 1, "
        "updated_at = now() where id = %(id)s and version = %(version)s",
        {
            **{name: fields.get(name, getattr(record, name)) for name in names},
            "id": record.id,
            "version": record.version,
        },
    )
    return changed == 1


async def delete(tx: Tx, noun: Noun[R], record_id: UUID) -> None:
    """With its ties; the jobs stay."""
    await tx.execute(f"delete from {noun.one}s where id = %s", (record_id,))


async def tie(tx: Tx, noun: Noun[R], record: Record, job_id: UUID) -> bool:
    """False when the job was tied to it already."""
    added = await tx.execute(
        f"insert into {noun.one}_jobs (organization_id, project_id, {noun.one}_id, job_id) values (%s, %s, %s, %s) "
        "on conflict do nothing",
        (tx.organization_id, record.project_id, record.id, job_id),
    )
    return added == 1


async def untie(tx: Tx, noun: Noun[R], record_id: UUID, job_id: UUID) -> bool:
    """False when it wasn't tied."""
    gone = await tx.execute(
        f"delete from {noun.one}_jobs where organization_id = %s and {noun.one}_id = %s and job_id = %s",
        (tx.organization_id, record_id, job_id),
    )
    return gone == 1


async def tied_jobs(tx: Tx, noun: Noun[R], record_id: UUID, *, before: UUID | None, limit: int) -> list[UUID]:
    """The jobs' ids, newest job first."""
    rows = await tx.all(
        f"select job_id from {noun.one}_jobs where organization_id = %s and {noun.one}_id = %s "
        "and (%s::uuid is null or job_id < %s) order by job_id desc limit %s",
        (tx.organization_id, record_id, before, before, limit),
    )
    return [row["job_id"] for row in rows]
