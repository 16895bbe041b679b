"""Secrets at rest, version 1: they open with their key, in their place, and nowhere else."""

from __future__ import annotations

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopfloor.base.errors import SettingsError
from shopfloor.base.ids import new_id
from shopfloor.infra.secrets import MasterKeySealer, SealBroken, load_master_key
from shopfloor.infra.tx import Tx

KEY = bytes(range(32))
ORGANIZATION = new_id()
PLACE = "providers/1/key"
SECRET = "sk-visibly-fake-0000"
NO_TX = cast("Tx", None)  # what is derived needs no database


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=500))
async def test_what_is_sealed_opens_in_its_place(secret: str):
    sealer = MasterKeySealer(KEY)
    assert (
        await sealer.open(NO_TX, ORGANIZATION, PLACE, await sealer.seal(NO_TX, ORGANIZATION, PLACE, secret)) == secret
    )


async def test_the_same_secret_is_never_sealed_alike():
    sealer = MasterKeySealer(KEY)
    sealed = {await sealer.seal(NO_TX, ORGANIZATION, PLACE, SECRET) for _ in range(50)}
    assert len(sealed) == 50
    assert not any(SECRET.encode() in each for each in sealed)


@pytest.mark.parametrize(
    ("organization", "place"),
    [(new_id(), PLACE), (ORGANIZATION, "providers/2/key"), (ORGANIZATION, "providers/1/other"), (new_id(), "x")],
)
async def test_a_sealed_value_moved_to_another_row_does_not_open(organization, place: str):
    sealer = MasterKeySealer(KEY)
    with pytest.raises(SealBroken, match=place):
        await sealer.open(NO_TX, organization, place, await sealer.seal(NO_TX, ORGANIZATION, PLACE, SECRET))


async def test_another_master_key_does_not_open_it_and_the_error_tells_no_secret():
    sealed = await MasterKeySealer(KEY).seal(NO_TX, ORGANIZATION, PLACE, SECRET)
    with pytest.raises(SealBroken, match="SHOPFLOOR_SECRETS__MASTER_KEY") as broken:
        await MasterKeySealer(bytes(range(1, 33))).open(NO_TX, ORGANIZATION, PLACE, sealed)
    assert SECRET not in str(broken.value)
    assert SECRET not in repr(broken.value.facts)


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
async def test_no_bit_of_it_can_be_changed(position: int, bit: int):
    sealer = MasterKeySealer(KEY)
    sealed = bytearray(await sealer.seal(NO_TX, ORGANIZATION, PLACE, SECRET))
    sealed[position % len(sealed)] ^= 1 << bit
    with pytest.raises(SealBroken):
        await sealer.open(NO_TX, ORGANIZATION, PLACE, bytes(sealed))


@pytest.mark.parametrize("length", [0, 1, 12, 13, 28])
async def test_a_cut_value_does_not_open(length: int):
    sealer = MasterKeySealer(KEY)
    with pytest.raises(SealBroken):
        await sealer.open(NO_TX, ORGANIZATION, PLACE, (await sealer.seal(NO_TX, ORGANIZATION, PLACE, SECRET))[:length])


def test_a_fingerprint_is_stable_and_bound_to_its_purpose_and_key():
    sealer = MasterKeySealer(KEY)
    assert sealer.fingerprint("api key", SECRET) == MasterKeySealer(KEY).fingerprint("api key", SECRET)
    prints = {
        sealer.fingerprint("api key", SECRET),
        sealer.fingerprint("session", SECRET),
        sealer.fingerprint("api key", SECRET + "x"),
        MasterKeySealer(bytes(range(1, 33))).fingerprint("api key", SECRET),
    }
    assert len(prints) == 4


@pytest.mark.parametrize("key", [b"", b"short", bytes(32), b"ab" * 16, bytes(range(33))], ids=len)
def test_a_key_that_is_not_32_random_bytes_is_refused_and_the_error_says_how_to_make_one(key: bytes):
    with pytest.raises(SettingsError, match="token_bytes"):
        MasterKeySealer(key)


def test_of_many_processes_that_start_at_once_all_get_the_same_new_key(tmp_path: Path):
    file = tmp_path / "home" / "master.key"
    with ThreadPoolExecutor(1) as one:
        first = one.submit(load_master_key, None, file).result()
    assert len(first) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_master_key(None, file) == first
    assert [path.name for path in file.parent.iterdir()] == ["master.key"]


def test_a_race_for_the_first_key_has_one_winner(tmp_path: Path):
    for number in range(10):
        file = tmp_path / str(number) / "master.key"
        file.parent.mkdir()
        with ThreadPoolExecutor(8) as pool:
            keys = list(pool.map(lambda _: load_master_key(None, file), range(8)))  # noqa: B023 - used at once
        assert len(set(keys)) == 1
        assert [path.name for path in file.parent.iterdir()] == ["master.key"]


def test_the_setting_goes_over_the_file_and_nonsense_is_named_by_its_source(tmp_path: Path):
    file = tmp_path / "master.key"
    assert load_master_key(base64.b64encode(KEY).decode(), file) == KEY
    assert not file.exists()
    with pytest.raises(SettingsError, match="SHOPFLOOR_SECRETS__MASTER_KEY"):
        load_master_key("not base64!", file)
    file.write_text("neither ==== is this")
    with pytest.raises(SettingsError, match=str(file)):
        load_master_key(None, file)
