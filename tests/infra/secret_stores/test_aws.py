"""AWS KMS and Secrets Manager, against moto's server: real requests, signed, its authorization on."""

from __future__ import annotations

import socket

import pytest

from infra.secret_stores.conftest import KMS_ACTIONS, REGION, SECRET_ACTIONS, TEST_KEY, Aws
from shopfloor.base.errors import SettingsError
from shopfloor.infra.secrets.port import MasterKeysAway, MasterKeyUnknown, Plain, RenewElsewhere, Wrapped

KEY = [Plain("here", bytes(range(32)))]


def kms(aws: Aws, **more: str) -> dict[str, object]:
    own = {"region": REGION, "endpoint_url": aws.url, "kms_key_id": "alias/shopfloor", **more}
    return {"keeper": "aws-kms", "aws": own}


def manager(aws: Aws, secret_id: str = "shopfloor/master-key") -> dict[str, object]:
    return {
        "keeper": "aws-secrets-manager",
        "aws": {"region": REGION, "endpoint_url": aws.url, "secret_id": secret_id},
    }


@pytest.mark.parametrize(
    ("keeper", "named"), [("aws-kms", "AWS__KMS_KEY_ID"), ("aws-secrets-manager", "AWS__SECRET_ID")]
)
async def test_what_is_missing_is_named_by_its_setting(opened, keeper: str, named: str):
    with pytest.raises(SettingsError, match=f"SHOPFLOOR_SECRETS__{named} is not set"):
        await opened({"keeper": keeper})


async def test_a_region_that_nobody_set_is_named(opened, aws: Aws, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match="AWS__REGION"):
        await opened({"keeper": "aws-kms", "aws": {"kms_key_id": "alias/shopfloor"}})


async def test_who_is_not_allowed_is_refused(opened, aws: Aws):
    wrapped = await (await opened(kms(aws))).wrap(KEY)
    aws.sign_in(*(action for action in KMS_ACTIONS if action != "kms:Decrypt"))
    limited = await opened(kms(aws))
    assert (await limited.wrap(KEY))[0].key_id == f"kms:{aws.key_arn}"  # what the policy allows, works
    with pytest.raises(MasterKeysAway, match=r"(?s)not authorized.*docs/how-to/secrets.md"):
        await limited.unwrap(wrapped)
    with pytest.raises(MasterKeysAway, match="not authorized"):
        await opened(manager(aws))


async def test_a_forged_key_is_refused(opened, aws: Aws, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "visibly-forged-secret")
    with pytest.raises(MasterKeysAway) as refused:
        await (await opened(kms(aws))).current_id()
    assert "visibly-forged-secret" not in refused.value.detail


async def test_a_key_or_secret_that_is_not_there_is_named(opened, aws: Aws):
    absent = await opened(kms(aws, kms_key_id="alias/none"))
    for call in (absent.current_id, lambda: absent.wrap(KEY)):
        with pytest.raises(SettingsError, match="KMS has no key 'alias/none'"):
            await call()
    with pytest.raises(SettingsError, match="has no secret 'none'"):
        await opened(manager(aws, "none"))


async def test_a_key_wrapped_by_one_that_is_gone_is_unknown(opened, aws: Aws):
    gone = f"kms:arn:aws:kms:{REGION}:123456789012:key/00000000-0000-4000-8000-000000000000"
    [wrapped] = await (await opened(kms(aws))).wrap(KEY)
    with pytest.raises(MasterKeyUnknown, match="Cancel its deletion"):
        await (await opened(kms(aws))).unwrap([Wrapped("here", gone, wrapped.blob)])


async def test_kms_makes_no_new_key_on_our_word(opened, aws: Aws):
    with pytest.raises(RenewElsewhere, match="AWS__KMS_KEY_ID"):
        await (await opened(kms(aws))).renew()


async def test_a_new_master_key_is_stored_beside_the_older_ones(opened, aws: Aws):
    aws.sign_in(*SECRET_ACTIONS)
    keeper = await opened(manager(aws))
    [before] = await keeper.wrap(KEY)
    assert await keeper.renew() != before.key_id
    assert await (await opened(manager(aws))).unwrap([before]) == [KEY[0].key]
    assert TEST_KEY not in repr(keeper)


async def test_an_endpoint_that_does_not_answer_is_away_at_the_deadline(opened, aws: Aws):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        keeper = await opened(kms(aws, endpoint_url=url) | {"call_timeout_s": 0.2})
        with pytest.raises(MasterKeysAway, match="Opened keys go on working"):
            await keeper.current_id()
