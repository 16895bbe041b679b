"""The two seams: who seals a value for its row, and who keeps the master key that wraps the keys it is sealed with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol
from uuid import UUID

from shopfloor.base.errors import Conflict, ShopfloorError, Unavailable
from shopfloor.infra.tx import Tx

KEY_BYTES = 32
NONCE_BYTES = 12  # Source: NIST SP 800-38D, section 8.2.2


class SealBroken(ShopfloorError):
    """A sealed value does not open: another key made it, its key was erased, or it was moved or changed."""

    title: ClassVar[str] = "A stored secret can't be opened"


class MasterKeysAway(Unavailable):
    """The keeper of the master key doesn't answer in time, or refuses us; nothing was changed."""

    title: ClassVar[str] = "The keeper of the master key does not answer"


class MasterKeyUnknown(ShopfloorError):
    """A data key is wrapped under a master key that this process doesn't have, also after asking again."""

    title: ClassVar[str] = "The master key is not there"


class RenewElsewhere(Conflict):
    """The keeper of the master key makes no new one on our word; the detail says how it is done."""

    title: ClassVar[str] = "A new master key is made elsewhere"


class Sealer(Protocol):
    """Seals and opens secrets for the rows they belong to."""

    async def seal(self, tx: Tx, organization_id: UUID, place: str, plaintext: str) -> bytes:
        """Ciphertext that opens only with the same organization and `place` (`table/row/column`).

        Raises: MasterKeysAway.
        """
        ...

    async def open(self, tx: Tx, organization_id: UUID, place: str, sealed: bytes) -> str:
        """Raises: SealBroken, MasterKeysAway."""
        ...

    def fingerprint(self, purpose: str, value: str) -> bytes:
        """HMAC-SHA256 of a value under a key for this purpose: what is stored instead of an API key."""
        ...


@dataclass(frozen=True, slots=True)
class Plain:
    """A key to wrap, and what it is for: it unwraps only with the same `binding`."""

    binding: str
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A key wrapped under the master key named `key_id`."""

    binding: str
    key_id: str  # `local:1f0a...`, `transit:shopfloor:v3`, `kms:arn:...`: the keeper's name, then its own
    blob: bytes = field(repr=False)


class MasterKeys(Protocol):
    """Keeps the master key and wraps other keys with it. Every call has a deadline."""

    scheme: str  # what its key ids begin with

    async def current_id(self) -> str:
        """The key that `wrap` uses now. Raises: MasterKeysAway."""
        ...

    async def wrap(self, keys: Sequence[Plain]) -> list[Wrapped]:
        """Each under the current key, in the same order. Raises: MasterKeysAway."""
        ...

    async def unwrap(self, keys: Sequence[Wrapped]) -> list[bytes]:
        """Each, in the same order. Raises: MasterKeysAway; MasterKeyUnknown, also for one that was tampered with."""
        ...

    async def renew(self) -> str:
        """Make a new current key; the older ones still unwrap. Its id. Raises: RenewElsewhere, MasterKeysAway."""
        ...

    async def aclose(self) -> None:
        """Give back what it holds."""
        ...
