"""New keys without a pause: master keys by wrapping the data keys anew, data keys by sealing every value anew.

Nothing that is stored ever depends on one step having happened everywhere: what was sealed before stays readable until
it is sealed anew, and a data key stays a while after its last value.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import structlog
from psycopg import sql
from psycopg.rows import DictRow

from shopfloor.base.ids import NIL
from shopfloor.base.principal import Principal
from shopfloor.infra.secrets import data_keys, derived, envelope
from shopfloor.infra.secrets.columns import SealedColumn, sealed_columns
from shopfloor.infra.secrets.data_keys import SECRETS, DataKey
from shopfloor.infra.secrets.envelope import EnvelopeSealer
from shopfloor.infra.secrets.port import KEY_BYTES, SealBroken
from shopfloor.infra.tx import Store, Tx, begin, begin_system

_KEYS_AT_ONCE: Final = 250
_VALUES_AT_ONCE: Final = 100
_LOOKS: Final = 5  # processes that don't know the new master key yet may add a data key meanwhile
_NO_VERSION: Final = b"\x00"  # no value begins with it
_KEPT_S: Final = 3_600  # a retired data key, for readers that still hold a value it sealed


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class MasterRotated:
    """What `rotate_master` did."""

    key_id: str
    data_keys: int  # wrapped anew


@dataclass(frozen=True, slots=True)
class DataRotated:
    """What `rotate_data` did for one organization."""

    organization_id: UUID
    key_id: UUID
    values: int  # sealed anew
    broken: int  # that don't open, so they stay as they are; their places are logged


@dataclass(frozen=True, slots=True)
class _Resealed:
    values: int
    broken: int


async def rotate_master(store: Store, sealer: EnvelopeSealer, *, renew: bool = True) -> MasterRotated:
    """A new master key, and every data key under it; it may be stopped and repeated at any point.

    Without `renew` under the keeper's present one. Values of version 1, which hang on a master key directly, are sealed
    anew first. Raises: RenewElsewhere, MasterKeysAway, MasterKeyUnknown.
    """
    await _reseal_version_1(store, sealer)
    keeper = sealer.master_keys
    current = await (keeper.renew() if renew else keeper.current_id())
    done = 0
    for _ in range(_LOOKS):
        wrapped = await _wrap_anew(store, sealer, current)
        done += wrapped
        if not wrapped:
            break
    return MasterRotated(current, done)


async def rotate_data(store: Store, sealer: EnvelopeSealer, organization_id: UUID) -> DataRotated:
    """A new data key for an organization, and every value of it sealed under that one. Raises: MasterKeysAway."""
    key_id, plain = data_keys.unwrapped(organization_id, SECRETS, secrets.token_bytes(KEY_BYTES))
    [wrapped] = await sealer.master_keys.wrap([plain])
    async with begin(store, _of(organization_id)) as tx:
        await data_keys.hold_still(tx, organization_id, alone=True)
        await tx.execute(
            "update data_keys set state = 'retired', retired_at = now() where organization_id = %s and purpose = %s "
            "and state = 'active'",
            (organization_id, SECRETS),
        )
        await data_keys.add_key(tx, key_id, organization_id, SECRETS, wrapped)
    sealer.open_keys.put(organization_id, key_id, plain.key)
    resealed = [await _reseal(store, sealer, organization_id, column) for column in sealed_columns()]
    broken = sum(each.broken for each in resealed)
    async with begin(store, _of(organization_id)) as tx:
        if not broken:
            await _drop_unused(tx, organization_id)
        await tx.record("data_key.rotated", "organization", organization_id, after={"data_key": str(key_id)})
    return DataRotated(organization_id, key_id, sum(each.values for each in resealed), broken)


async def erase(tx: Tx, sealer: EnvelopeSealer, organization_id: UUID) -> int:
    """Delete an organization's data keys: nothing sealed under them opens ever again. How many keys there were.

    Other processes keep an opened key for as long as they cache it, unless they are woken (`data_keys_changed`).
    """
    await data_keys.hold_still(tx, organization_id, alone=True)
    tx.after_commit(lambda: sealer.open_keys.forget(organization_id))
    return await tx.execute("delete from data_keys where organization_id = %s", (organization_id,))


async def organizations(store: Store) -> list[UUID]:
    """Those that have a data key."""
    async with begin_system(store) as tx:
        rows = await tx.all("select distinct organization_id from data_keys where organization_id is not null")
    return [row["organization_id"] for row in rows]


async def _wrap_anew(store: Store, sealer: EnvelopeSealer, current: str) -> int:
    done, after = 0, NIL
    while rows := await _under_others(store, current, after):
        keys = await sealer.master_keys.unwrap([row.as_wrapped() for row in rows])
        plain = [data_keys.Plain(row.as_wrapped().binding, key) for row, key in zip(rows, keys, strict=True)]
        fresh = await sealer.master_keys.wrap(plain)
        async with begin_system(store) as tx:
            done += await tx.execute(
                "update data_keys k set master_key_id = n.key_id, wrapped = n.wrapped, rewrapped_at = now() "
                "from unnest(%s::uuid[], %s::bytea[], %s::text[], %s::bytea[]) as n(id, was, key_id, wrapped) "
                "where k.id = n.id and k.wrapped = n.was",
                (
                    [row.id for row in rows], [row.wrapped for row in rows], [each.key_id for each in fresh],
                    [each.blob for each in fresh],
                ),
            )  # fmt: skip
        after = rows[-1].id
    return done


async def _under_others(store: Store, current: str, after: UUID) -> list[DataKey]:
    async with begin_system(store) as tx:
        rows = await tx.all(
            "select id, organization_id, purpose, master_key_id, wrapped from data_keys "
            "where master_key_id <> %s and id > %s order by id limit %s",
            (current, after, _KEYS_AT_ONCE),
        )
    return [DataKey(**row) for row in rows]


async def _reseal_version_1(store: Store, sealer: EnvelopeSealer) -> None:
    for column in sealed_columns():
        async with begin_system(store) as tx:
            found = await _all(
                tx,
                sql.SQL("select distinct organization_id from {table} where substring({column} from 1 for 1) = %s"),
                column,
                (derived.VERSION,),
            )
        for row in found:
            await _reseal(store, sealer, row["organization_id"], column)


async def _reseal(store: Store, sealer: EnvelopeSealer, organization_id: UUID, column: SealedColumn) -> _Resealed:
    """Seal anew whatever isn't under the active key, batch by batch; one that changes meanwhile is sealed already."""
    values, broken, after = 0, 0, NIL
    while True:
        async with begin(store, _of(organization_id)) as tx:
            await data_keys.hold_still(tx, organization_id)
            active = await data_keys.active_key(tx, organization_id)
            header = envelope.VERSION + active.id.bytes if active else _NO_VERSION
            rows = await _all(
                tx,
                sql.SQL(
                    "select {id} as id, {column} as sealed from {table} where organization_id = %s and {id} > %s "
                    "and {column} is not null and substring({column} from 1 for %s) <> %s order by {id} limit %s"
                ),
                column,
                (organization_id, after, len(header), header, _VALUES_AT_ONCE),
            )
            for row in rows:
                try:
                    values += await _sealed_anew(tx, sealer, organization_id, column, row)
                except SealBroken as error:
                    log.warning("secret.broken", place=column.place(row["id"]), error=error.detail)
                    broken += 1
        if not rows:
            return _Resealed(values, broken)
        after = rows[-1]["id"]


