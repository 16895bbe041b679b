"""Every query of this room, always inside the organization of the transaction's principal."""

from __future__ import annotations

from uuid import UUID

from shopfloor.domain.secrets.models import Secret
from shopfloor.infra.tx import Tx

_ROW = (
    "id, project_id, name, kind, host, username, sealed_value, version, created_by, created_at, updated_at, "
    "last_used_at"
)


async def secret(tx: Tx, secret_id: UUID) -> Secret | None:
    """By id, if the principal may read secrets where it belongs."""
    mine = tx.projects_where("secret.read")
    row = await tx.one(
        f"select {_ROW} from secrets where id = %s and (%s::uuid[] is null or project_id = any(%s))",
        (secret_id, mine, mine),
    )
    return Secret(**row) if row else None


async def secrets(tx: Tx, *, after: UUID | None, limit: int) -> list[Secret]:
    """Oldest first; to a principal limited to projects, only theirs."""
    mine = tx.projects_where("secret.read")
    rows = await tx.all(
        f"select {_ROW} from secrets where organization_id = %s and (%s::uuid is null or id > %s) "
        "and (%s::uuid[] is null or project_id = any(%s)) order by id limit %s",
        (tx.organization_id, after, after, mine, mine, limit),
    )
    return [Secret(**row) for row in rows]


async def named(tx: Tx, name: str, project_id: UUID | None) -> Secret | None:
    """The project's own, else the organization's."""
    row = await tx.one(
        f"select {_ROW} from secrets where organization_id = %s and name = %s "
        "and (project_id is null or project_id = %s) order by project_id nulls last limit 1",
        (tx.organization_id, name, project_id),
    )
    return Secret(**row) if row else None


async def for_host(tx: Tx, host: str, project_id: UUID) -> Secret | None:
    """The git secret for a host: the project's own, else the organization's."""
    row = await tx.one(
        f"select {_ROW} from secrets where organization_id = %s and kind = 'git' and host = %s "
        "and (project_id is null or project_id = %s) order by project_id nulls last limit 1",
        (tx.organization_id, host, project_id),
    )
    return Secret(**row) if row else None


async def add(tx: Tx, row: Secret) -> bool:
    """False when the name, or the host, is taken in this scope."""
    added = await tx.execute(
        "insert into secrets (id, organization_id, project_id, name, kind, host, username, sealed_value, created_by, "
        "created_at, updated_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
        (
            row.id, tx.organization_id, row.project_id, row.name, row.kind, row.host, row.username, row.sealed_value,
            row.created_by, row.created_at, row.updated_at,
        ),
    )  # fmt: skip
    return added == 1


async def write(tx: Tx, row: Secret) -> bool:
    """The new value and user of `row`. False when it has changed since `row` was read."""
    changed = await tx.execute(
        "update secrets set username = %s, sealed_value = %s, version = version + 1, updated_at = now() "
        "where id = %s and version = %s",
        (row.username, row.sealed_value, row.id, row.version),
    )
    return changed == 1


async def delete(tx: Tx, secret_id: UUID) -> None:
    """For good."""
    await tx.execute("delete from secrets where id = %s", (secret_id,))


async def note_use(tx: Tx, secret_id: UUID) -> None:
    """That it was used now; a write a minute at most."""
    await tx.execute(
        "update secrets set last_used_at = now() where id = %s "
        "and (last_used_at is null or last_used_at < now() - interval '1 minute')",
        (secret_id,),
    )
