"""Recovery codes: the way in for who has lost the second factor. Ten of them, each once."""

from __future__ import annotations

import secrets
from typing import Final
from uuid import UUID

from shopfloor.infra.secrets import Sealer

HOW_MANY: Final = 10
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U to misread
_LENGTH: Final = 24  # 120 bits: from 112 on a keyed hash is enough. Source: OWASP ASVS 5.0, 6.5.2
_GROUP: Final = 4
_READ_AS: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})


def mint() -> list[str]:
    """Ten new codes, grouped for reading."""
    return [_grouped("".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))) for _ in range(HOW_MANY)]


def fingerprint(sealer: Sealer, user_id: UUID, code: str) -> bytes:
    """What is stored instead of a code; small letters, spaces and misread signs make no difference."""
    return sealer.fingerprint("recovery code", f"{user_id}/{code.upper().translate(_READ_AS)}")


def _grouped(code: str) -> str:
    return "-".join(code[at : at + _GROUP] for at in range(0, _LENGTH, _GROUP))
