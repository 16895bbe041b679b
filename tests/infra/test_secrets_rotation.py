"""New keys while others work: readers in other processes notice nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import psycopg
import pytest

from shopfloor.base.ids import NIL, new_id
from shopfloor.base.principal import Principal
from shopfloor.infra.database import Database, DatabaseSettings, DatabaseUnavailable, urls_of
from shopfloor.infra.secret_stores.choose import open_master_keys
from shopfloor.infra.secrets.columns import register_sealed
from shopfloor.infra.secrets.envelope import EnvelopeSealer
from shopfloor.infra.secrets.installation import open_sealer
from shopfloor.infra.secrets.port import SealBroken
from shopfloor.infra.secrets.rotation import rotate_data, rotate_master
from shopfloor.infra.secrets.settings import SecretsSettings
from shopfloor.infra.tx import Store, begin, begin_system

PROVIDERS = register_sealed("providers", "sealed_key")
ORGANIZATIONS = 12
SETTINGS = SecretsSettings(cache_s=0.001)  # a reader asks for the key nearly every time: the hardest case

# What a reader in another process does until its standard input ends: it opens everything, over and over.
READER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_secrets_rotation import SETTINGS, connected, process, read_all

async def main():
    async with connected(sys.argv[1]) as store:
        sealer = await process(store, Path(sys.argv[2]))
        opened = failed = 0
        print("ready", flush=True)
        stop = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        while not stop.done() or not opened:
            right, wrong = await read_all(store, sealer)
            opened, failed = opened + right, failed + len(wrong)
            if wrong:
                print(wrong[0], file=sys.stderr)
        print(opened, failed, flush=True)

asyncio.run(main())
"""


class connected:  # noqa: N801 - used like a function
    """Open pools of one more process."""

    def __init__(self, url: str) -> None:
        settings = DatabaseSettings(url=url)
        self._database = Database(urls_of(settings), settings)

    async def __aenter__(self) -> Store:
        await self._database.open()
        return Store(self._database)

    async def __aexit__(self, *_: object) -> None:
        await self._database.aclose()


async def process(store: Store, home: Path) -> EnvelopeSealer:
    kept = await open_master_keys(SETTINGS, home)
    return await open_sealer(store, kept.master_keys, SETTINGS, older=kept.older)


def someone(organization_id: UUID) -> Principal:
    return Principal("worker", NIL, organization_id, frozenset({"*"}))


async def read_all(store: Store, sealer: EnvelopeSealer) -> tuple[int, list[str]]:
    """How many opened to what they should, and what went wrong with the others."""
    async with begin_system(store) as tx:
        rows = await tx.all("select id, organization_id from providers")
    right, wrong = 0, []
    for row in rows:
        try:
            async with begin(store, someone(row["organization_id"])) as tx:
                found = await tx.one("select sealed_key from providers where id = %s", (row["id"],))
                place = PROVIDERS.place(row["id"])
                opened = await sealer.open(tx, row["organization_id"], place, found["sealed_key"])
            assert opened == f"visibly-fake-{row['id']}"
            right += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what a caller would have met
            wrong.append(f"{type(error).__name__}: {error}")
    return right, wrong


@pytest.fixture
async def filled(store: Store, tmp_path: Path) -> EnvelopeSealer:
    sealer = await process(store, tmp_path)
    for _ in range(ORGANIZATIONS):
        organization_id = new_id()
        async with begin_system(store) as tx:
            await tx.execute("insert into organizations (id, name) values (%s, 'x')", (organization_id,))
        async with begin(store, someone(organization_id)) as tx:
            for _ in range(3):
                provider_id = new_id()
                sealed = await sealer.seal(
                    tx, organization_id, PROVIDERS.place(provider_id), f"visibly-fake-{provider_id}"
                )
                await tx.execute(
                    "insert into providers (id, organization_id, name, kind, sealed_key) "
                    "values (%s, %s, %s, 'openai', %s)",
                    (provider_id, organization_id, str(provider_id), sealed),
                )
    return sealer


