"""Several keepers as one: the first wraps, whichever knows the key unwraps. For moving from one keeper to another."""

from __future__ import annotations

from collections.abc import Sequence

from shopfloor.infra.secrets.port import MasterKeys, MasterKeyUnknown, Plain, Wrapped


class ChainedKeys:
    """MasterKeys over others."""

    def __init__(self, first: MasterKeys, *others: MasterKeys) -> None:
        self.scheme = first.scheme
        self._first = first
        self._all = (first, *others)

    async def current_id(self) -> str:
        """The first keeper's. Raises: MasterKeysAway."""
        return await self._first.current_id()

    async def wrap(self, keys: Sequence[Plain]) -> list[Wrapped]:
        """By the first keeper. Raises: MasterKeysAway."""
        return await self._first.wrap(keys)

    async def unwrap(self, keys: Sequence[Wrapped]) -> list[bytes]:
        """Those of one keeper in one call. Raises: MasterKeysAway, MasterKeyUnknown."""
        found: dict[int, bytes] = {}
        for scheme in dict.fromkeys(_scheme(each) for each in keys):
            mine = [number for number, each in enumerate(keys) if _scheme(each) == scheme]
            found |= zip(mine, await self._unwrap(scheme, [keys[number] for number in mine]), strict=True)
        return [found[number] for number in range(len(keys))]

    async def renew(self) -> str:
        """By the first keeper. Raises: RenewElsewhere, MasterKeysAway."""
        return await self._first.renew()

    async def aclose(self) -> None:
        """All of them."""
        for each in self._all:
            await each.aclose()

    async def _unwrap(self, scheme: str, keys: Sequence[Wrapped]) -> list[bytes]:
        unknown: MasterKeyUnknown | None = None
        for keeper in self._all:
            if keeper.scheme != scheme:
                continue
            try:
                return await keeper.unwrap(keys)
            except MasterKeyUnknown as error:
                unknown = unknown or error
        raise unknown or MasterKeyUnknown(
            f"A key is wrapped by a keeper of the kind {scheme!r}, and none is set up. Set it up beside the present "
            "one until `shopfloor secrets rotate-master` has run (docs/how-to/secrets.md).",
            key_id=keys[0].key_id,
        )


def _scheme(wrapped: Wrapped) -> str:
    return wrapped.key_id.partition(":")[0]
