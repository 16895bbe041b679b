"""A software authenticator for tests: makes passkeys and answers challenges as a browser with a device would.

It does what it is told, also what no honest device does. Source: W3C Web Authentication, Level 3, sections 6.1 and 6.5.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any, Literal

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PRESENT, VERIFIED, WITH_CREDENTIAL = 0x01, 0x04, 0x40  # the flags of section 6.1
Options = dict[str, Any]


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Device:
    """One passkey on one device. Every field may be set to what an attacker would send."""

    algorithm: Literal["ES256", "EdDSA"] = "ES256"
    origin: str = "https://shop.example.org"
    rp_id: str = "shop.example.org"
    verifies_user: bool = True
    present: bool = True
    counts: bool = True  # synchronised passkeys stay at 0
    count: int = 0
    user_handle: bytes = b""
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def __post_init__(self) -> None:
        self.key: Any = (
            ec.generate_private_key(ec.SECP256R1())
            if self.algorithm == "ES256"
            else ed25519.Ed25519PrivateKey.generate()
        )

    def create(self, options: Options) -> dict[str, Any]:
        """What `navigator.credentials.create(options)` gives, as JSON."""
        self.user_handle = unb64(options["user"]["id"])
        attested = bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id + self._cose_key()
        data = self._authenticator_data(WITH_CREDENTIAL) + attested
        statement = {"fmt": "none", "attStmt": {}, "authData": data}
        return self._credential(
            {
                "clientDataJSON": b64(self._client_data("webauthn.create", options["challenge"])),
                "attestationObject": b64(cbor2.dumps(statement)),
                "transports": ["internal"],
            }
        )

    def get(self, options: Options) -> dict[str, Any]:
        """What `navigator.credentials.get(options)` gives, as JSON."""
        self.count += self.counts
        data = self._authenticator_data(0)
        client_data = self._client_data("webauthn.get", options["challenge"])
        return self._credential(
            {
                "clientDataJSON": b64(client_data),
                "authenticatorData": b64(data),
                "signature": b64(self._sign(data + hashlib.sha256(client_data).digest())),
                **({"userHandle": b64(self.user_handle)} if self.user_handle else {}),
            }
        )

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": b64(self.credential_id), "rawId": b64(self.credential_id), "type": "public-key",
            "response": response, "clientExtensionResults": {}, "authenticatorAttachment": "platform",
        }  # fmt: skip

    def _client_data(self, kind: str, challenge: str) -> bytes:
        data = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps(data).encode()

    def _authenticator_data(self, flags: int) -> bytes:
        flags |= PRESENT * self.present | VERIFIED * self.verifies_user
        return hashlib.sha256(self.rp_id.encode()).digest() + struct.pack(">BI", flags, self.count)

    def _sign(self, message: bytes) -> bytes:
        if self.algorithm == "ES256":
            return self.key.sign(message, ec.ECDSA(hashes.SHA256()))
        return self.key.sign(message)

    def _cose_key(self) -> bytes:
        """Source: RFC 9053, sections 7.1 and 7.2."""
        if self.algorithm == "ES256":
            point = self.key.public_key().public_numbers()
            x, y = point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big")
            return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return cbor2.dumps({1: 1, 3: -8, -1: 6, -2: raw})
