"""Checkpoints as signed notes: what the tree was at a size, in a text that anybody can check.

Source: C2SP signed-note and tlog-checkpoint; Ed25519: RFC 8032. Two lines of ours follow the root: `at` and `after`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shopfloor.base.errors import InvalidInput

_ED25519 = b"\x01"  # the signature type of signed-note
_KEY_BYTES = 32
_ID_BYTES = 4
_BODY = re.compile(
    r"(?P<origin>[^\s+]{1,200})\n(?P<size>0|[1-9][0-9]{0,15})\n(?P<root>[A-Za-z0-9+/]{43}=)\n"
    r"at (?P<at>\S{20,40})\nafter (?P<after>0|[1-9][0-9]{0,15})\n"
)


class NoteRefused(InvalidInput):
    """A text that is no checkpoint, or one that this key did not sign."""

    title = "No valid checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tree over the first `size` entries."""

    origin: str  # names the log: `shopfloor/audit/<organization>`
    size: int
    root: bytes
    at: str  # when it was signed, UTC
    after: int  # the size of the checkpoint before it; 0: the first

    def body(self) -> str:
        """What is signed."""
        root = base64.b64encode(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}\nat {self.at}\nafter {self.after}\n"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name it signs for: `name+id+key`, as signed-note writes it."""

    name: str
    raw: bytes

    @property
    def id(self) -> bytes:
        """The first bytes of a hash over name and key: which key a signature is of."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.raw).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.raw).decode()}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Raises: NoteRefused."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            raw = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        key = cls(name, raw[1:])
        if raw[:1] != _ED25519 or len(key.raw) != _KEY_BYTES or key.id.hex() != key_id:
            raise NoteRefused(
                "This is no public key of an audit log. One looks like shopfloor/audit/<id>+<8 signs>+<base64>; "
                "`shopfloor audit key` prints it."
            )
        return key

    def signed(self, body: str, signature: bytes) -> bool:
        """Whether this key signed `body`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, body.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


def origin_of(organization_id: UUID) -> str:
    """The name of an organization's log, and of the key that signs it."""
    return f"shopfloor/audit/{organization_id}"


def verifier_key(name: str, private: Ed25519PrivateKey) -> VerifierKey:
    """The public half."""
    return VerifierKey(name, private.public_key().public_bytes_raw())


def sign(checkpoint: Checkpoint, private: Ed25519PrivateKey) -> str:
    """The whole note: body, an empty line, one signature."""
    body = checkpoint.body()
    key = verifier_key(checkpoint.origin, private)
    signature = base64.b64encode(key.id + private.sign(body.encode())).decode()
    return f"{body}\n— {key.name} {signature}\n"


def read(note: str, key: VerifierKey) -> Checkpoint:
    """The checkpoint that `key` signed for the log of its name. Raises: NoteRefused that says what is wrong."""
    body, _, signatures = note.partition("\n\n")
    body += "\n"
    found = _BODY.fullmatch(body)
    if found is None:
        raise NoteRefused("The text is no checkpoint of an audit log.")
    if found["origin"] != key.name:
        raise NoteRefused(f"The checkpoint is of the log {found['origin']}, and the key of {key.name}.")
    if not any(key.signed(body, signature) for signature in _signatures(signatures, key)):
        raise NoteRefused("The checkpoint does not bear this key's signature, or was changed after it was signed.")
    root = base64.b64decode(found["root"])
    return Checkpoint(found["origin"], int(found["size"]), root, found["at"], int(found["after"]))


def _signatures(text: str, key: VerifierKey) -> list[bytes]:
    """Those that claim to be of this key; others are let be, as signed-note wants it."""
    found: list[bytes] = []
    for line in text.splitlines():
        mark, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        if mark == "—" and name == key.name:
            try:
                raw = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                continue
            if raw[:_ID_BYTES] == key.id:
                found.append(raw[_ID_BYTES:])
    return found
