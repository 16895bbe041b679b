"""The first start makes one organization, one owner, one project and one key, printed once."""

from __future__ import annotations

from collections.abc import Callable

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access.keys import KeyText, mint
from shopfloor.domain.access.permissions import ROLES
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Store, Tx, begin_system

_FIRST_START_LOCK = 0x5F0F_1005  # one process makes them; the number is ours
_OWNER_EMAIL = "owner@localhost"


async def first_start(store: Store, sealer: Sealer, *, keep: Callable[[KeyText], None] | None = None) -> KeyText | None:
    """The owner's key if this was the first start, None at every later one.

    `keep` puts the key where its owner finds it. It is called before the commit: the database holds a hash alone, and
    a process killed in between would leave an installation that nobody can enter. If it raises, nothing was made.
    """
    async with begin_system(store) as tx:
        await tx.execute("select pg_advisory_xact_lock(%s)", (_FIRST_START_LOCK,))
        if await tx.one("select 1 from organizations limit 1"):
            return None
        key = await _make(tx, sealer)
        if keep is not None:
            keep(key)
        return key


async def _make(tx: Tx, sealer: Sealer) -> KeyText:
    organization_id, user_id, project_id, key = new_id(), new_id(), new_id(), mint()
    await tx.execute(
        "insert into organizations (id, name, slug, operator) values (%s, 'Default', 'default', true)",
        (organization_id,),
    )
    await tx.execute(
        "insert into users (id, organization_id, email, name, role) values (%s, %s, %s, 'Owner', 'owner')",
        (user_id, organization_id, _OWNER_EMAIL),
    )
    await tx.execute(
        "insert into projects (id, organization_id, slug, name) values (%s, %s, 'default', 'Default')",
        (project_id, organization_id),
    )
    await tx.execute(
        "insert into api_keys (id, organization_id, user_id, name, public_id, secret_hash, permissions) "
        "values (%s, %s, %s, 'first', %s, %s, %s)",
        (
            new_id(), organization_id, user_id, key.public_id, sealer.fingerprint("api key", key.text),
            sorted(ROLES["owner"]),
        ),
    )  # fmt: skip
    return key


async def has_keys(store: Store) -> bool:
    """Whether there is an API key already: its fingerprint is stored."""
    async with begin_system(store) as tx:
        return await tx.one("select 1 from api_keys limit 1") is not None


async def local_owner(store: Store) -> Principal:
    """The owner of the only organization: who `shopfloor run` acts as, on its own machine and database."""
    async with begin_system(store) as tx:
        row = await tx.one(
            "select id, organization_id, name from users where role = 'owner' order by created_at limit 1"
        )
    assert row is not None, "first_start() has run"
    return Principal("user", row["id"], row["organization_id"], ROLES["owner"], name=row["name"], user_id=row["id"])
