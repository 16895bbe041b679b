"""Secrets at rest: sealed with AES-256-GCM under a key per organization, bound to their row and column."""

from __future__ import annotations

import base64
import hmac
import os
import secrets
from pathlib import Path
from typing import ClassVar, Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shopfloor.base.errors import SettingsError, ShopfloorError

_VERSION = b"\x01"
_NONCE_BYTES = 12  # Source: NIST SP 800-38D, section 8.2.2
_KEY_BYTES = 32


class SealBroken(ShopfloorError):
    """A sealed value does not open: another master key made it, or it was moved or changed."""

    title: ClassVar[str] = "A stored secret can't be opened"


class Sealer(Protocol):
    """Seals and opens secrets for the rows they belong to."""

    def seal(self, organization_id: UUID, place: str, plaintext: str) -> bytes:
        """Ciphertext that opens only with the same organization and `place` (`table/row/column`)."""
        ...

    def open(self, organization_id: UUID, place: str, sealed: bytes) -> str:
        """Raises: SealBroken."""
        ...

    def fingerprint(self, purpose: str, value: str) -> bytes:
        """HMAC-SHA256 of a value under a key for this purpose: what is stored instead of an API key."""
        ...


class MasterKeySealer:
    """The backend of one machine: 32 bytes from a file or the environment; every other key is derived from them."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != _KEY_BYTES or len(set(master_key)) < _KEY_BYTES // 4:
            raise SettingsError(
                "The master key is not 32 random bytes. Make one: "
                "python3 -c 'import secrets,base64; print(base64.b64encode(secrets.token_bytes(32)).decode())'"
            )
        self._master_key = master_key
        self._derived: dict[str, bytes] = {}  # of the purposes, which are few; not of organizations

    def seal(self, organization_id: UUID, place: str, plaintext: str) -> bytes:
        """Version byte, nonce, ciphertext with its tag."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        key = self._derive(f"organization {organization_id}")
        return _VERSION + nonce + AESGCM(key).encrypt(nonce, plaintext.encode(), _bound(organization_id, place))

    def open(self, organization_id: UUID, place: str, sealed: bytes) -> str:
        """Raises: SealBroken."""
        nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        key = self._derive(f"organization {organization_id}")
        try:
            if sealed[:1] != _VERSION:
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
        key = self._derived.get(purpose)
        if key is None:
            key = self._derived[purpose] = self._derive(f"fingerprint {purpose}")
        return hmac.digest(key, value.encode(), "sha256")

    def _derive(self, purpose: str) -> bytes:
        """Source: RFC 5869."""
        return HKDF(hashes.SHA256(), _KEY_BYTES, salt=None, info=f"shopfloor {purpose}".encode()).derive(
            self._master_key
        )


def _bound(organization_id: UUID, place: str) -> bytes:
    """The associated data: the version too, so that it can't be changed."""
    return _VERSION + f"{organization_id}/{place}".encode()


def load_master_key(setting: str | None, file: Path) -> bytes:
    """The 32 bytes of the setting (base64) or the file, which is made, closed to others, when it isn't there."""
    if setting is None and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.{secrets.token_hex(8)}")  # containers share process ids, and folders
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
        try:
            os.link(fresh, file)  # fails when another process was faster: then its key counts
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    text = setting if setting is not None else file.read_text(encoding="ascii")
    try:
        return base64.b64decode(text.strip(), validate=True)
    except ValueError as error:
        source = "SHOPFLOOR_SECRETS__MASTER_KEY" if setting is not None else str(file)
        raise SettingsError(f"{source} is not base64 of 32 bytes.") from error
