"""Secrets by name: hand one in, give it a new value, list them without values, remove one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

from shopfloor.base.errors import InvalidInput, PreconditionFailed
from shopfloor.base.ids import new_id
from shopfloor.domain.access import store as access
from shopfloor.domain.secrets import store
from shopfloor.domain.secrets.errors import SecretNameTaken, SecretUnknown
from shopfloor.domain.secrets.models import Kind, Secret
from shopfloor.infra.redaction import REDACTOR
from shopfloor.infra.secrets.columns import register_sealed
from shopfloor.infra.secrets.port import Sealer
from shopfloor.infra.tx import Tx

VALUES: Final = register_sealed("secrets", "sealed_value")


@dataclass(frozen=True, slots=True)
class NewSecret:
    """What is handed in. `repr` leaves the value out."""

    name: str
    value: str = field(repr=False)
    kind: Kind = "generic"
    project_id: UUID | None = None  # None: for the whole organization
    host: str | None = None
    username: str | None = None


async def add_secret(tx: Tx, sealer: Sealer, new: NewSecret) -> Secret:
    """The new secret, without its value. Raises: PermissionDenied, InvalidInput, SecretNameTaken."""
    tx.require("secret.edit", new.project_id)
    if (new.kind == "git") != (new.host is not None):
        raise InvalidInput("A git secret names its host, e.g. git.example.com; a generic one has none.", name=new.name)
    if new.project_id is not None and not await access.project_ids_of(tx, [new.project_id]):
        raise InvalidInput(f"There is no project {new.project_id}. GET /api/v1/projects lists yours.")
    secret_id, now = new_id(), tx.clock.now()
    row = Secret(
        id=secret_id,
        project_id=new.project_id,
        name=new.name,
        kind=new.kind,
        host=new.host,
        username=new.username,
        sealed_value=await _sealed(tx, sealer, secret_id, new.value),
        version=1,
        created_by=tx.principal.user_id or tx.principal.id,
        created_at=now,
        updated_at=now,
        last_used_at=None,
    )
    if not await store.add(tx, row):
        place = f"for {new.host}, or one named {new.name!r}," if new.host else f"named {new.name!r}"
        raise SecretNameTaken(
            f"There is a secret {place} in this scope already. Give that one a new value with PATCH, or remove it."
        )
    await tx.record("secret.added", "secret", secret_id, after=_told(row), project_id=row.project_id)
    return row


async def list_secrets(tx: Tx, *, after: UUID | None, limit: int) -> list[Secret]:
    """Oldest first. Raises: PermissionDenied."""
    if not tx.principal.allows_somewhere("secret.read"):
        tx.require("secret.read")
    return await store.secrets(tx, after=after, limit=limit)


async def find_secret(tx: Tx, secret_id: UUID) -> Secret:
    """Raises: SecretUnknown."""
    found = await store.secret(tx, secret_id)
    if found is None:
        raise SecretUnknown(f"There is no secret {secret_id}. GET /api/v1/secrets lists yours.")
    return found


async def change_secret(tx: Tx, sealer: Sealer, secret: Secret, given: Mapping[str, Any]) -> Secret:
    """It with a new value, or another user. Raises: PermissionDenied, InvalidInput, PreconditionFailed."""
    tx.require("secret.edit", secret.project_id)
    changed = secret
    if "username" in given:
        if "value" not in given:
            raise InvalidInput("Another username needs the value in the same request: the two belong together.")
        changed = replace(changed, username=given["username"])
    if "value" in given:
        changed = replace(changed, sealed_value=await _sealed(tx, sealer, secret.id, given["value"]))
    if changed == secret:
        return secret
    if not await store.write(tx, changed):
        raise PreconditionFailed("Somebody changed the secret at the same moment. Read it again, then repeat this.")
    await tx.record(
        "secret.changed", "secret", secret.id,
        before=_told(secret), after=_told(changed) | {"value": "new"}, project_id=secret.project_id,
    )  # fmt: skip
    return await find_secret(tx, secret.id)


async def remove_secret(tx: Tx, secret: Secret) -> None:
    """For good. What needs it fails when it asks next. Raises: PermissionDenied."""
    tx.require("secret.edit", secret.project_id)
    await store.delete(tx, secret.id)
    await tx.record("secret.removed", "secret", secret.id, before=_told(secret), project_id=secret.project_id)


async def _sealed(tx: Tx, sealer: Sealer, secret_id: UUID, value: str) -> bytes:
    REDACTOR.remember(value)
    return await sealer.seal(tx, tx.organization_id, VALUES.place(secret_id), value)


def _told(secret: Secret) -> dict[str, Any]:
    return {"name": secret.name, "kind": secret.kind, "host": secret.host, "username": secret.username}
