"""HashiCorp Vault and OpenBao: the transit engine wraps keys; or KV version 2 stores the ring that we wrap with.

Source: Vault's HTTP API, 'Transit secrets engine' and 'KV secrets engine - version 2'.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from shopfloor.base.errors import SettingsError
from shopfloor.infra.secret_stores.ring import tampered
from shopfloor.infra.secret_stores.stored_ring import read_ring, written_ring
from shopfloor.infra.secret_stores.vault_session import VaultSession
from shopfloor.infra.secrets.port import MasterKeysAway, MasterKeyUnknown, Plain, RenewElsewhere, Wrapped

T = TypeVar("T")


class TransitKeys:
    """MasterKeys whose master key never leaves Vault."""

    scheme = "transit"

    def __init__(self, session: VaultSession, name: str, mount: str = "transit") -> None:
        self._session = session
        self._name = name
        self._mount = mount

    async def current_id(self) -> str:
        """The newest version of the key. Raises: MasterKeysAway, SettingsError where there is no such key."""
        from hvac import exceptions as vault

        try:
            found = await self._session.do(lambda client: self._engine(client).read_key(self._name, self._mount))
        except vault.InvalidPath as error:
            raise SettingsError(
                f"Vault has no transit key {self._mount}/{self._name}. Make it: vault write -f "
                f"{self._mount}/keys/{self._name}, or name another in SHOPFLOOR_SECRETS__VAULT__NAME."
            ) from error
        return self._id(int(found["data"]["latest_version"]))

    async def wrap(self, keys: Sequence[Plain]) -> list[Wrapped]:
        """All in one call. Raises: MasterKeysAway."""
        batch = [{"plaintext": _text(each.key), "associated_data": _text(each.binding.encode())} for each in keys]
        results = await self._batch("encrypt_data", "ciphertext", batch)
        wrapped: list[Wrapped] = []
        for each, result in zip(keys, results, strict=True):
            if "ciphertext" not in result:
                raise MasterKeysAway(f"Vault did not wrap a key: {result.get('error', 'no reason given')}.")
            ciphertext = str(result["ciphertext"])
            version = int(ciphertext.split(":")[1].removeprefix("v"))
            wrapped.append(Wrapped(each.binding, self._id(version), ciphertext.encode()))
        return wrapped

    async def unwrap(self, keys: Sequence[Wrapped]) -> list[bytes]:
        """All in one call. Raises: MasterKeysAway, MasterKeyUnknown."""
        for each in keys:
            if each.key_id.rpartition(":")[0] != self._id(0).rpartition(":")[0]:
                raise MasterKeyUnknown(
                    f"A key is wrapped under {each.key_id}, and SHOPFLOOR_SECRETS__VAULT__NAME names another key. Name "
                    "that one until `shopfloor secrets rotate-master` has run.",
                    key_id=each.key_id,
                )
        batch = [{"ciphertext": each.blob.decode(), "associated_data": _text(each.binding.encode())} for each in keys]
        results = await self._batch("decrypt_data", "plaintext", batch)
        for each, result in zip(keys, results, strict=True):
            if "plaintext" not in result:
                raise tampered(each)
        return [base64.b64decode(result["plaintext"]) for result in results]

    async def renew(self) -> str:
        """A new version of the key. Raises: MasterKeysAway, also where the policy doesn't allow it."""
        await self._session.do(lambda client: self._engine(client).rotate_key(self._name, self._mount))
        return await self.current_id()

    async def aclose(self) -> None:
        """Close the session."""
        self._session.close()

    async def _batch(self, verb: str, wanted: str, batch: list[dict[str, str]]) -> list[dict[str, Any]]:
        from hvac import exceptions as vault

        if not batch:
            return []
        try:
            answer = await self._session.do(
                lambda client: getattr(self._engine(client), verb)(
                    self._name, batch_input=batch, mount_point=self._mount
                )
            )
        except vault.InvalidRequest as error:  # every item failed: the results are in the answer all the same
            answer = cast("dict[str, Any]", error.json or {})  # pyright: ignore[reportUnknownMemberType] - no stubs
            if not answer.get("data"):
                if wanted == "plaintext":
                    return [{} for _ in batch]
                raise MasterKeysAway(f"Vault did not wrap a key: {error}.") from error
        except vault.InvalidPath as error:
            raise SettingsError(
                f"Vault has no transit engine at {self._mount}/: vault secrets enable transit."
            ) from error
        return list(answer["data"]["batch_results"])

    def _engine(self, client: Any) -> Any:
        return client.secrets.transit

    def _id(self, version: int) -> str:
        return f"{self.scheme}:{self._mount}/{self._name}:v{version}"


class KvSource:
    """A ring of master keys in a secret of the KV engine, version 2: fields `master_key` and `other_master_keys`."""

    def __init__(self, session: VaultSession, path: str, mount: str = "secret") -> None:
        self._session = session
        self._path = path
        self._mount = mount
        self.name = f"Vault's secret {mount}/{path}"

    async def read(self) -> list[bytes]:
        """Raises: MasterKeysAway, SettingsError where there is no such secret."""
        return (await self._read())[0]

    async def add(self, key: bytes) -> None:
        """A new version of the secret, unless somebody else was faster. Raises: MasterKeysAway, RenewElsewhere."""
        from hvac import exceptions as vault

        keys, version = await self._read()
        secret = written_ring([key, *keys])
        try:
            await self._session.do(
                lambda client: client.secrets.kv.v2.create_or_update_secret(
                    self._path, secret=secret, cas=version, mount_point=self._mount
                )
            )
        except vault.InvalidRequest as error:
            raise RenewElsewhere(
                f"{self.name} was changed at the same moment, so no new key was stored. Run the command again."
            ) from error

    async def aclose(self) -> None:
        """Close the session."""
        self._session.close()

    async def _read(self) -> tuple[list[bytes], int]:
        from hvac import exceptions as vault

        try:
            found = await self._session.do(
                lambda client: client.secrets.kv.v2.read_secret_version(
                    self._path, mount_point=self._mount, raise_on_deleted_version=True
                )
            )
        except vault.InvalidPath as error:
            raise SettingsError(
                f"Vault has no secret {self._mount}/{self._path}. Store a key: vault kv put -mount={self._mount} "
                f"{self._path} master_key=... (base64 of 32 random bytes), or name another in "
                "SHOPFLOOR_SECRETS__VAULT__NAME."
            ) from error
        return read_ring(found["data"]["data"], self.name), int(found["data"]["metadata"]["version"])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
