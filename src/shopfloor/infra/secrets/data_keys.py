"""The keys that secrets are sealed with, as rows: wrapped under a master key, one active an organization.

Rows without an organization are the installation's own: what fingerprints are made with.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shopfloor.base.clock import Clock
from shopfloor.base.ids import new_id
from shopfloor.infra.secrets.port import Plain, Wrapped
from shopfloor.infra.tx import Tx

SECRETS: Final = "secrets"  # the purpose of an organization's key

_ROW = "id, organization_id, purpose, master_key_id, wrapped"
_SEALING_LOCK: Final = 0x5F0F_1006  # shared while a value is sealed, alone while the key changes; the number is ours


@dataclass(frozen=True, slots=True)
class DataKey:
    """One row. `organization_id` None: the installation's own."""

    id: UUID
    organization_id: UUID | None
    purpose: str
    master_key_id: str
    wrapped: bytes = field(repr=False)

    def as_wrapped(self) -> Wrapped:
        """As the keeper of the master key takes it."""
        return Wrapped(binding_of(self.organization_id, self.id, self.purpose), self.master_key_id, self.wrapped)


def binding_of(organization_id: UUID | None, key_id: UUID, purpose: str) -> str:
    """What a data key is for: moved to another row, it doesn't unwrap."""
    return f"shopfloor/{organization_id or 'installation'}/{key_id}/{purpose}"


def unwrapped(organization_id: UUID | None, purpose: str, key: bytes) -> tuple[UUID, Plain]:
    """A new key's id, and the key as the keeper takes it."""
    key_id = new_id()
    return key_id, Plain(binding_of(organization_id, key_id, purpose), key)


async def hold_still(tx: Tx, organization_id: UUID, *, alone: bool = False) -> None:
    """Until the commit no other transaction makes another key the active one; `alone`: nor seals with it."""
    if alone:
        await tx.execute("select pg_advisory_xact_lock(%s, hashtext(%s))", (_SEALING_LOCK, str(organization_id)))
    else:
        await tx.execute("select pg_advisory_xact_lock_shared(%s, hashtext(%s))", (_SEALING_LOCK, str(organization_id)))


async def active_key(tx: Tx, organization_id: UUID) -> DataKey | None:
    """The one that seals."""
    row = await tx.one(
        f"select {_ROW} from data_keys where organization_id = %s and purpose = %s and state = 'active'",
        (organization_id, SECRETS),
    )
    return DataKey(**row) if row else None


async def data_key(tx: Tx, organization_id: UUID, key_id: UUID) -> DataKey | None:
    """One that opens; None: there never was, or it is erased."""
    row = await tx.one(
        f"select {_ROW} from data_keys where id = %s and organization_id = %s", (key_id, organization_id)
    )
    return DataKey(**row) if row else None


async def installation_keys(tx: Tx) -> list[DataKey]:
    """The installation's own."""
    rows = await tx.all(f"select {_ROW} from data_keys where organization_id is null and state = 'active'")
    return [DataKey(**row) for row in rows]


async def add_key(tx: Tx, key_id: UUID, organization_id: UUID | None, purpose: str, wrapped: Wrapped) -> bool:
    """False when there is an active one already."""
    added = await tx.execute(
        "insert into data_keys (id, organization_id, purpose, master_key_id, wrapped) values (%s, %s, %s, %s, %s) "
        "on conflict do nothing",
        (key_id, organization_id, purpose, wrapped.key_id, wrapped.blob),
    )
    return added == 1


class OpenKeys:
    """Data keys that were unwrapped, for a while, at most so many; the one not used for longest goes first."""

    def __init__(self, clock: Clock, *, most: int, life_s: float) -> None:
        self._clock = clock
        self._most = most
        self._life_s = life_s
        self._keys: OrderedDict[UUID, tuple[UUID, AESGCM, float]] = OrderedDict()
        self._opening: dict[UUID, asyncio.Task[bytes]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, organization_id: UUID, key_id: UUID) -> AESGCM | None:
        """The cipher of an organization's key, unless its time has ended."""
        found = self._keys.get(key_id)
        if found is None or found[0] != organization_id:
            return None
        if found[2] <= self._clock.monotonic():
            del self._keys[key_id]
            return None
        self._keys.move_to_end(key_id)
        return found[1]

    def put(self, organization_id: UUID, key_id: UUID, key: bytes) -> AESGCM:
        """Keep a key from now on for its time."""
        cipher = AESGCM(key)
        self._keys[key_id] = (organization_id, cipher, self._clock.monotonic() + self._life_s)
        self._keys.move_to_end(key_id)
        while len(self._keys) > self._most:
            self._keys.popitem(last=False)
        return cipher

    def forget(self, organization_id: UUID | None = None) -> None:
        """Those of one organization, or all: the next use asks the database and the keeper again."""
        for key_id in [key_id for key_id, kept in self._keys.items() if organization_id in {None, kept[0]}]:
            del self._keys[key_id]

    async def once(self, key_id: UUID, unwrap: Callable[[], Awaitable[bytes]]) -> bytes:
        """`unwrap()`, asked once for all who want the same key at the same moment."""
        task = self._opening.get(key_id)
        if task is None:
            task = asyncio.ensure_future(_awaited(unwrap))
            self._opening[key_id] = task
            task.add_done_callback(lambda done: self._opened(key_id, done))
        return await asyncio.shield(task)

    def _opened(self, key_id: UUID, task: asyncio.Task[bytes]) -> None:
        del self._opening[key_id]
        if not task.cancelled():
            task.exception()  # looked at, also when everybody who waited has left


async def _awaited(unwrap: Callable[[], Awaitable[bytes]]) -> bytes:
    return await unwrap()
