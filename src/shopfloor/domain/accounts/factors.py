"""Which second factors a person has, and whether the organization asks for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shopfloor.infra.tx import Tx


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one person."""

    enrolled: frozenset[str]  # of `totp`, `recovery`, `passkey`
    required: bool  # the organization asks for a second factor


async def standing(tx: Tx, user_id: UUID) -> Standing:
    """What the person has and what is asked for."""
    del tx, user_id
    return Standing(frozenset(), required=False)


async def check(tx: Tx, user_id: UUID, proof: Mapping[str, Any]) -> bool:
    """Whether `proof` (`kind` and what belongs to it) proves a second factor of this person."""
    del tx, user_id, proof
    return False
