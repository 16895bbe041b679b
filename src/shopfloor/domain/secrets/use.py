"""Opening a secret where it is needed. From here on its value is struck out of logs and answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from shopfloor.domain.secrets import store
from shopfloor.domain.secrets.errors import SecretUnknown
from shopfloor.domain.secrets.keep import VALUES
from shopfloor.domain.secrets.models import Secret
from shopfloor.infra.redaction import REDACTOR
from shopfloor.infra.secrets.port import Sealer
from shopfloor.infra.tx import Tx


@dataclass(frozen=True, slots=True)
class GitCredentials:
    """What one host is shown. `username` None: whatever goes with a token."""

    username: str | None
    token: str = field(repr=False)


async def git_credentials(tx: Tx, sealer: Sealer, host: str, project_id: UUID) -> GitCredentials | None:
    """The project's own for this host, else the organization's. Raises: SealBroken, MasterKeysAway."""
    found = await store.for_host(tx, host.lower(), project_id)
    return None if found is None else GitCredentials(found.username, await _opened(tx, sealer, found))


async def open_secret(tx: Tx, sealer: Sealer, name: str, project_id: UUID | None = None) -> str:
    """The value, for a part of the platform that needs it. Raises: SecretUnknown, SealBroken, MasterKeysAway."""
    found = await store.named(tx, name, project_id)
    if found is None:
        raise SecretUnknown(f"There is no secret {name!r}. Hand it in: shopfloor secret set {name}.")
    return await _opened(tx, sealer, found)


async def _opened(tx: Tx, sealer: Sealer, secret: Secret) -> str:
    value = await sealer.open(tx, tx.organization_id, VALUES.place(secret.id), secret.sealed_value)
    REDACTOR.remember(value)
    await store.note_use(tx, secret.id)
    return value
