"""Version 1 of the seal: every key derived from one master key. It is still opened; tests use it for its simplicity."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shopfloor.infra.secrets.master_key import refuse_short
from shopfloor.infra.secrets.port import KEY_BYTES, NONCE_BYTES, SealBroken
from shopfloor.infra.tx import Tx

VERSION = b"\x01"


class MasterKeySealer:
    """The backend of one machine: 32 bytes from a file or the environment; every other key is derived from them."""

    def __init__(self, master_key: bytes) -> None:
        refuse_short(master_key)
        self._master_key = master_key

    async def seal(self, tx: Tx, organization_id: UUID, place: str, plaintext: str) -> bytes:
        """Version byte, nonce, ciphertext with its tag."""
        del tx
        nonce = secrets.token_bytes(NONCE_BYTES)
        key = self.derive(f"organization {organization_id}")
        return VERSION + nonce + AESGCM(key).encrypt(nonce, plaintext.encode(), _bound(organization_id, place))

    async def open(self, tx: Tx, organization_id: UUID, place: str, sealed: bytes) -> str:
        """Raises: SealBroken."""
        del tx
        nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        key = self.derive(f"organization {organization_id}")
        try:
            if sealed[:1] != VERSION:
                raise ValueError("a version of the seal that this software does not know")  # noqa: TRY301 - answered below
            return AESGCM(key).decrypt(nonce, ciphertext, _bound(organization_id, place)).decode()
        except (InvalidTag, ValueError) as error:
            raise SealBroken(
                f"The secret in {place} does not open with this master key. Start with the master key it was stored "
                "under (SHOPFLOOR_HOME/master.key or SHOPFLOOR_SECRETS__MASTER_KEY), or store the secret again.",
                place=place,
            ) from error

    def fingerprint(self, purpose: str, value: str) -> bytes:
        """32 bytes."""
        return hmac.new(self.derive(f"fingerprint {purpose}"), value.encode(), hashlib.sha256).digest()

    def derive(self, purpose: str) -> bytes:
        """A key for `purpose`. Source: RFC 5869."""
        return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=f"shopfloor {purpose}".encode()).derive(
            self._master_key
        )


def _bound(organization_id: UUID, place: str) -> bytes:
    """The associated data: the version too, so that it can't be changed."""
    return VERSION + f"{organization_id}/{place}".encode()
