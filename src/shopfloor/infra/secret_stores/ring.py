"""A ring of master keys in this process: the first wraps, every one unwraps. A source says where they are stored."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shopfloor.infra.secrets.port import KEY_BYTES, NONCE_BYTES, MasterKeyUnknown, Plain, Wrapped

_ID_BYTES = 8


class KeySource(Protocol):
    """Where a ring of master keys is stored."""

    name: str  # for people

    async def read(self) -> list[bytes]:
        """The keys, the current one first. Raises: MasterKeysAway, SettingsError."""
        ...

    async def add(self, key: bytes) -> None:
        """Make `key` the current one; the others stay. Raises: RenewElsewhere, MasterKeysAway."""
        ...

    async def aclose(self) -> None:
        """Give back what it holds."""
        ...


class RingKeys:
    """MasterKeys over a source. A key's id is derived from it: it stays the same wherever the key is stored."""

    scheme = "key"

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self._ring: dict[str, AESGCM] = {}
        self._current = ""

    async def load(self) -> list[bytes]:
        """Read the source anew; the keys, the current one first. Raises: as the source's `read`."""
        keys = await self._source.read()
        ids = [key_id(key) for key in keys]
        self._ring = self._ring | {name: AESGCM(key) for name, key in zip(ids, keys, strict=True)}
        self._current = ids[0]
        return keys

    async def current_id(self) -> str:
        """Of the source as it is now. Raises: as `load`."""
        await self.load()
        return self._current

    async def wrap(self, keys: Sequence[Plain]) -> list[Wrapped]:
        """Nonce, then ciphertext; bound to the binding and to the wrapping key's id."""
        if not self._ring:
            await self.load()
        current = self._current
        wrapped: list[Wrapped] = []
        for each in keys:
            nonce = secrets.token_bytes(NONCE_BYTES)
            sealed = self._ring[current].encrypt(nonce, each.key, _bound(current, each.binding))
            wrapped.append(Wrapped(each.binding, current, nonce + sealed))
        return wrapped

    async def unwrap(self, keys: Sequence[Wrapped]) -> list[bytes]:
        """A key id that isn't known is looked for in the source once. Raises: MasterKeyUnknown, MasterKeysAway."""
        if not all(each.key_id in self._ring for each in keys):
            await self.load()
        return [self._unwrapped(each) for each in keys]

    async def renew(self) -> str:
        """Raises: RenewElsewhere, MasterKeysAway."""
        await self._source.add(secrets.token_bytes(KEY_BYTES))
        return await self.current_id()

    async def aclose(self) -> None:
        """Close the source."""
        await self._source.aclose()

    def _unwrapped(self, wrapped: Wrapped) -> bytes:
        cipher = self._ring.get(wrapped.key_id)
        if cipher is None:
            raise MasterKeyUnknown(
                f"A key is wrapped under the master key {wrapped.key_id}, and {self._source.name} does not hold that "
                "one. Put it back beside the current one (docs/how-to/secrets.md, 'Replacing the master key').",
                key_id=wrapped.key_id,
            )
        try:
            return cipher.decrypt(
                wrapped.blob[:NONCE_BYTES], wrapped.blob[NONCE_BYTES:], _bound(wrapped.key_id, wrapped.binding)
            )
        except (InvalidTag, ValueError) as error:
            raise tampered(wrapped) from error


def key_id(key: bytes) -> str:
    """`key:` and 16 hex digits that tell nothing of the key. Source: RFC 5869."""
    derived = HKDF(hashes.SHA256(), _ID_BYTES, salt=None, info=b"shopfloor master key id").derive(key)
    return f"{RingKeys.scheme}:{derived.hex()}"


def tampered(wrapped: Wrapped) -> MasterKeyUnknown:
    """For a key that its own master key refuses."""
    return MasterKeyUnknown(
        f"The master key {wrapped.key_id} refuses a key that says to be wrapped under it: the row was changed, or "
        "moved from another organization. Restore data_keys from a backup.",
        key_id=wrapped.key_id,
    )


def _bound(key_id: str, binding: str) -> bytes:
    return f"{key_id}\n{binding}".encode()
