"""The key that signs an organization's checkpoints: made at its first one, sealed in the database for every process.

A file in SHOPFLOOR_HOME would be simpler, and would be another key on each machine.
"""

from __future__ import annotations

import base64
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shopfloor.base.ids import new_id
from shopfloor.domain.audit.note import VerifierKey, origin_of
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.secrets.columns import register_sealed
from shopfloor.infra.tx import Tx

_KEYS: Final = register_sealed("audit_keys", "sealed_key")


async def signing_key(tx: Tx, sealer: Sealer, organization_id: UUID) -> Ed25519PrivateKey:
    """The organization's; made if it has none. The caller holds the log's lock. Raises: SealBroken."""
    row = await tx.one("select id, sealed_key from audit_keys where organization_id = %s", (organization_id,))
    if row is not None:
        return Ed25519PrivateKey.from_private_bytes(
            base64.b64decode(await _open(tx, sealer, organization_id, row["id"], row["sealed_key"]))
        )
    private, key_id = Ed25519PrivateKey.generate(), new_id()
    text = base64.b64encode(private.private_bytes_raw()).decode()
    await tx.execute(
        "insert into audit_keys (id, organization_id, public_key, sealed_key) values (%s, %s, %s, %s)",
        (
            key_id, organization_id, private.public_key().public_bytes_raw(),
            await _seal(tx, sealer, organization_id, key_id, text),
        ),
    )  # fmt: skip
    return private


async def public_key(tx: Tx) -> VerifierKey | None:
    """What checks the principal's log; None before its first checkpoint."""
    row = await tx.one("select public_key from audit_keys where organization_id = %s", (tx.organization_id,))
    return VerifierKey(origin_of(tx.organization_id), bytes(row["public_key"])) if row else None


async def _seal(tx: Tx, sealer: Sealer, organization_id: UUID, key_id: UUID, text: str) -> bytes:
    return await sealer.seal(tx, organization_id, _KEYS.place(key_id), text)


async def _open(tx: Tx, sealer: Sealer, organization_id: UUID, key_id: UUID, sealed: bytes) -> str:
    return await sealer.open(tx, organization_id, _KEYS.place(key_id), sealed)
