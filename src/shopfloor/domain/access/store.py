"""Every query of this room, always inside the organization of the transaction's principal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from shopfloor.domain.access.models import ApiKey, Organization, Project
from shopfloor.infra.tx import Tx

_ORGANIZATION = "id, slug, name, operator, max_running_jobs, time_zone, version, created_at"
_PROJECT = (
    "id, slug, name, status, priority, max_running_jobs, settings, owner_id, team_id, security_level, classification, "
    "compliance, cost_centre, visibility, email_domains, ip_ranges, version, created_at, updated_at"
)
_KEY = (
    "id, user_id, name, public_id, permissions, project_ids, created_at, expires_at, revoked_at, last_used_at, "
    "last_used_address, ip_ranges::text[] as ip_ranges, rotated_at, previous_until"
)


async def organization(tx: Tx) -> Organization:
    """The principal's own."""
    row = await tx.one(f"select {_ORGANIZATION} from organizations where id = %s", (tx.organization_id,))
    assert row is not None
    return Organization(**row)


async def change_organization(tx: Tx, organization: Organization, *, fields: dict[str, Any]) -> bool:
    """False when it has changed since `organization` was read."""
    changed = await tx.execute(
        "update organizations set name = %s, max_running_jobs = %s, time_zone = %s, version = version + 1 "
        "where id = %s and version = %s",
        (
            fields.get("name", organization.name), fields.get("max_running_jobs", organization.max_running_jobs),
            fields.get("time_zone", organization.time_zone), organization.id, organization.version,
        ),
    )  # fmt: skip
    return changed == 1


async def organization_by_id(tx: Tx, organization_id: UUID) -> Organization | None:
    """Of those the transaction sees."""
    row = await tx.one(f"select {_ORGANIZATION} from organizations where id = %s", (organization_id,))
    return Organization(**row) if row else None


async def organizations(tx: Tx, *, after: UUID | None, limit: int) -> list[Organization]:
    """Every one that the transaction sees, oldest first."""
    rows = await tx.all(
        f"select {_ORGANIZATION} from organizations where (%s::uuid is null or id > %s) order by id limit %s",
        (after, after, limit),
    )
    return [Organization(**row) for row in rows]


@asynccontextmanager
async def inside(tx: Tx, organization_id: UUID) -> AsyncGenerator[None]:
    """Statements within the block see and write another organization's rows, and no others: one that is being made."""
    row = await tx.one("select coalesce(current_setting('app.organization_id', true), '') as here")
    assert row is not None
    await tx.execute("select set_config('app.organization_id', %s, true)", (str(organization_id),))
    yield
    await tx.execute("select set_config('app.organization_id', %s, true)", (row["here"],))


async def add_organization(tx: Tx, organization_id: UUID, *, slug: str, name: str) -> bool:
    """False when the slug is taken, by whomever."""
    added = await tx.execute(
        "insert into organizations (id, slug, name) values (%s, %s, %s) on conflict (slug) do nothing",
        (organization_id, slug, name),
    )
    return added == 1


async def project_by(tx: Tx, name_or_id: str | UUID) -> Project | None:
    """By slug or id."""
    column = "id" if isinstance(name_or_id, UUID) else "slug"
    if column == "id":
        row = await tx.one(f"select {_PROJECT} from projects where id = %s", (name_or_id,))
    else:
        row = await tx.one(f"select {_PROJECT} from projects where slug = %s", (name_or_id,))
    return Project(**row) if row else None


async def projects(tx: Tx, *, after: UUID | None, limit: int, status: str | None = None) -> list[Project]:
    """Oldest first; those the principal is not kept from."""
    mine = tx.projects_where("project.read")
    rows = await tx.all(
        f"select {_PROJECT} from projects where organization_id = %s and (%s::uuid is null or id > %s) "
        "and (%s::text is null or status = %s) and (%s::uuid[] is null or id = any(%s)) order by id limit %s",
        (tx.organization_id, after, after, status, status, mine, mine, limit),
    )
    return [Project(**row) for row in rows]


async def project_ids_of(tx: Tx, wanted: Iterable[UUID]) -> frozenset[UUID]:
    """Which of these ids are projects of the organization."""
    rows = await tx.all("select id from projects where id = any(%s)", (list(wanted),))
    return frozenset(row["id"] for row in rows)


