"""Who is asking: from the key a request carries to the principal that acts."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from shopfloor.base.errors import NotSignedIn
from shopfloor.base.principal import Principal
from shopfloor.domain.access.grants import rights_of
from shopfloor.domain.access.keys import parse
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Store, Tx, asking_system

_LAST_USE_PRECISION = timedelta(minutes=1)  # a write at every request would cost more than the exact time is worth

_REFUSAL = (
    "This request carries no valid key. Send one in the Authorization header, as a Bearer token; the first key lies in "
    "SHOPFLOOR_HOME/admin.key, others are made with POST /api/v1/api-keys."
)


async def authenticate(store: Store, sealer: Sealer, authorization: str | None) -> Principal:
    """The principal of an `Authorization` header. Raises: NotSignedIn, the same whichever part was wrong."""
    scheme, _, text = (authorization or "").partition(" ")
    key = parse(text.strip()) if scheme.lower() == "bearer" else None
    if key is None:
        raise NotSignedIn(_REFUSAL)
    async with asking_system(store) as tx:  # nothing here needs two statements to agree
        row = await tx.one(
            "select k.id, k.organization_id, k.user_id, k.name, k.secret_hash, k.permissions, k.project_ids, "
            "k.expires_at, k.revoked_at, k.last_used_at, u.role, u.disabled_at from api_keys k "
            "join users u on u.id = k.user_id where k.public_id = %s",
            (key.public_id,),
        )
        expected = row["secret_hash"] if row else b""
        known = hmac.compare_digest(sealer.fingerprint("api key", key.text), expected)
        if row is None or not known or row["disabled_at"] or _ended(row, tx.clock.now()):
            raise NotSignedIn(_REFUSAL)
        await _note_use(tx, row["id"], row["last_used_at"])
        owner = await rights_of(tx, row["user_id"], row["role"])
    # A key never may more than the person it belongs to may today.
    own = frozenset[str](row["permissions"])
    return Principal(
        "key", row["id"], row["organization_id"], own & owner.permissions,
        frozenset[UUID](row["project_ids"]) if row["project_ids"] is not None else None,
        name=f"key {row['name']}",
        project_permissions={place: own & held for place, held in owner.project_permissions.items()},
        user_id=row["user_id"],
    )  # fmt: skip


def _ended(key: Mapping[str, Any], now: datetime) -> bool:
    return key["revoked_at"] is not None or (key["expires_at"] is not None and key["expires_at"] <= now)


async def _note_use(tx: Tx, key_id: UUID, last_used_at: datetime | None) -> None:
    if last_used_at is None or tx.clock.now() - last_used_at > _LAST_USE_PRECISION:
        await tx.execute("update api_keys set last_used_at = now() where id = %s", (key_id,))
