"""Where the master key is, how to get at it, and how long opened keys are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Keeper = Literal["local", "vault-transit", "vault-kv", "aws-kms", "aws-secrets-manager"]


class VaultSettings(BaseModel):
    """HashiCorp Vault, or OpenBao."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = None  # https://vault.example.com:8200
    namespace: str | None = None
    ca_file: Path | None = None  # of a private authority
    auth: Literal["token", "approle", "kubernetes"] = "approle"
    auth_mount: str | None = None  # None: `approle`, `kubernetes`
    token: SecretStr | None = None
    role_id: str | None = None
    secret_id: SecretStr | None = None
    secret_id_file: Path | None = None  # read anew at each sign-in
    role: str | None = None  # for kubernetes
    jwt_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    mount: str | None = None  # of the engine; None: `transit`, `secret`
    name: str = "shopfloor"  # of the transit key, or the path of the secret


class AwsSettings(BaseModel):
    """AWS; who we are comes from the usual chain (environment, profile, role of the machine)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str | None = None
    endpoint_url: str | None = None  # a VPC endpoint
    kms_key_id: str | None = None  # key id, ARN or `alias/...`
    secret_id: str | None = None  # name or ARN in Secrets Manager


class SecretsSettings(BaseModel):
    """Where the master key is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keeper: Keeper = "local"
    master_key: str | None = Field(default=None, repr=False)  # base64 of 32 bytes; None: the file
    other_master_keys: tuple[str, ...] = Field(default=(), repr=False)  # that open too, while one replaces the other
    master_key_file: Path | None = None  # None: SHOPFLOOR_HOME/master.key
    allow_key_beside_data: bool = False  # in production: a master key in the data folder
    cached_keys: int = Field(default=10_000, ge=1)  # opened data keys in this process, one an organization
    cache_s: float = Field(default=300.0, gt=0, le=86_400)  # how long they work without asking the keeper
    call_timeout_s: float = Field(default=5.0, gt=0, le=60)  # for one call to the keeper
    vault: VaultSettings = VaultSettings()
    aws: AwsSettings = AwsSettings()
