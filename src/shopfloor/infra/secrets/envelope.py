"""Version 2 of the seal: AES-256-GCM under a data key of the organization, which the master key wraps.

A sealed value: version (1 byte), id of the data key (16), nonce (12), ciphertext with its tag. Bound to it: version and
key id, the organization, and the place `table/row/column`. Version 1, derived from a master key, still opens.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shopfloor.infra.secrets import data_keys, derived
from shopfloor.infra.secrets.data_keys import SECRETS, DataKey, OpenKeys
from shopfloor.infra.secrets.derived import MasterKeySealer
from shopfloor.infra.secrets.port import KEY_BYTES, NONCE_BYTES, MasterKeys, MasterKeyUnknown, SealBroken
from shopfloor.infra.tx import Tx

VERSION = b"\x02"
_ID_BYTES = 16
_HEADER_BYTES = len(VERSION) + _ID_BYTES
ROOT = "root"  # what fingerprints of every purpose are derived from
OWN_KEY = "fingerprint "  # of a purpose whose prints were made before there was a root


class EnvelopeSealer:
    """The sealer of an installation: see `installation.open_sealer`. One a process."""

    def __init__(
        self, master_keys: MasterKeys, open_keys: OpenKeys, prints: Mapping[str, bytes],
        older: Sequence[MasterKeySealer] = (),
    ) -> None:  # fmt: skip
        """`prints` are the installation's keys by purpose, `older` open what version 1 sealed."""
        self.master_keys = master_keys
        self.open_keys = open_keys
        self._prints = prints
        self._derived: dict[str, bytes] = {}  # from the root, by purpose
        self._older = older

    async def seal(self, tx: Tx, organization_id: UUID, place: str, plaintext: str) -> bytes:
        """Under the active data key; the first secret of an organization makes it. Raises: MasterKeysAway."""
        key_id, cipher = await self._active(tx, organization_id)
        header, nonce = VERSION + key_id.bytes, secrets.token_bytes(NONCE_BYTES)
        return header + nonce + cipher.encrypt(nonce, plaintext.encode(), _bound(header, organization_id, place))

    async def open(self, tx: Tx, organization_id: UUID, place: str, sealed: bytes) -> str:
        """Raises: SealBroken, MasterKeysAway."""
        if sealed[:1] == derived.VERSION:
            return await self._open_older(tx, organization_id, place, sealed)
        header, nonce = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES : _HEADER_BYTES + NONCE_BYTES]
        if header[:1] != VERSION or len(nonce) != NONCE_BYTES:
            raise _broken(place, "it is no seal that this version knows")
        cipher = await self._opener(tx, organization_id, UUID(bytes=header[1:]), place)
        try:
            bound = _bound(header, organization_id, place)
            return cipher.decrypt(nonce, sealed[_HEADER_BYTES + NONCE_BYTES :], bound).decode()
        except (InvalidTag, UnicodeDecodeError) as error:
            raise _broken(place, "it was changed, or moved here from another row") from error

    def fingerprint(self, purpose: str, value: str) -> bytes:
        """32 bytes. It stays the same when master keys and data keys change."""
        key = self._prints.get(OWN_KEY + purpose) or self._derived.get(purpose)
        if key is None:
            info = f"shopfloor fingerprint {purpose}".encode()
            key = HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=info).derive(self._prints[ROOT])  # RFC 5869
            self._derived[purpose] = key
        return hmac.new(key, value.encode(), hashlib.sha256).digest()

    async def _active(self, tx: Tx, organization_id: UUID) -> tuple[UUID, AESGCM]:
        await data_keys.hold_still(tx, organization_id)
        row = await data_keys.active_key(tx, organization_id)
        if row is None:
            key_id, plain = data_keys.unwrapped(organization_id, SECRETS, secrets.token_bytes(KEY_BYTES))
            [wrapped] = await self.master_keys.wrap([plain])
            if await data_keys.add_key(tx, key_id, organization_id, SECRETS, wrapped):
                return key_id, self.open_keys.put(organization_id, key_id, plain.key)
            row = await data_keys.active_key(tx, organization_id)  # another transaction was faster
            assert row is not None
        return row.id, await self._unwrapped(tx, row)

    async def _opener(self, tx: Tx, organization_id: UUID, key_id: UUID, place: str) -> AESGCM:
        if (kept := self.open_keys.get(organization_id, key_id)) is not None:
            return kept
        row = await data_keys.data_key(tx, organization_id, key_id)
        if row is None:
            raise _broken(place, "its data key is not there: it was erased, or belongs to another organization")
        return await self._unwrapped(tx, row)

    async def _unwrapped(self, tx: Tx, row: DataKey) -> AESGCM:
        organization_id = row.organization_id
        assert organization_id is not None
        if (kept := self.open_keys.get(organization_id, row.id)) is not None:
            return kept
        try:
            key = await self.open_keys.once(row.id, lambda: self._ask(row))
        except MasterKeyUnknown:
            # Between our look at the row and the keeper's answer the master key may have been replaced.
            again = await data_keys.data_key(tx, organization_id, row.id)
            if again is None or again.wrapped == row.wrapped:
                raise
            key = await self._ask(again)
        return self.open_keys.put(organization_id, row.id, key)

    async def _ask(self, row: DataKey) -> bytes:
        [key] = await self.master_keys.unwrap([row.as_wrapped()])
        return key

    async def _open_older(self, tx: Tx, organization_id: UUID, place: str, sealed: bytes) -> str:
        for older in self._older:
            try:
                return await older.open(tx, organization_id, place, sealed)
            except SealBroken:
                continue
        raise _broken(place, "no master key that is known here made it")


def _bound(header: bytes, organization_id: UUID, place: str) -> bytes:
    return header + f"{organization_id}/{place}".encode()


def _broken(place: str, why: str) -> SealBroken:
    return SealBroken(
        f"The secret in {place} does not open: {why}. Start with the master keys it was stored under "
        "(docs/how-to/secrets.md), or store the secret again.",
        place=place,
    )
