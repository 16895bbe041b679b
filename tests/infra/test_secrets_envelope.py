"""Envelope encryption: a data key an organization, values in their rows only, a master key that may change."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from uuid import UUID

import pytest

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access.api_keys import PRINTS
from shopfloor.domain.access.first_start import first_start, has_keys, local_owner
from shopfloor.domain.access.sign_in import authenticate
from shopfloor.infra.secret_stores.choose import open_master_keys
from shopfloor.infra.secrets import MasterKeySealer, SealBroken, load_master_key
from shopfloor.infra.secrets.columns import register_sealed
from shopfloor.infra.secrets.envelope import EnvelopeSealer
from shopfloor.infra.secrets.installation import open_sealer
from shopfloor.infra.secrets.port import MasterKeysAway, MasterKeyUnknown, RenewElsewhere
from shopfloor.infra.secrets.rotation import erase, organizations, rotate_data, rotate_master
from shopfloor.infra.secrets.settings import SecretsSettings
from shopfloor.infra.secrets.wake import data_keys_changed, forget_keys
from shopfloor.infra.tx import Store, begin, begin_system
from shopfloor.testing.fake_vault import fake_vault

SECRET = "sk-visibly-fake-0000"
PROVIDERS = register_sealed("providers", "sealed_key")


async def process(store: Store, home: Path, **settings: object) -> EnvelopeSealer:
    """The sealer of one more process of the installation."""
    own = SecretsSettings.model_validate(settings)
    kept = await open_master_keys(own, home)
    return await open_sealer(
        store, kept.master_keys, own, older=kept.older, printed=[PRINTS] if await has_keys(store) else []
    )


@pytest.fixture
async def vault(store: Store, tmp_path: Path) -> EnvelopeSealer:
    return await process(store, tmp_path)


@pytest.fixture
async def me(store: Store, vault: EnvelopeSealer) -> Principal:
    await first_start(store, vault)
    return await local_owner(store)


@pytest.fixture
async def other(store: Store) -> Principal:
    organization_id = new_id()
    async with begin_system(store) as tx:
        await tx.execute("insert into organizations (id, name) values (%s, 'Other')", (organization_id,))
    return Principal("user", new_id(), organization_id, frozenset({"*"}))


async def add_provider(store: Store, who: Principal, sealer: object, secret: str = SECRET) -> UUID:
    provider_id = new_id()
    async with begin(store, who) as tx:
        sealed = await sealer.seal(tx, who.organization_id, PROVIDERS.place(provider_id), secret)  # type: ignore[attr-defined]
        await tx.execute(
            "insert into providers (id, organization_id, name, kind, sealed_key) values (%s, %s, %s, 'openai', %s)",
            (provider_id, who.organization_id, str(provider_id), sealed),
        )
    return provider_id


async def read(store: Store, who: Principal, sealer: EnvelopeSealer, provider_id: UUID) -> str:
    async with begin(store, who) as tx:
        row = await tx.one("select sealed_key from providers where id = %s", (provider_id,))
        assert row is not None
        return await sealer.open(tx, who.organization_id, PROVIDERS.place(provider_id), row["sealed_key"])


async def sealed(store: Store, provider_id: UUID) -> bytes:
    async with begin_system(store) as tx:
        row = await tx.one("select sealed_key from providers where id = %s", (provider_id,))
    assert row is not None
    return bytes(row["sealed_key"])


async def test_what_one_process_seals_another_opens_in_its_place(store: Store, me, vault, tmp_path: Path):
    provider_id = await add_provider(store, me, vault)
    assert SECRET.encode() not in await sealed(store, provider_id)
    assert await read(store, me, await process(store, tmp_path), provider_id) == SECRET


async def test_an_organization_has_one_data_key_however_many_seal_at_once(store: Store, me, vault, tmp_path: Path):
    second = await process(store, tmp_path)
    added = await asyncio.gather(*(add_provider(store, me, each) for each in (vault, second, vault, second)))
    async with begin(store, me) as tx:
        assert len(await tx.all("select id from data_keys")) == 1
    assert [await read(store, me, vault, each) for each in added] == [SECRET] * 4


async def test_a_data_key_of_an_undone_transaction_seals_nothing(store: Store, me, vault: EnvelopeSealer):
    async def fail() -> None:
        async with begin(store, me) as tx:
            await vault.seal(tx, me.organization_id, "t/1/c", SECRET)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    provider_id = await add_provider(store, me, vault)
    vault.open_keys.forget()
    assert await read(store, me, vault, provider_id) == SECRET


@pytest.mark.parametrize("moved", ["organization", "row", "column"])
async def test_a_value_moved_elsewhere_does_not_open(store: Store, me, other, vault: EnvelopeSealer, moved: str):
    provider_id = await add_provider(store, me, vault)
    value = await sealed(store, provider_id)
    who = other if moved == "organization" else me
    place = {"row": PROVIDERS.place(new_id()), "column": f"providers/{provider_id}/other"}.get(
        moved, PROVIDERS.place(provider_id)
    )
    async with begin(store, who) as tx:
        with pytest.raises(SealBroken, match=place) as broken:
            await vault.open(tx, who.organization_id, place, value)
    assert SECRET not in str(broken.value)
    assert await read(store, me, vault, provider_id) == SECRET  # where it belongs, it opens


async def test_no_bit_of_it_can_be_changed(store: Store, me, vault: EnvelopeSealer):
    provider_id = await add_provider(store, me, vault)
    value = await sealed(store, provider_id)
    async with begin(store, me) as tx:
        for position in [0, 1, 8, 16, *range(17, len(value))]:
            changed = bytearray(value)
            changed[position] ^= 1 << (position % 8)
            with pytest.raises(SealBroken):
                await vault.open(tx, me.organization_id, PROVIDERS.place(provider_id), bytes(changed))
        for length in (0, 1, 16, 17, 28, 30):
            with pytest.raises(SealBroken):
                await vault.open(tx, me.organization_id, PROVIDERS.place(provider_id), value[:length])


async def test_a_wrapped_key_moved_to_another_organization_does_not_unwrap(store: Store, me, other, vault):
    provider_id = await add_provider(store, other, vault)
    await add_provider(store, me, vault)
    async with begin_system(store) as tx:  # whoever writes to the database gives the victim's key to himself
        await tx.execute(
            "update data_keys k set wrapped = m.wrapped, master_key_id = m.master_key_id from data_keys m "
            "where k.organization_id = %s and m.organization_id = %s",
            (other.organization_id, me.organization_id),
        )
    vault.open_keys.forget()
    with pytest.raises(MasterKeyUnknown, match="moved from another organization"):
        await read(store, other, vault, provider_id)


async def test_another_organization_neither_sees_nor_makes_the_data_keys(store: Store, me, other, vault):
    await add_provider(store, me, vault)
    async with begin(store, other) as tx:
        assert await tx.all("select id from data_keys") == []
        assert await tx.execute("delete from data_keys") == 0
    async with begin(store, me) as tx:  # nor its own organization the installation's
        assert [row["organization_id"] for row in await tx.all("select organization_id from data_keys")] == [
            me.organization_id
        ]


async def test_deleting_an_organizations_data_keys_erases_its_secrets(store: Store, me, other, vault, tmp_path: Path):
    mine, theirs = await add_provider(store, me, vault), await add_provider(store, other, vault)
    second = await process(store, tmp_path)
    assert await read(store, me, second, mine) == SECRET
    async with begin(store, me) as tx:
        assert await erase(tx, vault, me.organization_id) == 1
    forget_keys(second, data_keys_changed(me.organization_id))
    for each in (vault, second):
        with pytest.raises(SealBroken, match="erased"):
            await read(store, me, each, mine)
    assert await read(store, other, vault, theirs) == SECRET
    again = await add_provider(store, me, vault)  # the organization goes on with a new key
    assert await read(store, me, second, again) == SECRET


async def test_opened_keys_are_bounded_and_end(store: Store, me, other, tmp_path: Path):
    small = await process(store, tmp_path, cached_keys=1)
    mine, theirs = await add_provider(store, me, small), await add_provider(store, other, small)
    assert (await read(store, me, small, mine), await read(store, other, small, theirs)) == (SECRET, SECRET)
    assert len(small.open_keys) == 1
    short = await process(store, tmp_path, cache_s=1e-9)
    assert (await read(store, me, short, mine), await read(store, me, short, mine)) == (SECRET, SECRET)
    forget_keys(small, "*")
    assert len(small.open_keys) == 0


async def test_an_upgrade_keeps_api_keys_valid_and_old_secrets_readable(store: Store, tmp_path: Path):
    old = MasterKeySealer(load_master_key(None, tmp_path / "master.key"))
    key = await first_start(store, old)
    assert key is not None
    me = await local_owner(store)
    provider_id = await add_provider(store, me, old)

    upgraded = await process(store, tmp_path)

    assert (await authenticate(store, upgraded, f"Bearer {key.text}")).organization_id == me.organization_id
    assert await read(store, me, upgraded, provider_id) == SECRET

    await rotate_master(store, upgraded)  # and on, when the master key that made them is gone
    file = tmp_path / "master.key"
    file.write_text(file.read_text().splitlines()[0])
    later = await process(store, tmp_path)
    assert (await sealed(store, provider_id))[:1] == b"\x02"
    assert await read(store, me, later, provider_id) == SECRET
    assert (await authenticate(store, later, f"Bearer {key.text}")).organization_id == me.organization_id


async def test_a_new_master_key_wraps_every_key_and_running_processes_learn_of_it(store, me, other, vault, tmp_path):
    mine, theirs = await add_provider(store, me, vault), await add_provider(store, other, vault)
    running = await process(store, tmp_path)

    rotated = await rotate_master(store, vault)

    assert rotated.data_keys == 3  # two organizations', and the installation's
    async with begin_system(store) as tx:
        assert {row["master_key_id"] for row in await tx.all("select master_key_id from data_keys")} == {rotated.key_id}
    for each in (vault, running):
        each.open_keys.forget()
        assert [await read(store, me, each, mine), await read(store, other, each, theirs)] == [SECRET, SECRET]
    assert (await rotate_master(store, running, renew=False)).data_keys == 0


async def test_a_master_key_that_is_gone_is_named_with_what_to_do(store: Store, me, vault, tmp_path: Path):
    await add_provider(store, me, vault)
    (tmp_path / "master.key").unlink()
    with pytest.raises(MasterKeyUnknown, match="Put it back"):
        await process(store, tmp_path)


async def test_a_key_in_the_environment_is_replaced_in_three_steps(store: Store, tmp_path: Path):
    old, new = (base64.b64encode(bytes(range(first, first + 32))).decode() for first in (1, 2))
    before = await process(store, tmp_path, master_key=old)
    await first_start(store, before)
    me = await local_owner(store)
    provider_id = await add_provider(store, me, before)
    with pytest.raises(RenewElsewhere, match="--keep-current"):
        await rotate_master(store, before)

    both = await process(store, tmp_path, master_key=new, other_master_keys=[old])
    assert (await rotate_master(store, both, renew=False)).data_keys == 2

    assert await read(store, me, await process(store, tmp_path, master_key=new), provider_id) == SECRET
    assert not (tmp_path / "master.key").exists()


async def test_a_new_data_key_reaches_every_value_and_the_old_one_stays_a_while(store, me, other, vault, tmp_path):
    added = [await add_provider(store, me, vault, f"{SECRET}-{number}") for number in range(3)]
    theirs = await add_provider(store, other, vault)
    before, running = await sealed(store, added[0]), await process(store, tmp_path)
    untouched = await sealed(store, theirs)

    rotated = await rotate_data(store, vault, me.organization_id)

    assert (rotated.values, rotated.broken) == (3, 0)
    assert {(await sealed(store, each))[1:17] for each in added} == {rotated.key_id.bytes}
    assert await sealed(store, theirs) == untouched
    assert [await read(store, me, running, each) for each in added] == [f"{SECRET}-{n}" for n in range(3)]
    async with begin(store, me) as tx:  # who read the old value just before still opens it
        assert await running.open(tx, me.organization_id, PROVIDERS.place(added[0]), before) == f"{SECRET}-0"
        await tx.execute("update data_keys set retired_at = now() - interval '2 hours' where state = 'retired'")
    await rotate_data(store, vault, me.organization_id)
    running.open_keys.forget()
    async with begin(store, me) as tx:
        assert len(await tx.all("select id from data_keys")) == 2
        with pytest.raises(SealBroken, match="erased"):
            await running.open(tx, me.organization_id, PROVIDERS.place(added[0]), before)
    assert set(await organizations(store)) == {me.organization_id, other.organization_id}


async def test_a_value_that_does_not_open_is_left_alone_and_counted(store: Store, me, vault: EnvelopeSealer):
    good, bad = await add_provider(store, me, vault), await add_provider(store, me, vault)
    async with begin(store, me) as tx:
        await tx.execute("update providers set sealed_key = %s where id = %s", (b"\x02nonsense", bad))
    rotated = await rotate_data(store, vault, me.organization_id)
    assert (rotated.values, rotated.broken) == (1, 1)
    assert (await read(store, me, vault, good), await sealed(store, bad)) == (SECRET, b"\x02nonsense")


async def test_fingerprints_are_bound_to_their_purpose_and_to_the_installation(store: Store, me, vault, tmp_path: Path):
    second = await process(store, tmp_path)
    assert vault.fingerprint("session", SECRET) == second.fingerprint("session", SECRET)
    prints = {
        vault.fingerprint("session", SECRET),
        vault.fingerprint(PRINTS, SECRET),
        vault.fingerprint("session", SECRET + "x"),
        MasterKeySealer(load_master_key(None, tmp_path / "master.key")).fingerprint("session", SECRET),
    }
    assert len(prints) == 4


async def test_processes_that_start_at_once_agree_on_the_installations_keys(store: Store, tmp_path: Path):
    load_master_key(None, tmp_path / "master.key")
    started = await asyncio.gather(*(process(store, tmp_path) for _ in range(4)))
    assert len({each.fingerprint(PRINTS, SECRET) for each in started}) == 1


async def test_while_the_keeper_is_down_opened_keys_work_until_their_time_ends(store: Store, tmp_path: Path):
    with fake_vault() as server:
        server.transit["shopfloor"] = [bytes(range(32))]
        own = {"address": server.address, "role_id": server.role_id, "secret_id": server.secret_id}
        sealer = await process(store, tmp_path, keeper="vault-transit", vault=own)
        await first_start(store, sealer)
        me = await local_owner(store)
        provider_id = await add_provider(store, me, sealer)
        server.sealed = True
        assert await read(store, me, sealer, provider_id) == SECRET
        sealer.open_keys.forget()  # their time has ended
        with pytest.raises(MasterKeysAway, match="Opened keys go on working"):
            await read(store, me, sealer, provider_id)
        assert (MasterKeysAway.status, MasterKeysAway.retryable) == (503, True)
        with pytest.raises(MasterKeysAway):
            await rotate_master(store, sealer)
        server.sealed = False
        assert await read(store, me, sealer, provider_id) == SECRET
        await sealer.master_keys.aclose()


async def test_a_file_is_left_for_vault_without_a_pause(store: Store, me, vault: EnvelopeSealer, tmp_path: Path):
    provider_id = await add_provider(store, me, vault)
    with fake_vault() as server:
        server.transit["shopfloor"] = [bytes(range(32))]
        own = {"address": server.address, "role_id": server.role_id, "secret_id": server.secret_id}
        moved = await process(store, tmp_path, keeper="vault-transit", vault=own)
        assert await read(store, me, moved, provider_id) == SECRET
        assert (await rotate_master(store, moved, renew=False)).key_id == "transit:transit/shopfloor:v1"
        (tmp_path / "master.key").unlink()
        later = await process(store, tmp_path, keeper="vault-transit", vault=own)
        assert await read(store, me, later, provider_id) == SECRET
        for each in (moved, later):
            await each.master_keys.aclose()


async def test_many_who_want_one_key_at_once_ask_the_keeper_once(store: Store, me, tmp_path: Path):
    with fake_vault() as server:
        server.transit["shopfloor"] = [bytes(range(32))]
        own = {"address": server.address, "role_id": server.role_id, "secret_id": server.secret_id}
        sealer = await process(store, tmp_path, keeper="vault-transit", vault=own)
        provider_id = await add_provider(store, me, sealer)
        sealer.open_keys.forget()
        server.asked.clear()
        assert set(await asyncio.gather(*(read(store, me, sealer, provider_id) for _ in range(8)))) == {SECRET}
        assert server.asked.count("POST transit/decrypt/shopfloor") == 1
        await sealer.master_keys.aclose()
