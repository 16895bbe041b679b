"""The first start leaves an installation that its owner can enter, or none at all."""

from __future__ import annotations

import psycopg
import pytest

from shopfloor.domain.access.first_start import first_start
from shopfloor.domain.access.keys import KeyText
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Store


def _organizations(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("select count(*) from organizations").fetchone()
    assert row is not None
    return row[0]


async def test_the_key_is_kept_before_anything_is_committed(store: Store, sealer: MasterKeySealer, database_url: str):
    seen: list[tuple[KeyText, int]] = []
    key = await first_start(store, sealer, keep=lambda made: seen.append((made, _organizations(database_url))))
    assert key is not None
    assert seen == [(key, 0)]
    assert _organizations(database_url) == 1


async def test_a_key_that_cannot_be_kept_leaves_the_first_start_to_the_next_process(
    store: Store, sealer: MasterKeySealer, database_url: str
):
    def full(_: KeyText) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await first_start(store, sealer, keep=full)
    assert _organizations(database_url) == 0
    assert await first_start(store, sealer) is not None


async def test_a_later_start_keeps_nothing(store: Store, sealer: MasterKeySealer):
    await first_start(store, sealer)
    kept: list[KeyText] = []
    assert await first_start(store, sealer, keep=kept.append) is None
    assert kept == []