async def _sealed_anew(
    tx: Tx, sealer: EnvelopeSealer, organization_id: UUID, column: SealedColumn, row: DictRow
) -> int:
    place = column.place(row["id"])
    plaintext = await sealer.open(tx, organization_id, place, row["sealed"])
    sealed = await sealer.seal(tx, organization_id, place, plaintext)
    cursor = await tx.connection.execute(
        _composed(sql.SQL("update {table} set {column} = %s where {id} = %s and {column} = %s"), column),
        (sealed, row["id"], row["sealed"]),
    )
    return cursor.rowcount


async def _drop_unused(tx: Tx, organization_id: UUID) -> None:
    """Every value is under the active key: what was retired a while ago opens nothing that anybody still holds."""
    await tx.execute(
        "delete from data_keys where organization_id = %s and state = 'retired' "
        "and retired_at < now() - make_interval(secs => %s)",
        (organization_id, _KEPT_S),
    )


async def _all(tx: Tx, query: sql.SQL, column: SealedColumn, parameters: tuple[Any, ...]) -> list[DictRow]:
    cursor = await tx.connection.execute(_composed(query, column), parameters)
    return await cursor.fetchall()


def _composed(query: sql.SQL, column: SealedColumn) -> sql.Composed:
    return query.format(
        table=sql.Identifier(column.table), column=sql.Identifier(column.column), id=sql.Identifier(column.id_column)
    )


def _of(organization_id: UUID) -> Principal:
    return Principal("system", NIL, organization_id, frozenset({"*"}), name="system")
