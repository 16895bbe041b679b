"""From settings to the keeper of the master key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shopfloor.base.errors import SettingsError
from shopfloor.infra.secret_stores.chain import ChainedKeys
from shopfloor.infra.secret_stores.local import FileSource, SettingSource
from shopfloor.infra.secret_stores.ring import KeySource, RingKeys
from shopfloor.infra.secrets.derived import MasterKeySealer
from shopfloor.infra.secrets.port import MasterKeys
from shopfloor.infra.secrets.settings import Keeper, SecretsSettings


@dataclass(frozen=True, slots=True)
class Kept:
    """The keeper, and what opens the secrets of version 1, where this process has their master keys."""

    master_keys: MasterKeys
    older: list[MasterKeySealer]
    keys: list[bytes]  # that this process itself holds; none with transit or KMS


async def open_master_keys(settings: SecretsSettings, home: Path) -> Kept:
    """The keeper that is set up; beside it this machine's own keys, where there are some, for what they wrapped.

    Raises: SettingsError that names what is missing; MasterKeysAway.
    """
    local = _local(settings, home)
    if settings.keeper == "local":
        assert local is not None
        keys = await local.load()
        return Kept(local, [MasterKeySealer(key) for key in keys], keys)
    first = _KEEPERS[settings.keeper](settings)
    own = await first.load() if isinstance(first, RingKeys) else []
    keys = own + (await local.load() if local is not None else [])
    older = [MasterKeySealer(key) for key in keys]
    return Kept(first if local is None else ChainedKeys(first, local), older, keys)


def key_file(settings: SecretsSettings, home: Path) -> Path:
    """Where this machine's master key is, unless it is set."""
    return settings.master_key_file or home / "master.key"


def _local(settings: SecretsSettings, home: Path) -> RingKeys | None:
    """None: another keeper is set up, and this machine has no key of its own."""
    if settings.master_key is not None:
        return RingKeys(SettingSource(settings.master_key, settings.other_master_keys))
    file = key_file(settings, home)
    return RingKeys(FileSource(file)) if settings.keeper == "local" or file.exists() else None


def _transit(settings: SecretsSettings) -> MasterKeys:
    from shopfloor.infra.secret_stores.vault import TransitKeys
    from shopfloor.infra.secret_stores.vault_session import VaultSession

    session = VaultSession(settings.vault, settings.call_timeout_s)
    return TransitKeys(session, settings.vault.name, settings.vault.mount or "transit")


def _kv(settings: SecretsSettings) -> MasterKeys:
    from shopfloor.infra.secret_stores.vault import KvSource
    from shopfloor.infra.secret_stores.vault_session import VaultSession

    session = VaultSession(settings.vault, settings.call_timeout_s)
    source: KeySource = KvSource(session, settings.vault.name, settings.vault.mount or "secret")
    return RingKeys(source)


def _kms(settings: SecretsSettings) -> MasterKeys:
    from shopfloor.infra.secret_stores.aws import AwsSession, KmsKeys

    key = _named(settings.aws.kms_key_id, "KMS_KEY_ID", "a key id, an ARN or alias/...")
    return KmsKeys(AwsSession("kms", settings.aws, settings.call_timeout_s), key)


def _secrets_manager(settings: SecretsSettings) -> MasterKeys:
    from shopfloor.infra.secret_stores.aws import AwsSession, SecretsManagerSource

    secret = _named(settings.aws.secret_id, "SECRET_ID", "a secret's name or ARN")
    return RingKeys(SecretsManagerSource(AwsSession("secretsmanager", settings.aws, settings.call_timeout_s), secret))


def _named(value: str | None, name: str, what: str) -> str:
    if not value:
        raise SettingsError(
            f"SHOPFLOOR_SECRETS__AWS__{name} is not set: {what}. docs/how-to/secrets.md shows a whole set-up."
        )
    return value


_KEEPERS: dict[Keeper, Callable[[SecretsSettings], MasterKeys]] = {
    "vault-transit": _transit,
    "vault-kv": _kv,
    "aws-kms": _kms,
    "aws-secrets-manager": _secrets_manager,
}
