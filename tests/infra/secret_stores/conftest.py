"""Keepers of master keys: a fake Vault of our own, and moto's server with its authorization on, both over real HTTP."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from shopfloor.infra.secret_stores.choose import open_master_keys
from shopfloor.infra.secrets.port import MasterKeys
from shopfloor.infra.secrets.settings import SecretsSettings
from shopfloor.testing.fake_vault import FakeVault, fake_vault

TEST_KEY = base64.b64encode(bytes(range(32))).decode()
REGION = "eu-central-1"
KMS_ACTIONS = ["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"]
SECRET_ACTIONS = ["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"]


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    with fake_vault() as running:
        running.transit["shopfloor"] = [bytes(range(32))]
        running.kv["shopfloor"] = [{"master_key": TEST_KEY}]
        yield running


@dataclass
class Aws:
    """An account on loopback, and who we are in it."""

    url: str
    key_arn: str
    user: Any
    monkeypatch: pytest.MonkeyPatch

    def sign_in(self, *actions: str) -> None:
        """From now on we may do these, and nothing else."""
        document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
        _authorization(self.url, "inf")
        iam = _client("iam", self.url)
        name = f"user-{len(iam.list_users()['Users'])}"
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(document))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        _authorization(self.url, "0")
        self.monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        self.monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(moto_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Aws]:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "visibly-fake")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "visibly-fake")
    _authorization(moto_url, "inf")
    urllib.request.urlopen(urllib.request.Request(f"{moto_url}/moto-api/reset", method="POST")).close()
    key = _client("kms", moto_url).create_key(Description="shopfloor")["KeyMetadata"]
    _client("kms", moto_url).create_alias(AliasName="alias/shopfloor", TargetKeyId=key["KeyId"])
    _client("secretsmanager", moto_url).create_secret(Name="shopfloor/master-key", SecretString=TEST_KEY)
    account = Aws(moto_url, key["Arn"], None, monkeypatch)
    account.sign_in(*KMS_ACTIONS, *SECRET_ACTIONS)
    yield account
    _authorization(moto_url, "inf")


def _client(service: str, url: str) -> Any:
    return boto3.client(
        service, endpoint_url=url, region_name=REGION, aws_access_key_id="admin", aws_secret_access_key="visibly-fake"
    )


def _authorization(url: str, after: str) -> None:
    plain = {"Content-Type": "text/plain"}
    request = urllib.request.Request(f"{url}/moto-api/reset-auth", after.encode(), plain, method="POST")
    urllib.request.urlopen(request).close()


def approle(vault: FakeVault, **more: object) -> dict[str, object]:
    return {"address": vault.address, "role_id": vault.role_id, "secret_id": vault.secret_id, **more}


@pytest.fixture
def setups(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Callable[[], dict[str, object]]]:
    """The settings of each keeper; its server is started when they are asked for."""

    def vault_settings(keeper: str) -> dict[str, object]:
        return {"keeper": keeper, "vault": approle(request.getfixturevalue("vault"))}

    def kubernetes() -> dict[str, object]:
        vault: FakeVault = request.getfixturevalue("vault")
        jwt = tmp_path / "jwt"
        jwt.write_text(f"{vault.jwt}\n")
        own = {"address": vault.address, "auth": "kubernetes", "role": "shopfloor", "jwt_file": str(jwt)}
        return {"keeper": "vault-transit", "vault": own}

    def aws_settings(keeper: str, **more: str) -> dict[str, object]:
        aws: Aws = request.getfixturevalue("aws")
        return {"keeper": keeper, "aws": {"region": REGION, "endpoint_url": aws.url, **more}}

    return {
        "file": dict,
        "environment": lambda: {"master_key": TEST_KEY},
        "vault transit": lambda: vault_settings("vault-transit"),
        "vault transit, kubernetes": kubernetes,
        "vault kv": lambda: vault_settings("vault-kv"),
        "aws kms": lambda: aws_settings("aws-kms", kms_key_id="alias/shopfloor"),
        "aws secrets manager": lambda: aws_settings("aws-secrets-manager", secret_id="shopfloor/master-key"),
        "vault transit beside a file": lambda: (
            (tmp_path / "master.key").write_text(TEST_KEY) and vault_settings("vault-transit")
        ),
    }


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Opens keepers, and closes them at the end."""
    opened: list[MasterKeys] = []

    async def open_keeper(settings: dict[str, object]) -> MasterKeys:
        kept = await open_master_keys(SecretsSettings.model_validate(settings), tmp_path)
        opened.append(kept.master_keys)
        return kept.master_keys

    yield open_keeper
    for keeper in opened:
        await keeper.aclose()