async def add_project(tx: Tx, project_id: UUID, *, slug: str, fields: dict[str, Any]) -> bool:
    """False when the slug is taken. Raises: psycopg.errors.InsufficientPrivilege if its maker could not touch it."""
    added = await tx.execute(
        "insert into projects (id, organization_id, slug, name, status, priority, max_running_jobs, settings, "
        "owner_id, team_id, security_level, classification, compliance, cost_centre, visibility, email_domains, "
        "ip_ranges) values (%(id)s, %(organization_id)s, %(slug)s, %(name)s, %(status)s, %(priority)s, "
        "%(max_running_jobs)s, %(settings)s, %(owner_id)s, %(team_id)s, %(security_level)s, %(classification)s, "
        "%(compliance)s, %(cost_centre)s, %(visibility)s, %(email_domains)s, %(ip_ranges)s) "
        "on conflict (organization_id, slug) do nothing",
        {
            **_NEW_PROJECT, **fields, "id": project_id, "organization_id": tx.organization_id, "slug": slug,
            "settings": Jsonb(fields.get("settings", {})),
        },
    )  # fmt: skip
    return added == 1


_NEW_PROJECT: dict[str, Any] = {
    "status": "active", "priority": 0, "max_running_jobs": 10, "owner_id": None, "team_id": None,
    "security_level": "standard", "classification": "internal", "compliance": [], "cost_centre": None,
    "visibility": "organization", "email_domains": [], "ip_ranges": [],
}  # fmt: skip


async def change_project(tx: Tx, project: Project, *, fields: dict[str, Any]) -> bool:
    """False when it has changed since. Raises: InsufficientPrivilege if who changes it could touch it no more."""
    after = {name: fields.get(name, getattr(project, name)) for name in Project.__slots__}
    changed = await tx.execute(
        "update projects set name = %(name)s, status = %(status)s, priority = %(priority)s, "
        "max_running_jobs = %(max_running_jobs)s, settings = %(settings)s, owner_id = %(owner_id)s, "
        "team_id = %(team_id)s, security_level = %(security_level)s, classification = %(classification)s, "
        "compliance = %(compliance)s, cost_centre = %(cost_centre)s, visibility = %(visibility)s, "
        "email_domains = %(email_domains)s, ip_ranges = %(ip_ranges)s, version = version + 1, updated_at = now() "
        "where id = %(id)s and version = %(version)s",
        {**after, "settings": Jsonb(after["settings"]), "id": project.id, "version": project.version},
    )
    return changed == 1


async def delete_project(tx: Tx, project_id: UUID) -> None:
    """Raises: psycopg.errors.ForeignKeyViolation when it has jobs."""
    await tx.execute("delete from projects where id = %s", (project_id,))


async def add_key(
    tx: Tx, key_id: UUID, *, user_id: UUID, public_id: str, secret_hash: bytes, fields: dict[str, Any]
) -> None:
    """A new key's row."""
    await tx.execute(
        "insert into api_keys (id, organization_id, user_id, name, public_id, secret_hash, permissions, project_ids, "
        "expires_at, ip_ranges) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::cidr[])",
        (
            key_id, tx.organization_id, user_id, fields["name"], public_id, secret_hash, fields["permissions"],
            fields.get("project_ids"), fields.get("expires_at"), fields.get("ip_ranges"),
        ),
    )  # fmt: skip


async def keys(tx: Tx, *, after: UUID | None, limit: int) -> list[ApiKey]:
    """Oldest first; to a principal limited to projects, only keys limited to the same."""
    mine = _mine(tx)
    rows = await tx.all(
        f"select {_KEY} from api_keys where organization_id = %s and (%s::uuid is null or id > %s) "
        "and (%s::uuid[] is null or project_ids <@ %s) order by id limit %s",
        (tx.organization_id, after, after, mine, mine, limit),
    )
    return [ApiKey(**row) for row in rows]


async def key_by_id(tx: Tx, key_id: UUID) -> ApiKey | None:
    """One key, seen by whom `keys` shows it to."""
    mine = _mine(tx)
    row = await tx.one(
        f"select {_KEY} from api_keys where id = %s and (%s::uuid[] is null or project_ids <@ %s)",
        (key_id, mine, mine),
    )
    return ApiKey(**row) if row else None


async def rotate_key(tx: Tx, key: ApiKey, *, secret_hash: bytes, overlap_until: datetime) -> bool:
    """False when it was revoked, or rotated, since `key` was read. The secret before counts until `overlap_until`."""
    changed = await tx.execute(
        "update api_keys set previous_hash = secret_hash, previous_until = %s, secret_hash = %s, rotated_at = %s "
        "where id = %s and revoked_at is null and rotated_at is not distinct from %s",
        (overlap_until, secret_hash, tx.clock.now(), key.id, key.rotated_at),
    )
    return changed == 1


async def is_service_account(tx: Tx, user_id: UUID) -> bool:
    """Whether this is a user of the organization that no person signs in as."""
    row = await tx.one("select kind from users where id = %s", (user_id,))
    return row is not None and row["kind"] == "service"


async def revoke_key(tx: Tx, key_id: UUID) -> bool:
    """False when there is no such key that is still good."""
    return (
        await tx.execute("update api_keys set revoked_at = now() where id = %s and revoked_at is null", (key_id,)) == 1
    )


def _mine(tx: Tx) -> list[UUID] | None:
    return tx.projects_where("key.edit")