async def test_readers_in_other_processes_meet_no_failure_while_every_key_is_replaced(
    store: Store, database_url: str, filled: EnvelopeSealer, tmp_path: Path
):
    command = [sys.executable, "-c", READER, database_url, str(tmp_path), str(Path(__file__).parent)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    readers = [await asyncio.create_subprocess_exec(*command, **pipes) for _ in range(2)]
    for reader in readers:
        assert reader.stdout is not None
        assert (await reader.stdout.readline()).strip() == b"ready"
    async with begin_system(store) as tx:
        organizations = [row["id"] for row in await tx.all("select id from organizations")]

    for _ in range(2):
        await rotate_master(store, filled)
        for organization_id in organizations:
            await rotate_data(store, filled, organization_id)
    await rotate_master(store, filled)

    answers = [await reader.communicate(b"") for reader in readers]
    counts = [tuple(int(number) for number in out.split()) for out, _ in answers]
    assert [failed for _, failed in counts] == [0, 0], answers[0][1] + answers[1][1]
    assert all(opened >= 3 * ORGANIZATIONS for opened, _ in counts)


async def test_readers_would_notice_a_key_that_is_gone(store: Store, filled: EnvelopeSealer):
    """The positive control of the test above."""
    async with begin_system(store) as tx:
        await tx.execute("delete from data_keys where organization_id = (select min(organization_id::text)::uuid "
                         "from data_keys where organization_id is not null)")  # fmt: skip
    filled.open_keys.forget()
    right, wrong = await read_all(store, filled)
    assert (right, len(wrong)) == (3 * (ORGANIZATIONS - 1), 3)
    assert wrong[0].startswith(SealBroken.__name__)


async def test_secrets_that_are_stored_while_the_data_key_changes_are_under_the_new_one(store: Store, filled):
    async with begin_system(store) as tx:
        organization_id = (await tx.all("select id from organizations limit 1"))[0]["id"]

    async def store_more() -> None:
        for _ in range(10):
            provider_id = new_id()
            async with begin(store, someone(organization_id)) as tx:
                sealed = await filled.seal(
                    tx, organization_id, PROVIDERS.place(provider_id), f"visibly-fake-{provider_id}"
                )
                await tx.execute(
                    "insert into providers (id, organization_id, name, kind, sealed_key) "
                    "values (%s, %s, %s, 'openai', %s)",
                    (provider_id, organization_id, str(provider_id), sealed),
                )

    _, _, rotated = await asyncio.gather(store_more(), store_more(), rotate_data(store, filled, organization_id))
    async with begin_system(store) as tx:
        rows = await tx.all("select sealed_key from providers where organization_id = %s", (organization_id,))
    assert len(rows) == 23
    assert {bytes(row["sealed_key"])[1:17] for row in rows} == {rotated.key_id.bytes}
    assert (await read_all(store, filled))[1] == []


async def test_a_rotation_that_was_stopped_is_finished_by_the_next_one(store: Store, filled: EnvelopeSealer):
    class Dying(type(filled.master_keys)):  # the keeper goes away after the first batch
        async def wrap(self, _keys):
            raise ConnectionResetError

    keeper = filled.master_keys
    filled.master_keys = Dying(keeper._source)
    with pytest.raises(ConnectionResetError):
        await rotate_master(store, filled)
    assert (await read_all(store, filled))[1] == []
    filled.master_keys = keeper
    rotated = await rotate_master(store, filled, renew=False)
    assert rotated.data_keys == ORGANIZATIONS + 1
    filled.open_keys.forget()
    assert (await read_all(store, filled))[1] == []


class _Cut:
    """A pool whose connections break at the n-th transaction, of both pools together."""

    def __init__(self, pool: Any, left: list[int]) -> None:
        self._pool = pool
        self._left = left

    def connection(self) -> Any:
        self._left[0] -= 1
        if self._left[0] == 0:
            raise psycopg.OperationalError("the connection was cut")
        return self._pool.connection()


def cut_at(store: Store, number: int) -> Store:
    left = [number]
    database: Any = SimpleNamespace(app=_Cut(store.database.app, left), system=_Cut(store.database.system, left))
    return Store(database)


async def test_a_rotation_cut_at_any_transaction_leaves_every_secret_readable_and_is_finished_later(store, filled):
    async with begin_system(store) as tx:
        organization_id = (await tx.all("select id from organizations limit 1"))[0]["id"]
    cuts = 0
    for rotate in (
        lambda cut: rotate_data(cut, filled, organization_id),
        lambda cut: rotate_master(cut, filled),
    ):
        number = 0
        while True:
            number += 1
            try:
                await rotate(cut_at(store, number))
            except DatabaseUnavailable:
                cuts += 1
                filled.open_keys.forget()
                assert (await read_all(store, filled))[1] == []
            else:
                break
    assert cuts > 8
    async with begin_system(store) as tx:
        active = await tx.all("select organization_id from data_keys where state = 'active' and purpose = 'secrets'")
        under = await tx.all("select distinct master_key_id from data_keys")
    assert len(active) == len({row["organization_id"] for row in active}) == ORGANIZATIONS
    assert len(under) == 1
