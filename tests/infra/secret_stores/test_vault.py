"""HashiCorp Vault and OpenBao, against a fake that is strict about the documented HTTP API."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from infra.secret_stores.conftest import TEST_KEY, approle
from shopfloor.base.errors import SettingsError
from shopfloor.infra.secret_stores.vault import KvSource
from shopfloor.infra.secret_stores.vault_session import VaultSession
from shopfloor.infra.secrets.port import MasterKeysAway, MasterKeyUnknown, Plain, RenewElsewhere
from shopfloor.infra.secrets.settings import VaultSettings
from shopfloor.testing.fake_vault import FakeVault

KEY = [Plain("here", bytes(range(32)))]


def transit(vault: FakeVault, **more: object) -> dict[str, object]:
    return {"keeper": "vault-transit", "vault": approle(vault, **more)}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "VAULT__ADDRESS"),
        ({"address": "http://127.0.0.1:1"}, "VAULT__ROLE_ID"),
        ({"address": "http://127.0.0.1:1", "role_id": "r"}, "VAULT__SECRET_ID"),
        ({"address": "http://127.0.0.1:1", "auth": "kubernetes"}, "VAULT__ROLE"),
        ({"address": "http://127.0.0.1:1", "auth": "token"}, "VAULT__TOKEN"),
    ],
)
async def test_what_is_missing_is_named_by_its_setting(opened, settings: dict[str, object], named: str):
    with pytest.raises(SettingsError, match=f"SHOPFLOOR_SECRETS__{named} is not set"):
        await opened({"keeper": "vault-transit", "vault": settings})


@pytest.mark.parametrize("keeper", ["vault-transit", "vault-kv"])
async def test_wrong_credentials_are_refused_and_tell_no_secret(opened, vault: FakeVault, keeper: str):
    settings = {"keeper": keeper, "vault": approle(vault, secret_id="visibly-wrong-secret")}

    async def ask() -> None:
        await (await opened(settings)).current_id()

    with pytest.raises(MasterKeysAway, match="refuses us") as refused:
        await ask()
    assert "visibly-wrong-secret" not in refused.value.detail
    assert refused.value.status == 503


async def test_a_policy_that_allows_too_little_is_named_as_the_reason(opened, vault: FakeVault):
    vault.policy = {"transit/encrypt/shopfloor": {"update"}}
    keeper = await opened(transit(vault))
    wrapped = await keeper.wrap(KEY)
    with pytest.raises(MasterKeysAway, match="their policy allows what docs"):
        await keeper.unwrap(wrapped)


async def test_a_token_is_renewed_in_time_and_a_new_one_fetched_at_the_end_of_its_longest_life(
    opened, vault: FakeVault
):
    own = approle(vault)
    session = VaultSession(VaultSettings.model_validate(own), 5.0, now=lambda: vault.now)
    for _ in range(18):
        await session.do(lambda client: client.secrets.transit.read_key("shopfloor"))
        vault.now += 20
    session.close()
    assert vault.asked.count("POST auth/token/renew-self") >= 4
    assert 1 < vault.asked.count("POST auth/approle/login") <= 4


async def test_a_revoked_token_is_replaced_at_once(opened, vault: FakeVault):
    keeper = await opened(transit(vault))
    wrapped = await keeper.wrap(KEY)
    vault.tokens.clear()
    assert await keeper.unwrap(wrapped) == [KEY[0].key]
    assert vault.asked.count("POST auth/approle/login") == 2


async def test_a_token_of_ones_own_is_used_and_not_replaced(opened, vault: FakeVault):
    own = {"address": vault.address, "auth": "token", "token": vault.new_token()}
    keeper = await opened({"keeper": "vault-transit", "vault": own})
    assert await keeper.unwrap(await keeper.wrap(KEY)) == [KEY[0].key]
    vault.tokens.clear()
    with pytest.raises(MasterKeysAway, match="refuses us"):
        await keeper.wrap(KEY)


async def test_a_token_that_lies_about_is_not_sent(opened, vault: FakeVault, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VAULT_TOKEN", "hvs.visibly-fake-of-somebody-else")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    await (await opened(transit(vault))).current_id()
    assert vault.shown == set(vault.tokens)


async def test_a_secret_id_file_is_read_at_each_sign_in(opened, vault: FakeVault, tmp_path: Path):
    file = tmp_path / "secret-id"
    file.write_text("visibly-wrong\n")
    own = {"address": vault.address, "role_id": vault.role_id, "secret_id_file": str(file)}
    keeper = await opened({"keeper": "vault-transit", "vault": own})
    with pytest.raises(MasterKeysAway, match="invalid role or secret ID"):
        await keeper.current_id()
    file.write_text(vault.secret_id)
    assert await keeper.current_id() == "transit:transit/shopfloor:v1"
    file.unlink()
    vault.tokens.clear()
    with pytest.raises(MasterKeysAway, match="SECRET_ID_FILE"):
        await keeper.current_id()


async def test_a_sealed_or_absent_vault_is_away_and_says_what_goes_on(opened, vault: FakeVault):
    keeper = await opened(transit(vault))
    vault.sealed = True
    with pytest.raises(MasterKeysAway, match=r"Opened keys go on working.*unsealed"):
        await keeper.current_id()
    elsewhere = await opened({"keeper": "vault-transit", "vault": approle(vault, address="http://127.0.0.1:1")})
    with pytest.raises(MasterKeysAway, match="does not answer"):
        await elsewhere.current_id()


async def test_a_vault_that_hangs_is_given_up_at_the_deadline(opened, vault: FakeVault):
    vault.silent = threading.Event()
    keeper = await opened(transit(vault) | {"call_timeout_s": 0.2})
    with pytest.raises(MasterKeysAway, match=r"(did not answer within 0.2 s|does not answer as it should)"):
        await keeper.current_id()


async def test_a_key_or_secret_that_is_not_there_is_named_with_the_command_that_makes_it(opened, vault: FakeVault):
    vault.transit.clear()
    vault.kv.clear()
    with pytest.raises(SettingsError, match="vault write -f transit/keys/shopfloor"):
        await (await opened(transit(vault))).current_id()
    with pytest.raises(MasterKeysAway, match="encryption key not found"):
        await (await opened(transit(vault))).wrap(KEY)
    with pytest.raises(SettingsError, match="vault kv put"):
        await opened({"keeper": "vault-kv", "vault": approle(vault)})
    vault.kv["shopfloor"] = [{"master_key": TEST_KEY}, None]  # deleted
    with pytest.raises(SettingsError, match="vault kv put"):
        await opened({"keeper": "vault-kv", "vault": approle(vault)})
    vault.kv["shopfloor"] = [{"other": TEST_KEY}]
    with pytest.raises(SettingsError, match="no field 'master_key'"):
        await opened({"keeper": "vault-kv", "vault": approle(vault)})


async def test_a_key_of_another_transit_key_is_unknown_here(opened, vault: FakeVault):
    vault.policy = {"transit/*": {"read", "update"}}
    vault.transit["older"] = [bytes(range(1, 33))]
    [wrapped] = await (await opened(transit(vault, name="older"))).wrap(KEY)
    with pytest.raises(MasterKeyUnknown, match="names another key"):
        await (await opened(transit(vault))).unwrap([wrapped])


async def test_of_two_who_store_a_new_key_at_once_one_is_told_to_try_again(vault: FakeVault):
    session = VaultSession(VaultSettings.model_validate(approle(vault)), 5.0)
    source = KvSource(session, "shopfloor")
    read = source._read

    async def read_and_be_late():
        found = await read()
        vault.kv["shopfloor"].append({"master_key": TEST_KEY})
        return found

    source._read = read_and_be_late
    with pytest.raises(RenewElsewhere, match="at the same moment"):
        await source.add(bytes(range(32)))
    await source.aclose()
