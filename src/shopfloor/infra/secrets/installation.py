"""The installation's own keys: made at the first start, wrapped by the master key, the same ever after.

Fingerprints of API keys are made with them, so that replacing the master key leaves every API key valid.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from typing import Final

from shopfloor.infra.secrets import data_keys
from shopfloor.infra.secrets.data_keys import OpenKeys
from shopfloor.infra.secrets.derived import MasterKeySealer
from shopfloor.infra.secrets.envelope import OWN_KEY, ROOT, EnvelopeSealer
from shopfloor.infra.secrets.port import KEY_BYTES, MasterKeys
from shopfloor.infra.secrets.settings import SecretsSettings
from shopfloor.infra.tx import Store, begin_system

_MAKING_LOCK: Final = 0x5F0F_1007  # one process makes them; the number is ours


async def open_sealer(
    store: Store, master_keys: MasterKeys, settings: SecretsSettings, *, older: Sequence[MasterKeySealer] = (),
    printed: Collection[str] = (),
) -> EnvelopeSealer:  # fmt: skip
    """The sealer of this installation. `printed`: purposes whose prints version 1 made, with the first of `older`.

    Raises: MasterKeysAway, MasterKeyUnknown.
    """
    rows = await _installation_keys(store)
    if not rows:
        await _make(store, master_keys, older, printed)
        rows = await _installation_keys(store)
    keys = await master_keys.unwrap([row.as_wrapped() for row in rows])
    open_keys = OpenKeys(store.services.clock, most=settings.cached_keys, life_s=settings.cache_s)
    return EnvelopeSealer(
        master_keys, open_keys, {row.purpose: key for row, key in zip(rows, keys, strict=True)}, older
    )


async def _installation_keys(store: Store) -> list[data_keys.DataKey]:
    async with begin_system(store) as tx:
        return await data_keys.installation_keys(tx)


async def _make(
    store: Store, master_keys: MasterKeys, older: Sequence[MasterKeySealer], printed: Collection[str]
) -> None:
    fresh = {ROOT: secrets.token_bytes(KEY_BYTES)}
    for purpose in printed if older else ():
        name = OWN_KEY + purpose
        fresh[name] = older[0].derive(name)
    plain = [data_keys.unwrapped(None, purpose, key) for purpose, key in fresh.items()]
    wrapped = await master_keys.wrap([each for _, each in plain])
    async with begin_system(store) as tx:
        await tx.execute("select pg_advisory_xact_lock(%s)", (_MAKING_LOCK,))
        if await data_keys.installation_keys(tx):
            return  # another process was faster
        for (key_id, _), purpose, each in zip(plain, fresh, wrapped, strict=True):
            await data_keys.add_key(tx, key_id, None, purpose, each)
