"""Members with a role, and clients that speak for them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import httpx2

from shopfloor.base.ids import new_id
from shopfloor.domain.access.keys import mint
from shopfloor.domain.access.permissions import EVERY
from shopfloor.infra.tx import begin_system


@dataclass(frozen=True)
class Somebody:
    """A member, and a client with a key that holds whatever the member may."""

    id: UUID
    http: httpx2.AsyncClient


async def join(clients, organization_id: UUID, role: str, *, name: str = "", email: str | None = None) -> Somebody:
    user_id, key = new_id(), mint()
    async with begin_system(clients.store) as tx:
        await tx.execute(
            "insert into users (id, organization_id, email, name, role) values (%s, %s, %s, %s, %s)",
            (user_id, organization_id, email or f"{user_id}@example.org", name or role, role),
        )
        await tx.execute(
            "insert into api_keys (id, organization_id, user_id, name, public_id, secret_hash, permissions) "
            "values (%s, %s, %s, %s, %s, %s, %s)",
            (
                new_id(), organization_id, user_id, role, key.public_id,
                clients.sealer.fingerprint("api key", key.text), sorted(EVERY),
            ),
        )  # fmt: skip
    return Somebody(user_id, clients.with_header(f"Bearer {key.text}"))
